"""Calibration: how hard data is in the respects that decide about votes, segments and pairs."""
