"""What is learned: milestones, their limits, and where episodes start."""
