"""Consensus labels of a small room: better than votes, complete, with confidence, support and segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.noisy_teachers import NAMES, noisy_teachers, small_room
from helpers.small_capture import SIZE
from labelfree.config.consensus import ConsensusConfig
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.labelling.consensus import ConsensusNamer, fit_consensus
from labelfree.labelling.consensus_labels import ConsensusLabels, SegmentVote
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.pixel_groups import NO_GROUP, pixel_groups, segment_map
from labelfree.labelling.scene_evidence import SceneEvidence, frame_scores, scene_evidence
from labelfree.method.extensions.pooled_scores import pool_in_masks
from labelfree.method.pairing import Pairs
from labelfree.scene import Scene
from labelfree.teachers.teachers import Teachers

CONFIG = ConsensusConfig(rounds=1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return small_room()


@pytest.fixture(scope="module")
def evidence(scene: Scene) -> SceneEvidence:
    return scene_evidence(scene, noisy_teachers(), CONFIG)


@pytest.fixture(scope="module")
def namer(evidence: SceneEvidence) -> ConsensusNamer:
    return fit_consensus([evidence], CONFIG)[0]


def test_evidence_agrees_with_the_loop(scene: Scene, evidence: SceneEvidence) -> None:
    teachers, segment = noisy_teachers(), int(np.bincount(evidence.segments).argmax())
    scores, views = [], 0
    for frame in scene.frames:
        pairs, found = teachers.pairs(scene, frame), frame_scores(teachers, frame, CONFIG.mask_share)
        own = [
            found[:, row, column]
            for point, row, column in zip(pairs.point.tolist(), pairs.row.tolist(), pairs.column.tolist())
            if evidence.segments[point] == segment
        ]
        scores += own
        views += bool(own)
    torch.testing.assert_close(evidence.scores[segment], torch.stack(scores).mean(dim=0), atol=1e-5, rtol=0)
    assert evidence.views[segment] == views
    assert evidence.sizes[segment] == (evidence.segments == segment).sum()


def test_frame_scores_mix_pixels_and_masks(scene: Scene) -> None:
    teachers, frame = noisy_teachers(), scene.frames[0]
    own = teachers.clip_scores(frame)
    pooled = pool_in_masks(own, torch.from_numpy(teachers.mask_ids(frame).astype(np.int64)))
    torch.testing.assert_close(frame_scores(teachers, frame, 0.25), 0.75 * own + 0.25 * pooled)


def test_points_beat_the_vote_and_carry_their_evidence(scene: Scene, namer: ConsensusNamer) -> None:
    teachers = noisy_teachers()
    found = ConsensusLabels(teachers, namer).points(scene)
    assert scene.labels is not None
    voted = TeacherLabels(teachers, voted=True)
    right = [float((each.labels == scene.labels).mean()) for each in (found, voted.points(scene))]
    assert right[0] > max(0.9, right[1] + 0.05)
    in_segments = SegmentVote(voted, CONFIG)
    assert float((in_segments.points(scene).labels == scene.labels).mean()) > right[1]
    assert found.scores is not None
    assert found.support is not None
    assert found.segments is not None
    assert 0 < float(found.scores.min()) <= float(found.scores.max()) <= 1
    assert set(np.unique(found.support)) <= set(range(len(scene.frames) + 1))
    for segment in np.unique(found.segments)[:5]:
        assert len(set(found.labels[found.segments == segment])) == 1


def test_pixels_beat_the_vote(scene: Scene, namer: ConsensusNamer) -> None:
    teachers = noisy_teachers()
    frame = scene.frames[1]
    truth = frame.load_labels()
    voted = TeacherLabels(teachers, voted=True)
    rows = (ConsensusLabels(teachers, namer), SegmentVote(voted, CONFIG), voted)
    consensus, segments, vote = (float((row.pixels(scene, frame).labels == truth).mean()) for row in rows)
    assert consensus > max(0.85, vote + 0.05)
    assert segments > vote


def test_points_that_no_image_sees_take_a_near_label_without_namers(scene: Scene) -> None:
    config = replace(CONFIG, rounds=0, segments=False)
    evidence = scene_evidence(scene, noisy_teachers(), config)
    plain = fit_consensus([evidence], config)[0]
    found = ConsensusLabels(noisy_teachers(), plain).points(scene)
    assert found.seen is not None
    assert int(found.labels.max()) < len(NAMES)


def test_labels_of_files_count_as_scores(scene: Scene) -> None:
    class Plain:
        notices: tuple[str, ...] = ()
        text = torch.eye(len(NAMES), 8)

        def labels(self, frame: object, size: tuple[int, int]) -> np.ndarray:
            labels = np.zeros(size, np.uint8)
            labels[0], labels[1] = 2, 255
            return labels

        def features(self, frame: object, size: tuple[int, int]) -> None:
            return None

        def describe(self) -> str:
            return "files"

        fingerprint = describe

    teachers = Teachers(Plain(), noisy_teachers().masks, NAMES, LabelConfig(image_size=SIZE), PairingConfig())
    found = frame_scores(teachers, scene.frames[0], 0.0)
    assert found[:, 0, 0].argmax() == 2
    assert float(found[:, 1, 0].abs().max()) == 0


def test_segment_map_reaches_as_far_as_it_is_told() -> None:
    pairs = Pairs(torch.tensor([0, 1, 2]), torch.tensor([2, 2, 2]), torch.tensor([1, 1, 6]))
    found = segment_map(pairs, torch.tensor([4, 7, 3]), (5, 9), 1)
    assert found[2, 1] == 7  # the highest of two points on one pixel
    assert found[1, 0] == 7
    assert found[3, 7] == 3
    assert found[0, 1] == NO_GROUP
    assert int((found != NO_GROUP).sum()) == 18


def test_a_mask_without_points_takes_the_opinion_of_the_image() -> None:
    segments = torch.tensor([[0, NO_GROUP, NO_GROUP], [1, NO_GROUP, NO_GROUP]])
    masks = torch.tensor([[1, 1, 2], [1, 0, 2]])
    log_p = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    image = torch.tensor([[0.2, 0.8]]).log().T[:, :, None].expand(2, 2, 3)
    found = pixel_groups(segments, masks, log_p, torch.tensor([0.5, 0.75]), image)
    assert found.group.tolist() == [[0, 2, 3], [1, NO_GROUP, 3]]
    torch.testing.assert_close(found.log_p.exp()[2:], torch.tensor([[0.7, 0.3], [0.2, 0.8]]))
    torch.testing.assert_close(found.support, torch.tensor([0.5, 0.75, 0.625, 0.0]))
