"""Define the two networks: DeepLabV3 for images, MinkowskiNet for points, and their heads."""
