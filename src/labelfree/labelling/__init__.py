"""From trained networks or teachers to predictions for images and points."""
