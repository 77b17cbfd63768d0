"""Shapes, materials and textures of both worlds."""
