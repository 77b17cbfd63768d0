"""Read LiDAR sweeps with cameras, described by a YAML file with `layout: lidar`."""
