"""ScanNet as it was downloaded: `.sens` files read directly, `scannet_frames_25k`, meshes, labels, official splits."""
