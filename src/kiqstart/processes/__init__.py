"""Processes of this program: how they start others, hear signals, and end."""
