"""The paper's qualitative figures: the result of each step on held-out views (Fig. 3) and clouds (Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.labelling.inference import predict_images, predict_points
from labelfree.labelling.labellers import TeacherLabels
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.results.cloud_view import CloudLayer, CloudView, label_layer
from labelfree.results.panels import FrameRow, cloud_panel, frame_panel
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers

SAM, CLIP, WITHOUT_CNS, OURS, TRUTH = "SAM", "CLIP", "w/o CNS", "ours", "ground truth"


@dataclass(frozen=True)
class FigureSources:
    """The models whose labels the columns show."""

    teachers: Teachers
    """They give CLIP's labels and, after the vote, the labels without CNS."""
    net_2d: Segmenter2D | None
    net_3d: Segmenter3D | None

    def voted(self, yes: bool) -> TeacherLabels:
        """Return the teachers' labels with or without the vote."""
        return TeacherLabels(self.teachers, yes)


def telling_frame(scene: Scene) -> Frame:
    """Return the frame with the most classes in its ground truth, or the middle frame without ground truth.

    Predictions do not affect the choice. Raises an `InputError` if the scene has no frames.
    """
    if not scene.frames:
        raise InputError(f"Scene '{scene.name}' has no frames to show: choose a scene with images.")
    truths = [frame.load_labels() for frame in scene.frames]
    shown = [0 if truth is None else int((np.unique(truth) != 255).sum()) for truth in truths]
    return scene.frames[int(np.argmax(shown))] if max(shown) else scene.frames[len(scene.frames) // 2]


def frames_figure(scenes: Sequence[Scene], sources: FigureSources) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return a panel of one view per scene: input, SAM, CLIP, w/o CNS, ours, ground truth."""
    rows = [_frame_row(scene, telling_frame(scene), sources) for scene in scenes]
    titles = ("input", SAM, CLIP, WITHOUT_CNS, OURS, TRUTH)
    return frame_panel(rows, sources.teachers.vocabulary, titles=titles)


def clouds_figure(scenes: Sequence[Scene], sources: FigureSources) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return a panel of one cloud per scene without its ceiling: input, CLIP, w/o CNS, ours, ground truth."""
    views = [_cloud_view(scene, sources) for scene in scenes]
    return cloud_panel(views, sources.teachers.vocabulary)


def _frame_row(scene: Scene, frame: Frame, sources: FigureSources) -> FrameRow:
    image = frame.load_image()
    ours = None if sources.net_2d is None else predict_images(sources.net_2d, [image], [frame.name])[0].labels
    return FrameRow(
        name=f"{scene.name} {frame.name}",
        image=image,
        masks=sources.teachers.mask_ids(frame),
        clip=sources.voted(False).pixels(scene, frame).labels,
        voted=sources.voted(True).pixels(scene, frame).labels,
        ours=ours,
        truth=frame.load_labels(),
    )


def _cloud_view(scene: Scene, sources: FigureSources) -> CloudView:
    vocabulary = sources.teachers.vocabulary
    layers = [] if scene.colours is None else [CloudLayer("input", scene.colours)]
    for title, voted in ((CLIP, False), (WITHOUT_CNS, True)):
        layers.append(label_layer(title, sources.voted(voted).points(scene).labels, vocabulary))
    if sources.net_3d is not None:
        layers.append(label_layer(OURS, predict_points(sources.net_3d, scene).labels, vocabulary))
    if scene.labels is not None:
        layers.append(label_layer(TRUTH, scene.labels, vocabulary))
    up = scene.up_world()
    return CloudView(scene.name, scene.points_world, tuple(layers), (float(up[0]), float(up[1]), float(up[2])))
