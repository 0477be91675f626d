"""Typed task references, registration, retries and schedules for any taskiq project."""
