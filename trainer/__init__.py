"""Policies that a language model writes: tried, told what went wrong, and kept when they hold."""
