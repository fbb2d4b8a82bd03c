"""Small programs for the files that the scripts write."""
