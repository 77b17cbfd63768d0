"""Read COLMAP models with their images, dense depth maps and fused clouds."""
