"""Merging in blocks gives the segments of the plain loop of Felzenszwalb and Huttenlocher."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.segments import merging
from labelfree.segments.merging import merge_segments


def plain(
    nodes: int, edges: NDArray[np.int64], weights: NDArray[np.float64], k: float, least: int
) -> NDArray[np.int64]:
    """Algorithm 1 of the paper, then the usual removal of small components, both one edge at a time."""
    root, size, largest = list(range(nodes)), [1] * nodes, [0.0] * nodes

    def find(node: int) -> int:
        while root[node] != node:
            node = root[node]
        return node

    def join(a: int, b: int, weight: float) -> None:
        root[b] = a
        size[a] += size[b]
        largest[a] = weight

    order = np.argsort(weights, kind="stable").tolist()
    for edge in order:
        a, b = find(int(edges[edge, 0])), find(int(edges[edge, 1]))
        if a != b and weights[edge] <= min(largest[a] + k / size[a], largest[b] + k / size[b]):
            join(a, b, float(weights[edge]))
    for edge in order:
        a, b = find(int(edges[edge, 0])), find(int(edges[edge, 1]))
        if a != b and (size[a] < least or size[b] < least):
            join(a, b, 0.0)
    found = np.array([find(node) for node in range(nodes)])
    first = {root: rank for rank, root in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([first[root] for root in found.tolist()])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [3, 1000])  # 3: most edges have equal weights
def test_blocks_give_the_segments_of_the_plain_loop(seed: int, levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "LEAST_BLOCK", 5)
    random = np.random.default_rng(seed)
    nodes = 150
    edges = random.integers(0, nodes, (400, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    weights = random.integers(0, levels, len(edges)) / levels
    for k, least in ((0.0, 1), (0.5, 1), (2.0, 4), (20.0, 30)):
        np.testing.assert_array_equal(
            merge_segments(nodes, edges, weights, k, least), plain(nodes, edges, weights, k, least)
        )


def test_a_tree_is_not_enough() -> None:
    """An edge outside the minimum spanning tree can be accepted, so a tree alone would give other segments."""
    random = np.random.default_rng(3)
    differ = 0
    for _ in range(200):
        edges = np.array([(a, b) for a in range(8) for b in range(a + 1, 8)])
        weights = random.random(len(edges))
        tree = spanning_tree(8, edges, weights)
        whole, thin = merge_segments(8, edges, weights, 0.6), merge_segments(8, edges[tree], weights[tree], 0.6)
        differ += int(not np.array_equal(whole, thin))
    assert differ


def spanning_tree(nodes: int, edges: NDArray[np.int64], weights: NDArray[np.float64]) -> list[int]:
    label, kept = np.arange(nodes), []
    for edge in np.argsort(weights).tolist():
        a, b = label[edges[edge]]
        if a != b:
            label[label == b] = a
            kept.append(edge)
    return kept


def test_segments_are_numbered_by_their_first_nodes() -> None:
    edges = np.array([[4, 1], [3, 0]])
    np.testing.assert_array_equal(merge_segments(5, edges, np.zeros(2), 1.0), [0, 1, 2, 0, 1])


def test_no_edges_and_no_neighbours() -> None:
    none = np.empty((0, 2), np.int64)
    np.testing.assert_array_equal(merge_segments(3, none, np.empty(0), 1.0, least_size=20), [0, 1, 2])
