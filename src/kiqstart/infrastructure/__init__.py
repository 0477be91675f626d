"""Adapters, each usable without the rest; they know neither core nor delivery."""
