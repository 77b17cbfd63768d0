"""The machine: devices, number formats, two threads, progress lines, the optional lab package."""
