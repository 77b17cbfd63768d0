"""Merge the nodes of a weighted graph into segments (Felzenszwalb and Huttenlocher, IJCV 2004), exactly but in blocks.

The method takes the edges by ascending weight w. It merges the components A and B of an edge if w is at most
`limit(A)` and `limit(B)`, with limit(C) = (largest weight merged in C) + k / |C|. Two facts allow to drop most edges
before the loop in Python sees them:

- A component whose limit is below the current weight never grows again, since all later edges weigh at least as much.
- Of several edges between the same two components only the lightest matters. If it is rejected, one of both is
  finished; if it is accepted, the others are inside a component.

So the edges are taken in blocks. At the start of a block, edges inside components, edges of finished components and
repeated edges are dropped. The result is that of the plain loop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LEAST_BLOCK = 4096
"""Edges of the smallest block."""
BLOCKS_LEFT = 8
"""A block takes one part in this many of the edges left."""


class _Components:
    """The components of the nodes, with the size and limit of each, stored at its root."""

    def __init__(self, nodes: int, k: float) -> None:
        self.root = np.arange(nodes)
        self.size = np.ones(nodes, np.int64)
        self.limit = np.full(nodes, k, np.float64)

    def compress(self) -> None:
        """Let every node point to its root."""
        while not np.array_equal(above := self.root[self.root], self.root):
            self.root = above


def merge_segments(
    nodes: int,
    edges: NDArray[np.int64],  # [E, 2]
    weights: NDArray[np.float64],  # [E]
    k: float,
    least_size: int = 1,
) -> NDArray[np.int64]:  # [nodes]
    """Return the segment of each node, numbered from 0 by the segments' first nodes.

    A larger `k` gives larger segments. Afterwards, by ascending weight, segments of fewer than `least_size` nodes are
    merged with a neighbour; those without a neighbour remain. Edges of equal weight keep their order.
    """
    order = np.argsort(weights, kind="stable")
    edges, weights = edges[order], weights[order]
    found = _Components(nodes, k)
    _sweep(found, edges, weights, lambda weight: found.limit >= weight, _grow(k))
    if least_size > 1:
        _sweep(found, edges, weights, lambda _: found.size < least_size, _absorb(least_size), either=True)
    found.compress()
    _, first, segment = np.unique(found.root, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[segment]


_Rule = Callable[[float, int, int, float, float], float | None]
"""Return the limit of the merged component of an edge from its weight, sizes and limits; None keeps it apart."""


def _grow(k: float) -> _Rule:
    def rule(weight: float, size_a: int, size_b: int, limit_a: float, limit_b: float) -> float | None:
        return weight + k / (size_a + size_b) if weight <= limit_a and weight <= limit_b else None

    return rule


def _absorb(least_size: int) -> _Rule:
    def rule(weight: float, size_a: int, size_b: int, limit_a: float, limit_b: float) -> float | None:
        return 0.0 if size_a < least_size or size_b < least_size else None

    return rule


def _sweep(
    found: _Components,
    edges: NDArray[np.int64],  # [E, 2] by ascending weight
    weights: NDArray[np.float64],  # [E]
    is_open: Callable[[float], NDArray[np.bool_]],
    rule: _Rule,
    either: bool = False,
) -> None:
    """Take all edges in blocks; `is_open` tells which components may still grow, `either` that one of two is enough."""
    left = np.arange(len(weights))
    while len(left):
        found.compress()
        a, b = found.root[edges[left, 0]], found.root[edges[left, 1]]
        may = is_open(float(weights[left[0]]))
        useful = (a != b) & ((may[a] | may[b]) if either else (may[a] & may[b]))
        left, a, b = left[useful], a[useful], b[useful]
        if not len(left):
            return
        count = max(LEAST_BLOCK, len(left) // BLOCKS_LEFT)
        low, high = np.minimum(a[:count], b[:count]), np.maximum(a[:count], b[:count])
        _, lightest = np.unique(low * len(found.root) + high, return_index=True)
        lightest.sort()
        _merge_block(found, low[lightest], high[lightest], weights[left[lightest]], rule)
        left = left[count:]


def _merge_block(
    found: _Components,
    a: NDArray[np.int64],  # [e] roots
    b: NDArray[np.int64],  # [e] roots
    weights: NDArray[np.float64],  # [e] ascending
    rule: _Rule,
) -> None:
    """Take the edges of a block one after the other, on plain lists of the components that occur in it."""
    roots, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    parent = list(range(len(roots)))
    size: list[int] = found.size[roots].tolist()
    limit: list[float] = found.limit[roots].tolist()
    half = len(a)
    for i, j, weight in zip(place[:half].tolist(), place[half:].tolist(), weights.tolist()):
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        while parent[j] != j:
            parent[j] = j = parent[parent[j]]
        if i == j:
            continue
        merged = rule(weight, size[i], size[j], limit[i], limit[j])
        if merged is not None:
            if size[i] < size[j]:
                i, j = j, i
            parent[j] = i
            size[i] += size[j]
            limit[i] = merged
    found.root[roots] = roots[parent]
    found.size[roots], found.limit[roots] = size, limit
