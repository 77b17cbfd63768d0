"""Measure the calibration of a set of scenes: a world of the lab, a dataset or a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from labelfree.calibration.histogram import Samples, cross_validated_miou, joined
from labelfree.calibration.majority import Bound, MajorityOfTruth, fused_majority
from labelfree.calibration.misfit import Misfit, SurfaceMisfit, cloud_gaps, frame_gaps
from labelfree.calibration.shortcuts import colour_samples, position_samples, size_samples, texture_samples
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import MethodResult
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.scene_segments import scene_graph, scene_segments
from labelfree.raster import resize_nearest
from labelfree.scene import Scene
from labelfree.segments.geometric import SegmentOptions, segments_of
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary

SEGMENTS = {
    "k = 1": SegmentOptions(k=1.0),
    "k = 0.5": SegmentOptions(k=0.5),
    "k = 0.2": SegmentOptions(k=0.2),
    "normals only, k = 0.5": SegmentOptions(k=0.5, normal_weight=1.0, colour_weight=0.0),
}
"""Options of the geometric segments that are measured, on normals and colour unless said; the first is the main row."""

MERGED = (0.9, 0.7, 0.5)
"""Thresholds of the levels of merged segments that are measured."""

LEAST_PIXELS, LEAST_PARTS = 20, 3
"""Fitted samples from which a cell of a histogram has a class: pixels or points, and parts of objects."""

SHORTCUTS = {"colour": "2D", "texture": "2D", "position": "3D", "size": "3D"}
"""What the classifiers of the validity checks see, and whether they label pixels or points."""


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """What is measured: scenes, and what labels them."""

    name: str
    scenes: Sequence[Scene]
    pictures: Sequence[Scene]
    """Scenes whose images are measured in 2D; the same as `scenes` unless the data has its own images."""
    vocabulary: Vocabulary | None = None
    """Classes of the ground truth; None without any."""
    measured: tuple[str, ...] | None = None
    """Classes that the ground truth of the scenes can contain, if not all."""
    measured_2d: tuple[str, ...] | None = None
    """The same for the pictures."""
    teachers: Teachers | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """The values of a set of scenes; what does not apply is None or missing."""

    name: str
    scenes: int
    frames: int
    points: float
    """Mean number of points per scene."""
    masks: Bound | None
    """Masks of the teacher in 2D."""
    fused_masks: Bound | None
    """The same masks on the points, where all views vote; `segments` is meaningless here."""
    segments: dict[str, Bound]
    """Geometric segments for each of `SEGMENTS`."""
    merged: dict[str, Bound]
    """Segments merged by agreement of the teacher's masks across views, for each of `MERGED`."""
    misfit: Misfit | None
    """Of the scenes' points and the depth maps."""
    frame_misfit: Misfit | None
    """Of the depth maps among each other."""
    methods: tuple[MethodResult, ...]
    """The teachers' labels before and after the vote."""
    shortcuts: dict[str, float]
    """mIoU of classifiers that see only one property, for those of `SHORTCUTS` that apply."""


@dataclass
class _Points:
    """What is collected over the scenes."""

    bounds: dict[str, MajorityOfTruth]
    merged: dict[float, MajorityOfTruth]
    fused: MajorityOfTruth
    misfit: SurfaceMisfit = field(default_factory=SurfaceMisfit)
    frame_misfit: SurfaceMisfit = field(default_factory=SurfaceMisfit)
    position: list[Samples] = field(default_factory=list)
    size: list[Samples] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


@dataclass
class _Pixels:
    """What is collected over the images."""

    masks: MajorityOfTruth
    colour: list[Samples] = field(default_factory=list)
    texture: list[Samples] = field(default_factory=list)
    frames: int = 0


