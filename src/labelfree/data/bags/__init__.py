"""Import ROS 1 and ROS 2 bags and MCAP files into the layouts for posed RGB-D and for LiDAR with cameras."""
