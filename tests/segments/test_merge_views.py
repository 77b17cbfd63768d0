"""Merging by masks of views: against plain loops, and on clouds of which one side is weak."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from labelfree.segments.mask_counts import MaskCounts, agreement, count_masks
from labelfree.segments.merge_views import Borders, MergeOptions, affinities, borders, merge_by_views

Views = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def random_views(random: np.random.Generator, points: int, views: int, masks: int) -> Views:
    found = []
    for _ in range(views):
        seen = np.flatnonzero(random.random(points) < 0.6)
        found.append((seen, random.integers(0, masks + 1, len(seen))))
    return found


def random_graph(
    random: np.random.Generator, regions: int, edges: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return random.integers(0, regions, (edges, 2)), random.integers(0, 20, edges) / 64


def histograms(region: NDArray[np.int64], views: Views) -> list[dict[int, dict[int, int]]]:
    """Return, for each view, the points of each region in each mask."""
    found = []
    for points, ids in views:
        table: dict[int, dict[int, int]] = {}
        for point, mask in zip(points.tolist(), ids.tolist()):
            if mask:
                row = table.setdefault(int(region[point]), {})
                row[mask] = row.get(mask, 0) + 1
        found.append(table)
    return found


def plain_affinity(
    a: int, b: int, tables: list[dict[int, dict[int, int]]], crossing: list[float], options: MergeOptions
) -> float:
    agreed, weight = 0.0, 0.0
    for table in tables:
        if a in table and b in table:
            first, second = table[a], table[b]
            dot = sum(count * second.get(mask, 0) for mask, count in first.items())
            norms = math.sqrt(sum(c * c for c in first.values()) * sum(c * c for c in second.values()))
            points = min(sum(first.values()), sum(second.values()))
            agreed, weight = agreed + points * dot / norms, weight + points
    geometric = math.exp(-sum(crossing) / len(crossing) / options.geometry_scale)
    prior = options.geometry_points
    return round((agreed + prior * geometric) / (weight + prior), 9)


def plain_merge(
    region: NDArray[np.int64],
    edges: NDArray[np.int64],
    weights: NDArray[np.float64],
    views: Views,
    options: MergeOptions,
) -> list[list[int]]:
    """Merge with sets and dictionaries; all affinities come from the points."""
    label, levels = list(range(int(region.max()) + 1)), []
    for threshold in options.thresholds:
        while True:
            tables = histograms(np.array(label)[region], views)
            crossing: dict[tuple[int, int], list[float]] = {}
            for (i, j), weight in zip(edges.tolist(), weights.tolist()):
                a, b = sorted((label[i], label[j]))
                if a != b:
                    crossing.setdefault((a, b), []).append(weight)
            ranked = sorted((-plain_affinity(a, b, tables, w, options), a, b) for (a, b), w in crossing.items())
            ranked = [pair for pair in ranked if -pair[0] >= threshold]
            if not ranked:
                break
            label = plain_round(label, [(a, b) for _, a, b in ranked])
        levels.append(label)
    return levels


def plain_round(label: list[int], ranked: list[tuple[int, int]]) -> list[int]:
    first: dict[int, tuple[int, int]] = {}
    for pair in ranked:
        for end in pair:
            first.setdefault(end, pair)
    root = {a: a for a in label}
    merged: set[int] = set()
    for a, b in ranked:
        if first[a] == first[b] == (a, b):
            root[b] = a
            merged |= {a, b}
    for end, pair in first.items():
        other = pair[0] if pair[1] == end else pair[1]
        if end not in merged and other in merged:
            root[end] = root[other]
    found = [root[old] for old in label]
    number = {old: i for i, old in enumerate(dict.fromkeys(found))}
    return [number[old] for old in found]


@pytest.mark.parametrize("seed", range(12))
def test_levels_are_those_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    regions = np.arange(25).repeat(8)
    edges, weights = random_graph(random, 25, 120)
    views = random_views(random, len(regions), 5, 4)
    options = MergeOptions((0.9, 0.75, 0.6, 0.5), 3.0, 0.2)
    found = merge_by_views(25, borders(edges, weights), count_masks(regions, views), options)
    assert found.tolist() == plain_merge(regions, edges, weights, views, options)
    assert found[-1].max() < 24


def test_levels_are_nested_and_numbered_by_first_regions() -> None:
    random = np.random.default_rng(5)
    edges, weights = random_graph(random, 40, 150)
    region = random.integers(0, 40, 800)
    found = merge_by_views(40, borders(edges, weights), count_masks(region, random_views(random, 800, 6, 3)))
    for fine, coarse in pairwise(found):
        assert len(np.unique(np.stack([fine, coarse]), axis=1).T) == fine.max() + 1
    for level in found:
        _, first = np.unique(level, return_index=True)
        assert (np.diff(first) > 0).all()


def test_the_order_of_points_views_and_edges_does_not_matter() -> None:
    random = np.random.default_rng(7)
    region = random.integers(0, 30, 600)
    edges, weights = random_graph(random, 30, 90)
    views = random_views(random, 600, 5, 4)
    expected = merge_by_views(30, borders(edges, weights), count_masks(region, views))
    order, turn = random.permutation(600), random.permutation(90)
    place = np.argsort(order)
    moved = [(place[points], ids) for points, ids in reversed(views)]
    found = merge_by_views(30, borders(edges[turn][:, ::-1], weights[turn]), count_masks(region[order], moved))
    np.testing.assert_array_equal(found, expected)


def line(regions: int, weight: float) -> Borders:
    pairs = np.stack([np.arange(regions - 1), np.arange(1, regions)], axis=1)
    return borders(pairs, np.full(regions - 1, weight))


def test_masks_join_what_geometry_divides() -> None:
    region = np.arange(6).repeat(50)
    masks = np.array([1, 1, 1, 2, 2, 2]).repeat(50)
    found = merge_by_views(6, line(6, 1.0), count_masks(region, [(np.arange(300), masks)]))
    assert found[-1].tolist() == [0, 0, 0, 1, 1, 1]


def test_one_wrong_view_is_outvoted() -> None:
    region, points = np.arange(4).repeat(50), np.arange(200)
    right, wrong = np.array([1, 1, 2, 2]).repeat(50), np.array([1, 2, 2, 1]).repeat(50)
    found = merge_by_views(4, line(4, 0.1), count_masks(region, [(points, right)] * 4 + [(points, wrong)]))
    assert found[-1].tolist() == [0, 0, 1, 1]


def test_without_masks_only_geometry_counts() -> None:
    nothing = [(np.arange(20), np.zeros(20, np.int64)), (np.empty(0, np.int64), np.empty(0, np.int64))]
    for views in ([], nothing):
        counts = count_masks(np.arange(4).repeat(5), views)
        border = borders(np.array([[0, 1], [1, 2], [2, 3]]), np.array([0.001, 1.0, 0.04]))
        found = merge_by_views(4, border, counts, MergeOptions((0.9, 0.6), geometry_scale=0.1))
        assert found.tolist() == [[0, 0, 1, 2], [0, 0, 1, 1]]


def test_few_pairs_change_little() -> None:
    """A LiDAR turn has a few pairs per region: less than the geometric affinity counts."""
    counts = count_masks(np.arange(2).repeat(100), [(np.array([0, 1, 100, 101]), np.array([1, 1, 2, 2]))])
    options = MergeOptions(geometry_points=10.0)
    near, far = affinities(2, line(2, 0.0), counts, options), affinities(2, line(2, 10.0), counts, options)
    assert (near.tolist(), far.tolist()) == ([round(10 / 12, 9)], [0.0])


def test_agreement_of_two_views_by_hand() -> None:
    region = np.array([0, 0, 0, 1, 1, 2])
    views = [
        (np.array([0, 1, 3, 4]), np.array([1, 2, 1, 1])),  # cosine 1 / sqrt 2, weight 2
        (np.array([0, 2, 3, 5]), np.array([4, 4, 4, 0])),  # cosine 1, weight 1; region 2 is not covered
    ]
    agreed, weight = agreement(count_masks(region, views), 3, np.array([[0, 1], [0, 2]]))
    assert agreed == pytest.approx([2 / math.sqrt(2) + 1, 0])
    assert weight.tolist() == [3, 0]


def test_a_single_region_and_no_borders() -> None:
    empty: NDArray[np.int64] = np.empty(0, np.int64)
    counts = MaskCounts(empty, empty, empty, empty)
    found = merge_by_views(1, borders(np.empty((0, 2), np.int64), np.empty(0)), counts)
    assert found.tolist() == [[0]] * len(MergeOptions().thresholds)
