"""The frozen teachers: dense CLIP labels and SAM masks."""
