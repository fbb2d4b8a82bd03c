"""Whoever gives the answers: scripted experts, a person at the keyboard, and the start states that they make."""
