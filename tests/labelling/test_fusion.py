"""Fused predictions: each step agrees with a loop, and nothing needs images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.noisy_teachers import NAMES, noisy_teachers, small_room
from helpers.small_capture import SIZE
from labelfree.config.labels import PredictConfig
from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.labelling.fusion import FusedLabels, SegmentSource, segment_mean
from labelfree.labelling.inference import pixel_log_p, point_log_p, predict_images, predict_points
from labelfree.labelling.labellers import NetworkLabels
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.scene import Scene

CONFIG = PredictConfig(fuse=True, fuse_turns=2)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return small_room(frames=2)


@pytest.fixture(scope="module")
def networks() -> NetworkLabels:
    torch.manual_seed(0)
    text = torch.eye(len(NAMES), 8)
    net_2d = Segmenter2DConfig("resnet18", width=8, aspp_channels=8, text_width=8, latent_width=4, image_size=SIZE)
    net_3d = Segmenter3DConfig("MinkUNet14A", planes=(4,) * 8, first_width=4, voxel_m=0.2, text_width=8, latent_width=4)
    return NetworkLabels(Segmenter2D(net_2d, text, NAMES), Segmenter3D(net_3d, text, NAMES))


@pytest.fixture(scope="module")
def source() -> SegmentSource:
    return SegmentSource.of(noisy_teachers(), 0.7)


def test_one_turn_and_no_mirror_are_the_plain_predictions(scene: Scene, networks: NetworkLabels) -> None:
    assert networks.net_2d is not None
    assert networks.net_3d is not None
    np.testing.assert_array_equal(
        point_log_p(networks.net_3d, scene).argmax(dim=1).numpy(), predict_points(networks.net_3d, scene).labels
    )
    image = scene.frames[0].load_image()
    plain = pixel_log_p(networks.net_2d, image, mirror=False)
    one = predict_images(networks.net_2d, [image])[0]
    assert one.labels.shape == SIZE
    grown = torch.nn.functional.interpolate(plain.exp()[None], SIZE, mode="bilinear")[0].argmax(dim=0)
    assert float((grown.numpy() == one.labels).mean()) > 0.9


def test_the_mirror_image_counts_as_much_as_the_image(scene: Scene, networks: NetworkLabels) -> None:
    assert networks.net_2d is not None
    image = scene.frames[0].load_image()
    both = pixel_log_p(networks.net_2d, image).exp()
    one = pixel_log_p(networks.net_2d, image, mirror=False).exp()
    other = pixel_log_p(networks.net_2d, np.ascontiguousarray(image[:, ::-1]), mirror=False).exp().flip(2)
    torch.testing.assert_close(both, (one + other) / 2, atol=1e-5, rtol=0)


def test_points_are_the_mean_per_segment_of_both_networks(
    scene: Scene, networks: NetworkLabels, source: SegmentSource
) -> None:
    assert networks.net_2d is not None
    assert networks.net_3d is not None
    found = FusedLabels(networks, source, CONFIG).points(scene)
    assert found.segments is not None
    assert found.support is not None
    total = point_log_p(networks.net_3d, scene, 2)
    of_images = torch.zeros_like(total)
    views = torch.zeros(len(scene))
    for frame in scene.frames:
        log_p, pairs = pixel_log_p(networks.net_2d, frame.load_image()), source.pairs(scene, frame)
        grown = torch.nn.functional.interpolate(log_p[None], SIZE, mode="bilinear")[0].log_softmax(dim=0)
        for point, row, column in zip(pairs.point.tolist(), pairs.row.tolist(), pairs.column.tolist()):
            of_images[point] += grown[:, row, column]
            views[point] += 1
    np.testing.assert_array_equal(found.support, views.numpy())
    seen = (of_images / views.clamp(min=1)[:, None]).log_softmax(dim=1)
    total = torch.where((views > 0)[:, None], (total + seen).log_softmax(dim=1), total)
    right = 0
    for segment in np.unique(found.segments):
        own = found.segments == segment
        right += int(total[own].mean(dim=0).argmax()) == int(found.labels[own][0])
        assert len(set(found.labels[own])) == 1
    assert right == len(np.unique(found.segments))


def test_segment_means_are_log_probabilities() -> None:
    log_p = torch.randn(6, 3).log_softmax(dim=1)
    found = segment_mean(log_p, np.array([0, 0, 1, 1, 1, 2]))
    torch.testing.assert_close(found[5], log_p[5])
    torch.testing.assert_close(found[0], log_p[:2].mean(dim=0).log_softmax(dim=0))
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(6))


def test_pixels_have_the_size_of_the_frame(scene: Scene, networks: NetworkLabels, source: SegmentSource) -> None:
    found = FusedLabels(networks, source, CONFIG).pixels(scene, scene.frames[0])
    assert found.labels.shape == scene.frames[0].size
    assert found.scores is not None
    assert 0 < float(found.scores.min()) <= float(found.scores.max()) <= 1


def test_a_scene_without_images_is_fused_too(scene: Scene, networks: NetworkLabels, source: SegmentSource) -> None:
    found = FusedLabels(networks, source, CONFIG).points(replace(scene, frames=()))
    assert found.support is None
    assert found.segments is not None
    plain = FusedLabels(networks, source, replace(CONFIG, fuse_segments=False)).points(scene)
    assert plain.segments is None
