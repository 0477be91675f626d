"""Processes of this program: how they start others, are forked, hear signals, and end."""
