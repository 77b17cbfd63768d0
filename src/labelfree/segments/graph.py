"""The graph of neighbouring voxels and the dissimilarity along its edges."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from labelfree.segments.voxels import VoxelGrid

HALF_OF_26 = tuple(offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0))
"""One of each pair of opposite neighbours of a voxel."""


def neighbour_edges(grid: VoxelGrid) -> NDArray[np.int64]:  # [E, 2]
    """Return the pairs of occupied voxels that share a face, an edge or a corner; the first index is the lower."""
    found = []
    for offset in HALF_OF_26:
        wanted = grid.keys + grid.step(*offset)
        place = np.searchsorted(grid.keys, wanted)
        place[place == len(grid)] = 0
        here = np.flatnonzero(grid.keys[place] == wanted)
        found.append(np.stack([here, place[here]], axis=1))
    return np.concatenate(found)


def edge_weights(
    edges: NDArray[np.int64],  # [E, 2]
    normals: NDArray[np.float64],  # [V, 3]
    colours: NDArray[np.float64] | None,  # [V, 3] RGB in 0..1
    normal_weight: float,
    colour_weight: float,
) -> NDArray[np.float64]:  # [E]
    """Return the dissimilarity of neighbours: `normal_weight` (1 - |n n'|) + `colour_weight` |c - c'|.

    c is the description of `colour_description`. Without colours only the normals count.
    """
    a, b = edges.T
    cosine = np.abs(np.einsum("ec,ec->e", normals[a], normals[b]))
    weights = normal_weight * (1.0 - np.minimum(cosine, 1.0))
    if colours is None or colour_weight == 0:
        return weights
    described = colour_description(colours)
    return weights + colour_weight * np.linalg.norm(described[a] - described[b], axis=1)


def colour_description(colours: NDArray[np.float64]) -> NDArray[np.float64]:  # [V, 3] RGB in 0..1 -> [V, 4]
    """Return 0.3 log(l + 0.1) and 0.5 (c / (l + 0.05) - 1) of each channel c; l is the mean of the channels.

    The first changes with the light, the others with the material; so a shadow weighs less than another colour.
    """
    light = colours.mean(axis=1, keepdims=True)
    return np.concatenate([0.3 * np.log(light + 0.1), 0.5 * (colours / (light + 0.05) - 1.0)], axis=1)
