"""nuImages: driving pictures with masks of objects and of the driveable surface; no points are read."""
