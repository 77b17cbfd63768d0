"""Two-stage co-training of the 2D and the 3D network."""
