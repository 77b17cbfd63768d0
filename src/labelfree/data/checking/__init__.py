"""Checks of a capture before any work."""
