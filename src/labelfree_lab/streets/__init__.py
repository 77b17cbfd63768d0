"""World `streets`: procedural streets, and a vehicle with a spinning LiDAR and six cameras."""
