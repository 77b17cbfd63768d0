"""The output of a finished run: labelled clouds and images, and the HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.config.labels import Unseen
from labelfree.evaluation.delivery import spread
from labelfree.files.outputs import OutputFolder
from labelfree.labelling.labellers import Labeller, NetworkLabels, TeacherLabels
from labelfree.prediction import Prediction, without_guesses
from labelfree.raster import resize_nearest
from labelfree.results.cloud_view import CloudLayer, CloudView, label_layer
from labelfree.results.environment import environment_facts
from labelfree.results.export import pixel_folder, save_prediction, scene_files
from labelfree.results.panels import FrameRow, frame_panel
from labelfree.results.report import ClassShare, PanelFigure, ReportContent, class_share, write_report
from labelfree.runtime.progress import Progress
from labelfree.scene import Frame, Scene

FRAMES_SHOWN = 6
CLOUDS_SHOWN = 2


def save_predictions(
    scenes: Sequence[Scene], labeller: Labeller, out: Path, unseen: Unseen = "nearest"
) -> tuple[ClassShare, ...]:
    """Write a labeller's labels of all points and pixels; return the number of them per class.

    Scene NAME gives `points/NAME.ply` and `.npy`, and per frame `pixels/NAME/FRAME.png` with an overlay. With
    `unseen="ignore"` points that no image saw are written without a label.
    """
    pixels: list[NDArray[np.uint8]] = []
    points: list[NDArray[np.uint8]] = []
    outputs = OutputFolder(out)
    with Progress("predict", sum(len(scene.frames) + 1 for scene in scenes)) as progress:
        for scene in scenes:
            outputs.claim(scene_files(scene, out))
            if not scene.images_only:
                cloud = labeller.points(scene)
                cloud = without_guesses(cloud) if unseen == "ignore" else cloud
                vocabulary = cloud.vocabulary
                save_prediction(cloud, out / "points")
                points.append(cloud.labels)
            progress.advance()
            for frame in scene.frames:
                picture = at_size(labeller.pixels(scene, frame), frame.size)
                vocabulary = picture.vocabulary
                save_prediction(picture, pixel_folder(scene.name, out), frame.load_image())
                pixels.append(picture.labels)
                progress.advance()
    return tuple(
        class_share(f"{labeller.name}, {side}", labels, vocabulary)
        for side, labels in (("pixels", pixels), ("points", points))
        if labels
    )


def at_size(prediction: Prediction, size: tuple[int, int]) -> Prediction:
    """Return a prediction for an image, resized to (height, width) by the nearest pixel."""
    if prediction.labels.shape == size:
        return prediction
    scores = None if prediction.scores is None else resize_nearest(prediction.scores, size)
    return replace(prediction, labels=resize_nearest(prediction.labels, size), scores=scores)


def report(
    path: Path, content: ReportContent, scenes: Sequence[Scene], teachers: TeacherLabels, networks: NetworkLabels
) -> None:
    """Write the HTML report of `content`, with panels of a few frames, clouds, and the facts of this machine."""
    shown = [(scene, frame) for scene in spread(scenes, 3) for frame in spread(scene.frames, FRAMES_SHOWN // 3)]
    rows = [_row(scene, frame, teachers, networks) for scene, frame in shown]
    clouds = tuple(_cloud(scene, teachers, networks) for scene in spread(scenes, CLOUDS_SHOWN))
    panels = (PanelFigure("Images", frame_panel(rows, content.vocabulary)),)
    facts = (*content.facts, *environment_facts())
    write_report(path, replace(content, panels=panels, clouds=clouds, facts=facts))


def _row(scene: Scene, frame: Frame, teachers: TeacherLabels, networks: NetworkLabels) -> FrameRow:
    sources = teachers.teachers
    return FrameRow(
        name=f"{scene.name} {frame.name}",
        image=frame.load_image(),
        masks=sources.mask_ids(frame),
        clip=sources.clip_labels(frame),
        voted=sources.voted_labels(frame),
        ours=networks.pixels(scene, frame).labels,
        truth=frame.load_labels(),
    )


def _cloud(scene: Scene, teachers: TeacherLabels, networks: NetworkLabels) -> CloudView:
    clip, vocabulary = TeacherLabels(teachers.teachers, voted=False), teachers.teachers.vocabulary
    layers = [CloudLayer("input", scene.colours)] if scene.colours is not None else []
    layers += [
        label_layer("CLIP labels", clip.points(scene).labels, vocabulary),
        label_layer("labels after the vote", teachers.points(scene).labels, vocabulary),
        label_layer("ours", networks.points(scene).labels, vocabulary),
    ]
    if scene.labels is not None:
        layers.append(label_layer("ground truth", scene.labels, vocabulary))
    up = scene.up_world()
    return CloudView(scene.name, scene.points_world, tuple(layers), (float(up[0]), float(up[1]), float(up[2])))
