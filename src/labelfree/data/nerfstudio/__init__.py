"""Read captures in nerfstudio's layout: transforms.json with images."""
