from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree import InputError
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.config.training import AugmentConfig
from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.samples import draw_sample, pack
from labelfree.vocabulary import Vocabulary

SIZE = (8, 8)
FRAME = Frame("0", ImageArray(np.zeros((*SIZE, 3), np.uint8)), np.eye(3), np.eye(4), SIZE)
COLUMNS = torch.tensor([[0.03, 0.01, 0.01, 0.0], [0.01, 0.014, 0.014, 0.1]])  # [K, 4]
COSINES = COLUMNS[:, None].repeat_interleave(8, dim=1).repeat_interleave(2, dim=2)  # [K, H, W]


class Namer:
    text = torch.eye(2)
    notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        return COSINES.argmax(0).to(torch.uint8).numpy()

    def features(self, frame: Frame, size: tuple[int, int]) -> None:
        return None

    def describe(self) -> str:
        return "a stub"

    def fingerprint(self) -> str:
        return "stub"


class Scorer(Namer):
    def scores(self, frame: Frame, size: tuple[int, int]) -> Tensor:
        return COSINES


class Masks:
    notices: tuple[str, ...] = ()

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        return np.array([[1, 1, 1, 1, 1, 1, 0, 0]] * 8, np.uint16)

    def features(self, frame: Frame) -> None:
        return None

    def describe(self) -> str:
        return "a stub"

    def fingerprint(self) -> str:
        return "stub"


def teachers(namer: Namer, soft_vote: bool) -> Teachers:
    labels = LabelConfig(SIZE, soft_vote=soft_vote)
    return Teachers(namer, Masks(), Vocabulary(("first", "second")), labels, PairingConfig())


def test_a_hard_vote_counts_labels_and_a_soft_one_how_sure_they_are() -> None:
    assert teachers(Scorer(), soft_vote=False).voted_labels(FRAME).tolist() == [[1] * 8] * 8
    assert teachers(Scorer(), soft_vote=True).voted_labels(FRAME).tolist() == [[0] * 6 + [1] * 2] * 8


@pytest.mark.parametrize("refine", [True, False])
def test_a_training_frame_reads_its_masks_once(refine: bool) -> None:
    class Counted(Masks):
        read = 0

        def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
            self.read += 1
            return super().mask_ids(frame, size)

    masks = Counted()
    both = replace(teachers(Namer(), soft_vote=False), masks=masks, labels=LabelConfig(SIZE, refine=refine))
    scene = Scene("0", np.ones((1, 3), np.float32), (FRAME,))
    (frame,) = LabelledScenes([scene], replace(both, pairing=PairingConfig("lidar")))[0].frames
    assert masks.read == 1
    assert (frame.mask_ids == masks.mask_ids(FRAME, SIZE)).all()
    assert frame.labels.tolist() == (both.voted_labels(FRAME) if refine else both.clip_labels(FRAME)).tolist()


class TwoSweeps:
    def load(self, count: int) -> tuple[NDArray[np.float32], ...]:
        random = np.random.default_rng(3)
        return tuple(random.uniform(1.5, 4, (size, 4)).astype(np.float32) for size in (30, 20)[:count])


def test_earlier_sweeps_are_clouds_of_their_own_with_pairs_in_the_same_images() -> None:
    own = np.random.default_rng(0).uniform(1.5, 4, (40, 3)).astype(np.float32)
    camera = replace(FRAME, intrinsics=np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 1]]))
    scene = Scene("0", own, (camera,), intensity=np.ones(40, np.float32), sweeps=TwoSweeps())
    both = replace(teachers(Namer(), soft_vote=False), pairing=PairingConfig("lidar", z_buffer=True))
    labelled = LabelledScenes([scene], both, sweeps=2)[0]
    (frame,) = labelled.frames
    assert labelled.clouds == (40, 30, 20)
    expected, start = [], 0
    for points in (own, *(sweep[:, :3] for sweep in TwoSweeps().load(2))):  # each cloud hides its own points only
        pairs = both.pairs(Scene("s", points, (camera,)), camera)
        expected += [
            (start + p, r, c) for p, r, c in zip(pairs.point.tolist(), pairs.row.tolist(), pairs.column.tolist())
        ]
        start += len(points)
    assert list(zip(frame.pair_point.tolist(), frame.pair_row.tolist(), frame.pair_column.tolist())) == expected
    assert any(point >= 70 for point, _, _ in expected)
    sweep = TwoSweeps().load(1)[0]
    between = labelled.points[40] - labelled.points[0], sweep[0, :3] - own[0]
    assert np.linalg.norm(between[0]) == pytest.approx(np.linalg.norm(between[1]), rel=1e-5)
    batch = pack([draw_sample(labelled, 1, AugmentConfig(), np.random.default_rng(1))] * 2, 0.5)
    voxels = batch.to(torch.device("cpu")).voxels
    assert batch.points_of == (40, 30, 20) * 2
    assert voxels.coords[voxels.inverse, 0].tolist() == [0] * 40 + [1] * 30 + [2] * 20 + [3] * 40 + [4] * 30 + [5] * 20
    assert len(LabelledScenes([scene], both)[0].points) == 40


def test_sweeps_need_a_dataset_that_has_them() -> None:
    scene = Scene("room", np.ones((1, 3), np.float32), (FRAME,))
    with pytest.raises(InputError, match=r"train\.sweeps is 2 but scene 'room' has no earlier sweeps"):
        LabelledScenes([scene], teachers(Namer(), soft_vote=False), sweeps=2)[0]


def test_a_soft_vote_needs_scores() -> None:
    with pytest.raises(InputError, match=r"labels\.soft_vote is true but the labels come from a stub"):
        teachers(Namer(), soft_vote=True)