def calibrate(data: CalibrationData, advance: Callable[[], None] = lambda: None) -> Calibration:
    """Return all values of a set of scenes; `advance` is called after each scene and each set of images."""
    classes = IGNORE_LABEL if data.vocabulary is None else len(data.vocabulary)
    points = _Points(
        {name: MajorityOfTruth(classes) for name in SEGMENTS},
        {threshold: MajorityOfTruth(classes) for threshold in MERGED},
        MajorityOfTruth(classes),
    )
    for scene in data.scenes:
        _add_scene(points, scene, data.teachers)
        advance()
    pixels = _Pixels(MajorityOfTruth(classes))
    for scene in data.pictures:
        _add_images(pixels, scene, data.teachers)
        advance()
    samples = zip(SHORTCUTS, (pixels.colour, pixels.texture, points.position, points.size))
    reached = {
        name: cross_validated_miou(found, classes, LEAST_PARTS if name == "size" else LEAST_PIXELS)
        for name, found in samples
    }
    return Calibration(
        data.name,
        len(data.scenes or data.pictures),
        pixels.frames,
        float(np.mean(points.sizes)) if points.sizes else 0.0,
        pixels.masks.bound(),
        points.fused.bound(),
        {name: bound for name, found in points.bounds.items() if (bound := found.bound()) is not None},
        {f"{level:g}": bound for level, found in points.merged.items() if (bound := found.bound()) is not None},
        points.misfit.misfit(),
        points.frame_misfit.misfit(),
        _methods(data),
        {name: miou for name, miou in reached.items() if miou is not None},
    )


def _methods(data: CalibrationData) -> tuple[MethodResult, ...]:
    """Return the results of CLIP's labels and of the voted labels; none without teachers or ground truth."""
    if data.teachers is None or data.vocabulary is None:
        return ()
    labellers = [TeacherLabels(data.teachers, voted) for voted in (False, True)]
    methods = measure(data.scenes, labellers, data.vocabulary, data.name, data.measured)
    if data.pictures is not data.scenes:
        pixels = measure(data.pictures, labellers, data.vocabulary, data.name, data.measured_2d)
        methods = tuple(replace(m, evaluation_2d=p.evaluation_2d) for m, p in zip(methods, pixels))
    return methods if any(method.modalities() for method in methods) else ()


def _add_scene(found: _Points, scene: Scene, teachers: Teachers | None) -> None:
    if not len(scene):
        return
    found.sizes.append(len(scene))
    for gaps in cloud_gaps(scene):
        found.misfit.update(gaps)
    for gaps in frame_gaps(scene):
        found.frame_misfit.update(gaps)
    if scene.labels is None:
        return
    graph = scene_graph(scene)
    for name, options in SEGMENTS.items():
        found.bounds[name].update(scene.labels, segments_of(graph, options) + 1)
    found.position.append(position_samples(scene))
    found.size.append(size_samples(scene, graph))
    if teachers is not None:
        views = ((teachers.pairs(scene, frame), teachers.mask_ids(frame)) for frame in scene.frames)
        found.fused.matrix.update(scene.labels, fused_majority(scene.labels, views, found.fused.matrix.classes))
        found.fused.parts += 1
        merged = scene_segments(scene, teachers.masks, teachers.size, teachers.pairing)
        for threshold in MERGED:
            found.merged[threshold].update(scene.labels, merged.at(threshold) + 1)


def _add_images(found: _Pixels, scene: Scene, teachers: Teachers | None) -> None:
    found.frames += len(scene.frames)
    labelled = [frame for frame in scene.frames if frame.labels is not None]
    if not labelled:
        return
    for frame in labelled:
        truth = frame.load_labels()
        if teachers is not None and truth is not None:
            found.masks.update(truth, resize_nearest(teachers.mask_ids(frame), (truth.shape[0], truth.shape[1])))
    for samples, of_frame in ((found.colour, colour_samples), (found.texture, texture_samples)):
        each = [of_frame(frame) for frame in labelled]
        samples += each if scene.images_only else [joined(each)]
