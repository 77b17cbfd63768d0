"""Training of the lab's tiny CLIP, SAM and backbones."""
