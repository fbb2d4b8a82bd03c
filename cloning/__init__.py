"""Cloning's own parts: flags of its evaluations, its data and batches, a run's progress, its checkpoints."""
