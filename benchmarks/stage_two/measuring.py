"""What a training is measured by: its networks on held-out scenes, and its label sources on training scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from benchmarks.stage_two.learning import Training, guided
from numpy.typing import NDArray

from labelfree.config.training import AugmentConfig
from labelfree.evaluation.confusion import ConfusionMatrix, Evaluation
from labelfree.evaluation.measure import measure
from labelfree.labelling.labellers import NetworkLabels
from labelfree.method.extensions.drawn_labels import draw_labels
from labelfree.method.label_switching import most_probable
from labelfree.method.sources import Source
from labelfree.nets.cotrained import CoTrained
from labelfree.paper_tables.data import TableScenes
from labelfree.scene import Scene
from labelfree.training.samples import Batch, LabelledScene, draw_sample, pack, scene_random
from labelfree.training.step import source_labels
from labelfree.vocabulary import Vocabulary

STILL = AugmentConfig(crop_area=(1.0, 1.0), flip_images=False, rotate_points=False, flip_points=False)
SOURCES: tuple[Source, ...] = ("clip_2d", "net_2d", "net_3d")
LABEL_SCENES = 24
"""Number of training scenes whose labels are compared with ground truth."""
FREQUENT = 2
"""Number of classes that count as frequent: the most frequent ones of the ground truth."""

Values = dict[str, Any]
"""Values of one evaluation as plain data, in percent."""


def values(found: Evaluation) -> Values:
    """Return mIoU, accuracy, the share of the most frequent classes of the truth, and IoU and share of each class."""
    truth = found.confusion.sum(axis=1)
    predicted = found.confusion[:, :-1].sum(axis=0)
    frequent = np.argsort(-truth, kind="stable")[:FREQUENT]
    names = list(found.iou)
    return {
        "miou": percent(found.miou),
        "accuracy": percent(found.accuracy),
        "frequent": [names[index] for index in frequent],
        "frequent_share": percent(predicted[frequent].sum() / truth.sum()),
        "frequent_share_truth": percent(truth[frequent].sum() / truth.sum()),
        "iou": {name: percent(value) for name, value in found.iou.items()},
        "share": dict(zip(names, (percent(count / truth.sum()) for count in predicted))),
    }


def percent(share: float) -> float | None:
    """Return a share in percent, None for `nan`."""
    return None if np.isnan(share) else round(100 * float(share), 3)


def held_out_values(networks: CoTrained, scenes: TableScenes) -> dict[str, Values]:
    """Return the values of networks on the held-out scenes, in 2D on the separate images if there are any."""
    labeller, names = NetworkLabels(networks.net_2d, networks.net_3d), scenes.vocabulary
    found = measure(scenes.held_out, (labeller,), names, measured=scenes.measured)[0]
    pixels, points = found.evaluation_2d, found.evaluation_3d
    if scenes.pictures is not None:
        pixels = measure(scenes.pictures, (labeller,), names, measured=scenes.pictures.measured)[0].evaluation_2d
    return {side: values(each) for side, each in (("2d", pixels), ("3d", points)) if each is not None}


def whole_batch(scene: LabelledScene, voxel_m: float) -> Batch:
    """Return all frames of a scene as a batch without augmentation."""
    sample = draw_sample(scene, len(scene.frames), STILL, scene_random(0, 0, 0))
    return pack([sample], voxel_m).to(torch.device("cpu"))


def truth_at_pairs(scene: Scene, labelled: LabelledScene) -> NDArray[np.uint8]:  # [P]
    """Return the true label of every pair of `whole_batch`."""
    if scene.labels is None:
        raise TypeError(f"scene '{scene.name}' has no ground truth")
    return np.concatenate([scene.labels[frame.pair_point] for frame in labelled.frames])


def label_values(
    training: Training, scenes: Sequence[Scene], vocabulary: Vocabulary, sources: Sequence[Source] = SOURCES
) -> dict[str, Values]:
    """Return the values of each label source of stage two, at the pairs of the first training scenes.

    Own labels are picked, aligned and voted as the training does. The networks are in evaluation mode.
    """
    switch, labeller = training.plan.switch, training.learners.labeller
    generator = torch.Generator().manual_seed(0)
    matrices = {source: ConfusionMatrix(len(vocabulary)) for source in sources}
    for scene, labelled in zip(scenes[:LABEL_SCENES], training.scenes):
        batch = whole_batch(labelled, labeller.net_3d.config.voxel_m)
        truth, logits = truth_at_pairs(scene, labelled), guided(labeller, batch)
        for source, matrix in matrices.items():
            labels = source_labels(
                batch,
                logits,
                "3d",
                switch,
                source,
                most_probable if switch.pick == "argmax" else lambda each: draw_labels(each, generator),
            )
            matrix.update(truth, labels.numpy())
    return {source: values(matrix.evaluation(vocabulary)) for source, matrix in matrices.items()}


def given_accuracy(scenes: Sequence[Scene], labelled: Sequence[LabelledScene], classes: int) -> float:
    """Return the share of correct given labels, voted as for training, at the pairs of the first scenes, 0..1."""
    matrix = ConfusionMatrix(classes)
    for scene, each in zip(scenes[:LABEL_SCENES], labelled):
        given = [frame.labels[frame.pair_row, frame.pair_column] for frame in each.frames]
        matrix.update(truth_at_pairs(scene, each), np.concatenate(given))
    return matrix.accuracy()
