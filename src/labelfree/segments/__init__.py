"""Segments: groups of neighbouring points of similar normal and colour, found without classes."""
