"""Emulators: one interface, and a file for each."""
