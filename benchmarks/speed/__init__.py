"""Speeds: environments, the sandbox, the pipeline."""
