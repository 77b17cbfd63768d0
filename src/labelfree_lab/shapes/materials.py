"""Palettes and materials of the lab's furniture.

Colours come from three palettes that all classes share, so that no colour identifies a class.
"""

from __future__ import annotations

import colorsys

import numpy as np

from labelfree_lab.shapes.primitives import Colour, Material, Texture

Rng = np.random.Generator

WOODY = (0.55, 0.30, 0.15)
SOFT = (0.10, 0.30, 0.60)
SMOOTH = (0.10, 0.65, 0.25)
"""Probabilities of the palettes wood, paint and cloth."""


def colour(rng: Rng, chances: tuple[float, float, float]) -> Colour:
    """Return a random colour from the shared palettes of wood, paint and cloth."""
    palette = int(rng.choice(3, p=chances))
    if palette == 0:
        hsv = rng.uniform(0.04, 0.12), rng.uniform(0.25, 0.7), rng.uniform(0.2, 0.8)
    elif palette == 1:
        hsv = rng.uniform(0, 1), rng.uniform(0, 0.25), rng.uniform(0.55, 0.95)
    else:
        hsv = rng.uniform(0, 1), rng.uniform(0.1, 0.75), rng.uniform(0.2, 0.85)
    return colorsys.hsv_to_rgb(*hsv)


def shade(base: Colour, factor: float) -> Colour:
    """Return a darker or lighter version of a colour."""
    return min(1.0, base[0] * factor), min(1.0, base[1] * factor), min(1.0, base[2] * factor)


def finish(
    rng: Rng, texture: Texture, base: Colour, params: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
) -> Material:
    """Return a material whose second colour is a darker shade of the first and whose third is an accent."""
    second = shade(base, rng.uniform(0.55, 0.8))
    accent = shade(base, 0.25) if sum(base) > 1.2 else (0.85, 0.83, 0.8)
    return Material(texture, (base, second, accent), params, int(rng.integers(1 << 31)))


def woody(rng: Rng) -> Material:
    """Return a plain or grained hard surface."""
    texture = Texture.WOOD if rng.random() < 0.6 else Texture.PLAIN
    return finish(rng, texture, colour(rng, WOODY))


def smooth(rng: Rng) -> Material:
    """Return an enamelled or painted surface."""
    return finish(rng, Texture.PLAIN, colour(rng, SMOOTH))


def cloth(rng: Rng) -> Material:
    """Return a textile: woven, striped or dotted."""
    texture = (Texture.FABRIC, Texture.FABRIC, Texture.STRIPES, Texture.DOTS)[int(rng.integers(4))]
    params = (rng.uniform(0.05, 0.18), float(rng.integers(2)), 0.0, 0.0)
    base = colour(rng, SOFT)
    material = finish(rng, texture, base, params)
    if texture is Texture.FABRIC or rng.random() < 0.5:
        return material
    return Material(texture, (base, colour(rng, SOFT), material.colours[2]), params, material.seed)


def panels(rng: Rng, rows: int, columns: int, knob: int, base: Colour) -> Material:
    """Return door or drawer fronts.

    `knob` is 0 for none, 1 beside the middle seam, 2 centred, 3 a bar, 4 at the right.
    """
    return finish(rng, Texture.PANELS, base, (float(rows), float(columns), float(knob), rng.uniform(0.12, 0.3)))


def darker(material: Material) -> Material:
    """Return a darker version of a material, for plinths, aprons and insides."""
    first, second, third = material.colours
    return Material(material.texture, (shade(first, 0.7), shade(second, 0.7), third), material.params, material.seed)
