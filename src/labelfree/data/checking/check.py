"""Check a capture before work begins and report each problem in one sentence (`labelfree check`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.data.captures.posed_rgbd import CaptureSource
from labelfree.data.checking.misfit import (
    CLOUD_POINTS,
    Agreement,
    Probe,
    Reading,
    Subject,
    choose_probes,
    measure,
    other_readings,
    overall,
)
from labelfree.data.checking.plausibility import (
    FrameFacts,
    depth_problems,
    gather_facts,
    intrinsics_problems,
    label_warnings,
    size_problems,
)
from labelfree.data.collection import SceneCollection
from labelfree.data.layout import SceneSource
from labelfree.data.point_files import read_points
from labelfree.data.poses import PoseConvention
from labelfree.data.sources import calibrations_of, faults_of
from labelfree.errors import InputError
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import IGNORE_LABEL

PROBE_FRAMES = 20
"""Frames whose misfit is measured in the quick check; all files are decoded nevertheless."""
GOOD_AGREEMENT = 0.7
"""Share of agreeing points above which no other reading is tried; real hand-held captures reach 0.85."""
POOR_AGREEMENT = 0.35
"""Share below which poses, depth and intrinsics contradict each other; wrong readings reach 0.05 to 0.55."""
FAR_BETTER = 0.2
"""Margin by which the best other reading must exceed the stated one to be reported."""
DECODED_SCENES = 4
"""Number of evenly spaced scenes of a dataset that are decoded and measured."""
IMAGES_ONLY = "images only: predict and evaluate, no training"
_FEWEST_POINTS = 200
_FAR_AWAY_M = 10_000.0


@dataclass(frozen=True)
class CheckContext:
    """Names of the parts of a capture for the sentences of a report, and the stated convention."""

    convention: PoseConvention = field(default_factory=PoseConvention)
    poses: str = "The poses"
    intrinsics: str = "The intrinsics"
    depth: str = "The depth maps"
    cloud: str = "The point cloud"
    num_classes: int | None = None

    def of(self, subject: Subject) -> str:
        """Return the name of a part of the capture for messages."""
        return {Subject.POSES: self.poses, Subject.DEPTH: self.depth, Subject.INTRINSICS: self.intrinsics}[subject]


@dataclass(frozen=True)
class CheckReport:
    """The outcome of checking one scene."""

    scene: str
    frames: int = 0
    points: int | None = None
    """Points of the cloud file; None if the cloud is fused from depth maps."""
    rows: tuple[Agreement, ...] = ()
    """Agreement of each measured frame."""
    problems: tuple[str, ...] = ()
    """What must be fixed, one sentence each; the misfit is measured only if the files have no problems."""
    warnings: tuple[str, ...] = ()
    """What may be intended, one sentence each."""
    calibration: str = ""
    """Source of the intrinsics, if they can come from several files."""

    @property
    def agree(self) -> float | None:
        """Return the share of the points in view that lie within 5 cm of the depth maps; None if none was measured."""
        seen = sum(row.in_view for row in self.rows if row.misfit_cm is not None)
        return sum(row.pairs for row in self.rows) / seen if seen else None

    @property
    def misfit_cm(self) -> float | None:
        """Return the median misfit in centimetres over the measured frames; None if none was measured."""
        values = [row.misfit_cm for row in self.rows if row.misfit_cm is not None]
        return float(np.median(values)) if values else None

    def render(self, max_rows: int = 20) -> str:
        """Return the report as plain text: problems, warnings, a table of frames and a last line with the verdict."""
        cloud = "cloud fused from depth" if self.points is None else f"{self.points} points"
        lines = [f"{self.scene}: {self.frames} frames, {cloud}"]
        lines += [f"  calibration: {self.calibration}"] if self.calibration else []
        lines += [f"  problem: {text}" for text in self.problems]
        lines += [f"  warning: {text}" for text in self.warnings]
        if self.rows:
            lines.append(f"  {'frame':<20} {'in view':>8} {'within 5 cm':>12} {'share':>6} {'misfit':>8}")
            lines += [_row(row) for row in self.rows[:max_rows]]
        if len(self.rows) > max_rows:
            lines.append(f"  ... and {len(self.rows) - max_rows} more frames")
        if self.agree is not None and self.misfit_cm is not None:
            lines.append(f"  agreement {self.agree:.0%} within 5 cm, median misfit {self.misfit_cm:.1f} cm")
        return "\n".join([*lines, "  needs fixing" if self.problems else "  sound"])


def check_collection(collection: SceneCollection, probes: int | None = PROBE_FRAMES) -> tuple[CheckReport, ...]:
    """Check every scene; measure `probes` frames of each, or all frames if None. Nothing is fused or cached.

    A dataset in its own layout may have tens of thousands of scenes: a few are decoded and measured. Of the others,
    only the files' names, headers and sizes are checked.
    """
    num_classes = None if collection.classes is None else len(collection.classes)
    last = max(1, len(collection.sources) - 1)
    decoded = {round(step * last / max(1, DECODED_SCENES - 1)) for step in range(DECODED_SCENES)}
    return tuple(
        check_capture(source, probes, num_classes)
        if isinstance(source, CaptureSource)
        else check_dataset_scene(source, probes, place in decoded)
        for place, source in enumerate(collection.sources)
    )


def render_reports(reports: Sequence[CheckReport], max_rows: int = 20) -> str:
    """Return the reports as plain text; scenes without problems whose files were not decoded are only counted."""
    told = [report for report in reports if report.frames or report.problems or report.warnings]
    lines = [report.render(max_rows) for report in told]
    if len(told) < len(reports):
        lines.append(f"{len(reports) - len(told)} more scenes: files are complete, images not decoded")
    return "\n".join(lines)


def raise_problems(reports: Sequence[CheckReport], told: str = "labelfree check lists them") -> None:
    """Raise an `InputError` with the first problem of any scene and the number of the others."""
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        more = f" (and {len(problems) - 1} more: {told})" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)


def check_capture(
    source: CaptureSource, probes: int | None = PROBE_FRAMES, num_classes: int | None = None
) -> CheckReport:
    """Check a capture that is not built yet: match, decode and measure its files."""
    stated, path = source.description.intrinsics, source.cloud_path()
    context = CheckContext(
        source.description.convention,
        str(source.folder / source.description.poses),
        str(source.near(stated)) if isinstance(stated, str) else "The description's intrinsics",
        str(source.folder / (source.description.depth or "")),
        str(path),
        num_classes,
    )
    try:
        matched = source.match()
        frames = source.frames(matched)
        cloud = None if path is None else read_points(path)
        if cloud is None and all(frame.depth is None for frame in frames):
            raise InputError(source.no_cloud())
    except InputError as error:
        return CheckReport(source.name, problems=(str(error),))
    finite = None if cloud is None else np.isfinite(cloud.points).all(axis=1)
    points = None if cloud is None else cloud.points[finite]
    report = check_frames(source.name, frames, points, context, probes)
    calibration = next(iter(calibrations_of([source])), None)
    warnings = [*(() if calibration is None else calibration.doubts), *matched.notes, *report.warnings]
    if finite is not None and not finite.all():
        lost = int(len(finite) - finite.sum())
        warnings.append(f"{context.cloud}: {lost:,} of {len(finite):,} points are not finite and are left out.")
    if cloud is not None and cloud.labels is not None:
        warnings += _cloud_label_warnings(cloud.labels, context)
    return replace(report, warnings=tuple(warnings), calibration="" if calibration is None else calibration.used)


def check_dataset_scene(source: SceneSource, probes: int | None = PROBE_FRAMES, decode: bool = True) -> CheckReport:
    """Check the files of a scene of a dataset in its own layout and, with `decode`, their content."""
    problems, calibration = faults_of(source), next(iter(calibrations_of([source])), None)
    report = _content_of(source, problems, probes, decode)
    if calibration is None:
        return report
    used = calibration.used if report.frames else ""
    return replace(report, calibration=used, warnings=(*calibration.doubts, *report.warnings))


def _content_of(source: SceneSource, problems: tuple[str, ...], probes: int | None, decode: bool) -> CheckReport:
    if problems or not decode:
        return CheckReport(source.name, problems=problems)
    try:
        scene = source.build()
        if not scene.frames:
            alone = "it has no images: a trained network can label it, but nothing can be trained on it"
            return CheckReport(source.name, 0, len(scene), warnings=(alone,))
        if not scene.images_only:
            return check_scene(scene, probes=probes)
        found = tuple(fault for frame in scene.frames if (fault := _undecoded(frame)) is not None)
        return CheckReport(source.name, len(scene.frames), 0, problems=found, warnings=(IMAGES_ONLY,))
    except InputError as error:
        return CheckReport(source.name, problems=(str(error),))


def _undecoded(frame: Frame) -> str | None:
    try:
        frame.load_image()
        frame.load_labels()
    except InputError as error:
        return str(error)
    return None


def check_scene(scene: Scene, cloud_is_fused: bool = False, probes: int | None = PROBE_FRAMES) -> CheckReport:
    """Check a scene in memory; a cloud fused from its own depth maps cannot test the poses and is not used."""
    points = None if cloud_is_fused else scene.points_world
    return check_frames(scene.name, scene.frames, points, CheckContext(), probes)


def check_frames(
    name: str,
    frames: Sequence[Frame],
    points_world: NDArray[np.floating[Any]] | None,  # [N, 3], None: frames are compared with each other
    context: CheckContext,
    probes: int | None = PROBE_FRAMES,
) -> CheckReport:
    """Decode every file, then measure how well points agree with depth maps."""
    points = None if points_world is None else len(points_world)
    if not frames:
        return CheckReport(name, 0, points, problems=(f"Scene '{name}' has no frames; check its images.",))
    facts = gather_facts(frames)
    problems = [fact.error for fact in facts if fact.error is not None]
    problems = problems or size_problems(frames, facts)
    problems = problems or depth_problems(frames, facts) + intrinsics_problems(frames, facts, context.intrinsics)
    if problems:
        return CheckReport(name, len(frames), points, problems=tuple(problems))
    cloud = None if points_world is None else _thin(points_world)
    chosen = choose_probes(frames, probes, cloud is not None)
    rows = measure(chosen, cloud, Reading(context.convention), context.convention)
    found, doubts = _judge(chosen, cloud, rows, facts, context)
    doubts += label_warnings(facts, context.num_classes) + _far_away(frames, points_world)
    return CheckReport(name, len(frames), points, tuple(rows), tuple(found), tuple(doubts))


def _judge(
    probes: Sequence[Probe],
    cloud: Tensor | None,
    rows: Sequence[Agreement],
    facts: Sequence[FrameFacts],
    context: CheckContext,
) -> tuple[list[str], list[str]]:
    """Return problems and warnings about the measured agreement."""
    stated = context.convention
    seen, share = sum(row.in_view for row in rows), overall(rows)
    if probes[0].frame.depth is None:
        return _judge_without_depth(probes, cloud, rows, context), []
    if seen >= _FEWEST_POINTS and share >= GOOD_AGREEMENT:
        return [], _odd_frames(rows)
    trials = [(r, measure(probes, cloud, r, stated)) for r in other_readings(probes[0], facts[0].colour_size, stated)]
    trials = [(reading, found) for reading, found in trials if sum(a.in_view for a in found) >= _FEWEST_POINTS]
    best, found = max(trials, key=lambda trial: overall(trial[1]), default=(Reading(stated), rows))
    if overall(found) >= max(share + FAR_BETTER, GOOD_AGREEMENT - FAR_BETTER / 2):
        change = f"then {overall(found):.0%} of the points agree with the depth maps instead of {share:.0%}"
        return [f"{context.of(best.about)}: {best.remedy} ({change})."], []
    if seen < _FEWEST_POINTS:
        return _judge_unseen(cloud, seen, context)
    if share >= POOR_AGREEMENT:
        return [], [f"{context.poses}: only {share:.0%} of the points in view agree with the depth maps within 5 %."]
    if cloud is not None and overall(measure(_lending(probes), None, Reading(stated), stated)) >= GOOD_AGREEMENT:
        return [
            f"{context.cloud}: only {share:.0%} of its points in view agree with the depth maps, which agree with each "
            "other: the cloud is in another coordinate system or unit than the poses; export both together."
        ], []
    return [
        f"{context.poses}: only {share:.0%} of the points in view agree with the depth maps within 5 %: poses, depth "
        "and intrinsics contradict each other; check that each pose is that of its image, and the intrinsics."
    ], []


def _judge_without_depth(
    probes: Sequence[Probe], cloud: Tensor | None, rows: Sequence[Agreement], context: CheckContext
) -> list[str]:
    if sum(row.in_view for row in rows):
        return []
    for reading in other_readings(probes[0], probes[0].frame.size, context.convention):
        if sum(row.in_view for row in measure(probes, cloud, reading, context.convention)):
            return [f"{context.of(reading.about)}: {reading.remedy} (as it is, no point falls into any image)."]
    return [
        f"{context.cloud}: no point falls into any image; cloud and poses must share one coordinate system in metres."
    ]


def _judge_unseen(cloud: Tensor | None, seen: int, context: CheckContext) -> tuple[list[str], list[str]]:
    if cloud is not None:
        sentence = f"{context.cloud}: only {seen} points fall onto depth maps of the checked frames"
        return [f"{sentence}; cloud and poses must share one coordinate system in metres."], []
    return [], [f"{context.poses}: frames see too little of each other ({seen} points) for the poses to be checked."]


def _lending(probes: Sequence[Probe]) -> list[Probe]:
    return [replace(probe, judged=True) for probe in probes]


def _odd_frames(rows: Sequence[Agreement]) -> list[str]:
    odd = [
        row.name for row in rows if row.in_view >= _FEWEST_POINTS and row.near_relative < POOR_AGREEMENT * row.in_view
    ]
    names = ", ".join(f"'{name}'" for name in odd[:5]) + (", ..." if len(odd) > 5 else "")
    return (
        [f"{len(odd)} of {len(rows)} checked frames disagree with the rest: {names}; check their poses."] if odd else []
    )


def _far_away(frames: Sequence[Frame], points_world: NDArray[np.floating[Any]] | None) -> list[str]:
    if points_world is None or points_world.dtype != np.float32:
        return []  # float64 is fine enough
    farthest = max(float(np.abs(frame.camera_to_world[:3, 3]).max()) for frame in frames)
    if farthest < _FAR_AWAY_M:
        return []
    return [
        f"Camera positions reach {farthest:.0f} m from the origin, where 32-bit coordinates are coarser than "
        f"{farthest * 1e-5:.1f} cm; export the cloud with coordinates in double, or subtract one offset from cloud and "
        "poses."
    ]


def _cloud_label_warnings(labels: NDArray[np.uint8], context: CheckContext) -> list[str]:
    real = labels[labels != IGNORE_LABEL]
    if context.num_classes is None or not real.size or int(real.max()) < context.num_classes:
        return []
    return [
        f"{context.cloud}: its labels hold class {int(real.max())}, but the capture names {context.num_classes} "
        "classes; evaluation would fail."
    ]


def _thin(points: NDArray[np.floating[Any]]) -> Tensor:
    if len(points) > CLOUD_POINTS:
        points = points[np.random.default_rng(0).choice(len(points), CLOUD_POINTS, replace=False)]
    return torch.from_numpy(points).double()


def _row(row: Agreement) -> str:
    if row.misfit_cm is None or row.agree is None:
        return f"  {row.name:<20} {row.in_view:>8} {'-':>12} {'-':>6} {'-':>8}"
    return f"  {row.name:<20} {row.in_view:>8} {row.pairs:>12} {row.agree:>6.0%} {row.misfit_cm:>5.1f} cm"
