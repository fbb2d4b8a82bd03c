"""A pipeline over all milestones: its folder, records, progress bar and report."""
