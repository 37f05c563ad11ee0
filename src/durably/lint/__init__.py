"""Finds in the text of a program what breaks a replay. It reads, and never runs, what it judges."""
