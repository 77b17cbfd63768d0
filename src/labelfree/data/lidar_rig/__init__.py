"""LiDAR sweeps with cameras, described by a YAML file that says `layout: lidar`."""
