"""The outdoor lab: a procedural street, a spinning LiDAR and six cameras on a moving vehicle."""
