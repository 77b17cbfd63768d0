"""nuImages: driving images with masks of objects and of the driveable surface; no points are read."""
