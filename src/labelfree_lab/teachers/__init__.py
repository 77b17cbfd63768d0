"""The lab's teachers: training of tiny CLIP, tiny SAM and the backbones."""
