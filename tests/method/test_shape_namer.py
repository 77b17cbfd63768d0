"""The shape namer learns through noisy labels, never from a segment's own label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from labelfree.method.extensions.naming_rounds import RoundOptions, naming_rounds
from labelfree.method.extensions.shape_namer import (
    NamerOptions,
    cross_fitted,
    fit_shape_namer,
    name_shapes,
    namer_arrays,
    namers_from,
)

CLASSES, SEGMENTS, SCENES = 3, 240, 8
OPTIONS = NamerOptions(hidden=16, steps=80)


def segments(noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return shapes, true classes, noisy probabilities and scenes."""
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, CLASSES, (SEGMENTS,), generator=random)
    shapes = 2.0 * one_hot(truth, CLASSES).float() @ torch.randn(CLASSES, 5, generator=random)
    shapes += 0.5 * torch.randn(shapes.shape, generator=random)
    wrong = torch.rand(SEGMENTS, generator=random) < noise
    label = torch.where(wrong, torch.randint(0, CLASSES, (SEGMENTS,), generator=random), truth)
    soft = 0.7 * one_hot(label, CLASSES).float() + 0.1
    return shapes, truth, soft, torch.arange(SEGMENTS) % SCENES


def accuracy(log_p: Tensor, truth: Tensor) -> float:
    return float((log_p.argmax(dim=1) == truth).float().mean())


def test_a_scene_is_named_by_a_namer_that_has_not_seen_it() -> None:
    shapes, _, soft, scene = segments(0.3)
    named, namers = cross_fitted(shapes, soft, torch.ones(SEGMENTS), scene, OPTIONS)
    own = scene % OPTIONS.folds == 1
    changed = torch.where(own[:, None], soft.roll(1, dims=1), soft)
    again, _ = cross_fitted(shapes, changed, torch.ones(SEGMENTS), scene, OPTIONS)
    assert torch.equal(again[own], named[own])
    assert not torch.equal(again[~own], named[~own])
    # the slow twin: fit on the other scenes by hand
    slow = fit_shape_namer(shapes[~own], soft[~own], torch.ones(int((~own).sum())), OPTIONS, seed=1)
    assert torch.equal(name_shapes([slow], shapes[own]), named[own])
    assert len(namers) == OPTIONS.folds


def test_it_corrects_labels_with_independent_errors() -> None:
    shapes, truth, soft, scene = segments(0.5)
    found = naming_rounds(
        soft.log(), shapes, torch.ones(SEGMENTS), scene, RoundOptions(2, shape_weight=3.0, namer=OPTIONS)
    )
    assert accuracy(found.log_p, truth) > accuracy(soft, truth) + 0.15


def test_exchanged_shapes_correct_nothing() -> None:
    shapes, truth, soft, scene = segments(0.5)
    other = shapes[torch.randperm(SEGMENTS, generator=torch.Generator().manual_seed(1))]
    found = naming_rounds(
        soft.log(), other, torch.ones(SEGMENTS), scene, RoundOptions(2, shape_weight=3.0, namer=OPTIONS)
    )
    assert accuracy(found.log_p, truth) < accuracy(soft, truth) + 0.05


def test_no_rounds_leave_the_image_namer() -> None:
    shapes, _, soft, scene = segments(0.5)
    found = naming_rounds(soft.log(), shapes, torch.ones(SEGMENTS), scene, RoundOptions(0, namer=OPTIONS))
    assert torch.equal(found.log_p, soft.log())
    assert not found.namers


def test_a_single_scene_is_divided_by_segments() -> None:
    shapes, truth, soft, _ = segments(0.3)
    named, _ = cross_fitted(shapes, soft, torch.ones(SEGMENTS), torch.zeros(SEGMENTS, dtype=torch.int64), OPTIONS)
    assert accuracy(named, truth) > 0.9


def test_equal_seeds_give_equal_namers_and_files_keep_them() -> None:
    shapes, _, soft, _ = segments(0.3)
    for hidden in (0, 16):
        options = NamerOptions(hidden=hidden, steps=10)
        torch.manual_seed(hidden)
        one, other = (fit_shape_namer(shapes, soft, torch.ones(SEGMENTS), options, seed=3) for _ in range(2))
        assert torch.equal(name_shapes([one], shapes), name_shapes([other], shapes))
        stored = namers_from(namer_arrays([one, other]))
        assert torch.equal(name_shapes(stored, shapes), name_shapes([one, other], shapes))
