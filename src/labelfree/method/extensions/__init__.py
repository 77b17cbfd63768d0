"""Implement options that are not in the paper; all are off in the paper's recipes."""
