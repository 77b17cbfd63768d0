"""Captures in nerfstudio's layout: transforms.json with images."""
