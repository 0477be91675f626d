"""Refresh sessions: one for each device that stays logged in."""
