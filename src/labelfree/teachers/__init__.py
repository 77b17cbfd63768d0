"""Run the frozen teachers: dense CLIP labels and SAM masks."""
