"""A run delivers the networks' labels only if they keep the classes of the labels they were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from labelfree import Frame, Prediction, Scene, Vocabulary
from labelfree.config.training import MODALITIES, Modality
from labelfree.evaluation.delivery import KEPT_SHARE, LEAST_SHARE, Comparison, choose, compare, short_training, spread
from labelfree.raster import ImageArray

NAMES = Vocabulary.from_names(["wall", "floor", "chair"])
SCENE = Scene(
    "room",
    np.zeros((100, 3), dtype=np.float32),
    (Frame("0", ImageArray(np.zeros((10, 10, 3), dtype=np.uint8)), np.diag([9.0, 9, 1]), np.eye(4), (10, 10)),),
)


@dataclass(frozen=True)
class Fixed:
    """A labeller with given class counts of 100 pixels and 100 points."""

    name: str
    pixel_counts: tuple[int, int, int]
    point_counts: tuple[int, int, int]
    note: str = "fixed"
    modalities: tuple[Modality, ...] = MODALITIES

    def pixels(self, scene: Scene, frame: Frame) -> Prediction:
        labels = np.repeat(np.arange(3, dtype=np.uint8), self.pixel_counts).reshape(10, 10)
        return Prediction(labels, NAMES, name=frame.name)

    def points(self, scene: Scene) -> Prediction:
        return Prediction(np.repeat(np.arange(3, dtype=np.uint8), self.point_counts), NAMES, name=scene.name)


VOTED = Fixed("clip+sam", (50, 40, 10), (50, 40, 10))


@pytest.mark.parametrize(
    ("networks", "delivered"),
    [
        (Fixed("cns", (50, 40, 10), (50, 40, 10)), "cns"),
        (Fixed("cns", (52, 42, 6), (53, 41, 6)), "cns"),
        (Fixed("cns", (50, 50, 0), (50, 40, 10)), "clip+sam"),
        (Fixed("cns", (50, 40, 10), (56, 40, 4)), "clip+sam"),
    ],
)
def test_labels_are_delivered_where_the_networks_lose_a_class(networks: Fixed, delivered: str) -> None:
    delivery = choose(VOTED, networks, [SCENE], NAMES)
    assert delivery.labeller.name == delivered
    assert delivery.to_dict(NAMES)["delivered"] == delivered
    assert ("lose chair" in delivery.reason) is (delivered == "clip+sam")


def test_shares_and_agreement() -> None:
    pixels, points = compare(VOTED, Fixed("cns", (60, 30, 10), (50, 40, 10)), [SCENE], NAMES)
    assert pixels.labels == pytest.approx((0.5, 0.4, 0.1))
    assert pixels.networks == pytest.approx((0.6, 0.3, 0.1))
    assert (pixels.agreement, points.agreement) == pytest.approx((0.9, 1.0))


def test_a_class_of_hardly_any_labels_may_go() -> None:
    rare = LEAST_SHARE / 2
    assert Comparison("2d", (1 - rare, rare), (1.0, 0.0), 1.0).lost() == ()
    assert Comparison("2d", (0.9, 0.1), (0.99, KEPT_SHARE * 0.1 - 1e-6), 1.0).lost() == (1,)


def test_labels_without_truth_are_left_out(tmp_path: Path) -> None:
    only_points = Scene("cloud", np.zeros((100, 3), dtype=np.float32), ())
    (points,) = compare(VOTED, VOTED, [only_points], NAMES)
    assert points.modality == "3d"


def test_short_training_is_told() -> None:
    assert short_training(1000, 60) == ()
    assert "--train.epochs=60" in short_training(2, 2)[0]


def test_spread() -> None:
    assert spread([1, 2, 3], 9) == [1, 2, 3]
    assert spread(list(range(10)), 2) == [0, 9]
