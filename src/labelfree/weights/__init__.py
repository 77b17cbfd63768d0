"""Model weights: on disk, on the Hugging Face hub, and those of the lab."""
