"""Read ScanNet as downloaded: `.sens` files, `scannet_frames_25k`, meshes, labels and official splits."""
