"""Read captures in the posed RGB-D layout: images, poses, intrinsics, optional depth and points."""
