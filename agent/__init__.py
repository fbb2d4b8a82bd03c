"""Experts and how they are queried: scripted policies, a language model, a person at the keyboard; and chained students."""
