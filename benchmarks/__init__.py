"""Measurements of the service against its limits and its peers; each is one command that prints tables."""
