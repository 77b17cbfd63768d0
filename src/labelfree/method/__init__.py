"""Implement the equations of the paper, one short file each."""
