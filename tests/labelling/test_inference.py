from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from labelfree import Scene, Vocabulary
from labelfree.config.networks import Segmenter3DConfig
from labelfree.labelling import inference
from labelfree.labelling.inference import point_cosines
from labelfree.labelling.projection import nearby_seen, project_labels, project_scores, refine_cloud, refine_image
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.method.pairing import Pairs
from labelfree.nets.segmenters import Segmenter3D
from labelfree.nets.sparse.voxels import voxelise
from labelfree.prediction import Prediction
from labelfree.runtime.precision import fast_autocast

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


def random_views(seed: int, points: int = 40, count: int = 4) -> list[tuple[Pairs, np.random.Generator]]:
    views = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        seen = torch.from_numpy(np.sort(random.permutation(points)[: points // 2]))
        row, column = (torch.from_numpy(random.integers(0, 6, len(seen))) for _ in range(2))
        views.append((Pairs(seen, row, column), random))
    return views


def random_scene(points: int = 40) -> Scene:
    return Scene("s", np.random.default_rng(0).uniform(0, 2, (points, 3)).astype(np.float32), ())


def test_scores_are_averaged_over_views_before_the_best_class_is_taken() -> None:
    scene = random_scene()
    views = [
        (pairs, torch.from_numpy(random.random((3, 6, 6)).astype(np.float32))) for pairs, random in random_views(1)
    ]
    found = project_scores(scene, views, NAMES).labels
    for point in range(40):
        seen = [
            scores[:, int(pairs.row[i]), int(pairs.column[i])]
            for pairs, scores in views
            for i in torch.nonzero(pairs.point == point)[:, 0].tolist()
        ]
        if seen:
            assert found[point] == int(torch.stack(seen).mean(dim=0).argmax())


def test_averaging_and_voting_may_disagree() -> None:
    """Two views lean to class 1, one is sure of class 0: the vote says 1, the mean says 0."""
    scene = Scene("s", np.zeros((1, 3), np.float32), ())
    scores = [torch.tensor([0.4, 0.5, 0.0]), torch.tensor([0.4, 0.5, 0.0]), torch.tensor([0.9, 0.0, 0.0])]
    maps = [(pairs(0), score[:, None, None]) for score in scores]
    votes = [(pair, score.argmax(dim=0).to(torch.uint8).numpy()) for pair, score in maps]
    assert project_scores(scene, maps, NAMES).labels.tolist() == [0]
    assert project_labels(scene, votes, NAMES).labels.tolist() == [1]


def test_an_image_is_refined_at_its_own_size() -> None:
    labels = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 2, 0], [2, 0, 0, 0]], np.uint8)
    masks = np.array([[1, 0], [2, 2]], np.uint16)  # of half the size; the upper right has no mask
    refined = refine_image(Prediction(labels, NAMES), masks)
    assert refined.labels.tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_cloud_is_refined_view_by_view() -> None:
    scene, random = random_scene(), np.random.default_rng(9)
    own = random.integers(0, 3, 40).astype(np.uint8)
    views = [(pair, view.integers(0, 4, (6, 6)).astype(np.uint16)) for pair, view in random_views(2)]
    found = refine_cloud(scene, Prediction(own, NAMES, points_world=scene.points_world), views).labels
    ballots: dict[int, list[int]] = {}
    for pair, mask_ids in views:
        masks = [int(mask_ids[row, column]) for row, column in zip(pair.row.tolist(), pair.column.tolist())]
        inside: dict[int, list[int]] = {}
        for point, mask in zip(pair.point.tolist(), masks):
            inside.setdefault(mask, []).append(int(own[point]))
        for point, mask in zip(pair.point.tolist(), masks):
            winner = int(own[point]) if mask == 0 else max(range(3), key=lambda c: (inside[mask].count(c), -c))
            ballots.setdefault(point, []).append(winner)
    expected = [
        max(range(3), key=lambda c: (ballots[point].count(c), -c)) if point in ballots else int(own[point])
        for point in range(40)
    ]
    assert found.tolist() == expected
    assert found.tolist() != own.tolist()


def test_cosines_of_points_are_those_of_their_voxels() -> None:
    scene, text = random_scene(), random_orthogonal(8, 3).T.contiguous()
    config = Segmenter3DConfig("MinkUNet14A", planes=(8,) * 8, first_width=8, in_channels=1, voxel_m=0.2, text_width=8)
    torch.manual_seed(0)
    net = Segmenter3D(config, text, NAMES).eval()
    points = torch.from_numpy(scene.upright_points())
    voxels = voxelise(points, 0.2, torch.zeros(40, dtype=torch.int64), torch.ones(40, 1))
    with torch.no_grad(), fast_autocast("cpu"):
        features = net.semantic_features(voxels)
    expected = torch.stack([torch.cosine_similarity(features[v], text, dim=1) for v in voxels.inverse])
    torch.testing.assert_close(point_cosines(net, scene), expected, atol=1e-5, rtol=1e-4)


def test_a_large_image_is_labelled_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(1, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    whole = functional.interpolate(logits, size=(50, 70), mode="bilinear", align_corners=False)[0].softmax(dim=0)
    monkeypatch.setattr(inference, "MOST_LOGITS", 3 * 70 * 7)
    labels, scores = inference._labels_at(logits, (50, 70))
    assert labels.shape == scores.shape == (50, 70)
    np.testing.assert_allclose(scores, whole.amax(dim=0).numpy(), atol=1e-5)
    assert (labels == whole.argmax(dim=0).numpy()).mean() > 0.999


@pytest.mark.parametrize("most", [1, 1 << 28])
def test_bands_of_any_size_give_the_same_labels_and_scores(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(1, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(inference, "MOST_LOGITS", most)
    labels, scores = inference._labels_at(logits, (50, 64))
    monkeypatch.setattr(inference, "BAND_LOGITS", 3 * 64 * 7)
    banded = inference._labels_at(logits, (50, 64))
    np.testing.assert_array_equal(banded[0], labels)
    np.testing.assert_array_equal(banded[1], scores)
