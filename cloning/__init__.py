"""Cloning's own parts: flags of its evaluations, its data and batches, how far a run has come, its checkpoints."""
