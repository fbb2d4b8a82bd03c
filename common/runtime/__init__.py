"""What any script stands on: flags, checkpoints, files, logs, signals. No pixels, no game."""
