"""Devices, number formats, parallel computation, progress lines and access to the optional lab package."""
