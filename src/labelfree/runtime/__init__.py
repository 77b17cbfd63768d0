"""Devices, number formats, parallel computation, workers in other processes, progress lines and the optional lab."""
