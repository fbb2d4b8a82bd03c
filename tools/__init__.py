"""Small programs for what the scripts leave behind."""
