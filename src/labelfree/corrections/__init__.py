"""Labels that a person gave to points of a scene: values, files, and their use as fixed labels."""
