from __future__ import annotations

import numpy as np
import torch

from labelfree import Scene, Vocabulary
from labelfree.inference import nearby_seen, project_labels
from labelfree.method.pairing import Pairs

NAMES = Vocabulary(("a", "b", "c"))


def pairs(*point: int) -> Pairs:
    return Pairs(torch.tensor(point), torch.zeros(len(point), dtype=torch.int64), torch.arange(len(point)))


def test_views_vote_and_ties_go_to_the_lowest_class() -> None:
    scene = Scene("s", np.array([[0, 0, 0], [1, 0, 0], [1.01, 0, 0]], np.float32), ())
    views = [
        (pairs(0, 1), np.array([[2, 1]], np.uint8)),
        (pairs(0, 1), np.array([[1, 255]], np.uint8)),
    ]
    found = project_labels(scene, views, NAMES)
    assert found.labels.tolist() == [1, 1, 1]  # a tie, one view, and a neighbour's
    assert found.scores is not None
    assert found.scores.tolist() == [0.5, 1.0, 0.0]


def test_a_cloud_that_no_view_sees_has_no_labels() -> None:
    scene = Scene("s", np.zeros((2, 3), np.float32), ())
    assert project_labels(scene, [], NAMES).labels.tolist() == [255, 255]


def test_nearby_is_nearly_the_nearest() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(800, 3, generator=generator) * 3
    seen = torch.rand(800, generator=generator) < 0.3
    index = nearby_seen(points, seen)
    assert torch.equal(index[seen], torch.arange(800)[seen])
    assert bool(seen[index].all())
    distance = (points - points[index]).norm(dim=1)[~seen]
    nearest = torch.cdist(points[~seen], points[seen]).amin(dim=1)
    assert float((distance / nearest.clamp(min=0.1)).median()) < 3
    assert float(distance.max()) < 1.5
