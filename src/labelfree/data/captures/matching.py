"""Match the image, depth map, label map and pose of each frame; a mismatch is an error, never a silent shift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelfree.data.description import Description, Incomplete
from labelfree.data.patterns import Pattern, is_number, natural_order
from labelfree.data.poses import StoredPose, read_pose_file, read_pose_rows
from labelfree.errors import InputError

MAX_TIME_GAP_S = 0.02
"""Largest gap in seconds between matching timestamps, as in the tools of the TUM RGB-D benchmark."""


@dataclass(frozen=True)
class FrameFiles:
    """The files and the pose of one frame."""

    name: str
    image: Path
    pose: StoredPose
    depth: Path | None
    labels: Path | None


@dataclass(frozen=True)
class MatchedFrames:
    """The complete frames of a capture."""

    frames: tuple[FrameFiles, ...]
    notes: tuple[str, ...] = ()
    """Frames and files left out and the reason, one sentence each."""


@dataclass(frozen=True)
class _Columns:
    """Files and poses by frame name."""

    images: dict[str, Path]
    depths: dict[str, Path] | None
    poses: dict[str, StoredPose]
    broken: dict[str, str]
    """Reason why a pose file cannot be read, by frame name."""


def match_frames(folder: Path, description: Description) -> MatchedFrames:
    """Match the files of a capture by frame name.

    Raises an `InputError` if a frame lacks a file, unless the description skips incomplete frames.
    """
    names, columns = _find(folder, description)
    images, depths = columns.images, columns.depths
    if columns.broken:
        raise InputError(next(iter(columns.broken.values())))
    faults = {name: fault for name in names if (fault := _fault(name, columns, folder, description))}
    if faults and description.incomplete is Incomplete.ERROR:
        more = f" ({len(faults)} such frames)" if len(faults) > 1 else ""
        raise InputError(
            f"{next(iter(faults.values()))}{more}; restore it, or set incomplete: skip to leave such frames out."
        )
    complete = [name for name in names if name not in faults]
    if not complete:
        raise InputError(f"{folder}: no frame has all its parts: {next(iter(faults.values()))}.")
    labels, notes = _find_labels(folder, description, complete)
    if faults:
        notes = (f"{len(faults)} of {len(names)} frames are left out: {next(iter(faults.values()))}.", *notes)
    frames = (
        FrameFiles(n, images[n], columns.poses[n], None if depths is None else depths[n], labels.get(n))
        for n in complete
    )
    return MatchedFrames(tuple(frames), notes)


def look_at_parts(folder: Path, description: Description, taken: slice) -> tuple[list[str], list[Path]]:
    """Return a sentence for each missing or unreadable part of the selected frames, and the image files that exist.

    Missing parts are not reported if the description skips incomplete frames.
    """
    names, columns = _find(folder, description)
    faults, files = list(columns.broken.values()), list[Path]()
    labels = {} if description.labels is None else Pattern(description.labels).find(folder)
    names = names[taken]
    if description.incomplete is Incomplete.ERROR:
        missing = [fault for name in names if (fault := _fault(name, columns, folder, description))]
        faults += [f"{fault}; restore it, or set incomplete: skip to leave such frames out." for fault in missing]
    for found in (columns.images, columns.depths or {}, labels):
        files += [found[name] for name in names if name in found]
    return faults, files


def _find(folder: Path, description: Description) -> tuple[list[str], _Columns]:
    images = Pattern(description.images).find(folder)
    if not images:
        raise InputError(f"{folder}: no image matches '{description.images}'; check the folder or key 'images'.")
    depths = _find_depths(folder, description, images)
    names = natural_order({*images, *(depths or {})})
    return names, _Columns(images, depths, *_find_poses(folder, description, names, images))


def _find_depths(folder: Path, description: Description, images: dict[str, Path]) -> dict[str, Path] | None:
    if description.depth is None:
        return None
    found = Pattern(description.depth).find(folder)
    if not found:
        if "depth" in description.stated or (folder / description.depth.split("/")[0]).is_dir():
            raise InputError(
                f"{folder}: no depth map matches '{description.depth}'; check key 'depth' (null for none)."
            )
        return None
    if not set(found) & set(images) and all(is_number(name) for name in (*found, *images)):
        # Two clocks, as in TUM: match each image to the depth map nearest in time.
        times = np.array([float(name) for name in found])
        paths = list(found.values())
        nearest = {name: _nearest(times, float(name)) for name in images}
        return {name: paths[index] for name, index in nearest.items() if index is not None}
    return Pattern(description.depth).find_for(folder, images)


def _find_labels(folder: Path, description: Description, names: list[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    if description.labels is None:
        return {}, ()
    pattern = Pattern(description.labels)
    found = pattern.find(folder) if pattern.names_frames else pattern.find_for(folder, names)
    if not found and "labels" in description.stated:
        raise InputError(f"{folder}: no label map matches '{description.labels}'; check key 'labels'.")
    stray = [name for name in found if name not in set(names)]
    note = f"{len(stray)} label maps such as {found[stray[0]]} belong to no frame." if stray else ""
    return found, (note,) if note else ()


def _find_poses(
    folder: Path, description: Description, names: list[str], images: dict[str, Path]
) -> tuple[dict[str, StoredPose], dict[str, str]]:
    pattern = Pattern(description.poses)
    if pattern.has_wildcard:
        files = pattern.find_for(folder, names)
        if not files:
            raise InputError(
                f"{folder}: no pose file matches '{description.poses}' and there is no trajectory.log or poses.txt; a "
                "3D capture needs a pose for each image: check key 'poses'; --layout images reads its images alone."
            )
        found, broken = dict[str, StoredPose](), dict[str, str]()
        for name in names:
            try:
                if name in files:
                    found[name] = read_pose_file(files[name])
            except InputError as error:
                broken[name] = str(error)
        return found, broken
    path = folder / description.poses
    rows = read_pose_rows(path)
    by_time = _by_time(rows, names)
    if by_time:
        return by_time, {}
    if len(rows) != len(names):
        raise InputError(_count_mismatch(path, len(rows), description, list(images)))
    return dict(zip(names, rows)), {}


def _by_time(rows: list[StoredPose], names: list[str]) -> dict[str, StoredPose]:
    """Match TUM rows to numeric frame names by time; empty if the names are not timestamps of these rows."""
    if any(row.time is None for row in rows) or not all(is_number(name) for name in names):
        return {}
    times = np.array([row.time for row in rows], dtype=np.float64)
    nearest = {name: _nearest(times, float(name)) for name in names}
    return {name: rows[index] for name, index in nearest.items() if index is not None}


def _nearest(times: np.ndarray[tuple[int], np.dtype[np.float64]], time: float) -> int | None:
    index = int(np.abs(times - time).argmin())
    return index if abs(times[index] - time) <= MAX_TIME_GAP_S else None


def _fault(name: str, columns: _Columns, folder: Path, description: Description) -> str | None:
    if name not in columns.images:
        there = "" if columns.depths is None else f" (its depth map {columns.depths[name].name} exists)"
        return f"{folder / Pattern(description.images).fill(name)}: the image of frame '{name}' is missing{there}"
    if columns.depths is not None and name not in columns.depths:
        path = folder / Pattern(description.depth or "").fill(name)
        return f"{path}: the depth map of frame '{name}' is missing"
    if name in columns.broken:
        return None
    if name not in columns.poses:
        return f"{folder / Pattern(description.poses).fill(name)}: the pose of frame '{name}' is missing"
    pose = columns.poses[name]
    if not np.isfinite(pose.matrix).all():
        value = pose.matrix[~np.isfinite(pose.matrix)][0]
        return f"{pose.where}: the pose of frame '{name}' holds {value}"
    return None


def _count_mismatch(path: Path, rows: int, description: Description, names: list[str]) -> str:
    gap = _gap(names) if rows > len(names) else ""
    return (
        f"{path}: {rows} poses for {len(names)} images matching '{description.images}'{gap}; rows belong to images "
        "in order of name, so restore the missing images or delete the rows without an image."
    )


def _gap(names: list[str]) -> str:
    """Return which image seems to be missing among names that count in regular steps; empty if none."""
    if len(names) < 4 or not all(name.isdigit() for name in names):
        return ""
    numbers = np.array([int(name) for name in names])
    steps = np.diff(numbers)
    step = int(np.median(steps))
    widest = int(steps.argmax())
    if steps[widest] < 1.6 * step:
        return ""
    before, after = names[widest], names[widest + 1]
    if steps[widest] == 2 * step:
        return f" ('{str(numbers[widest] + step).zfill(len(before))}' between '{before}' and '{after}' is missing)"
    return f" (something is missing between '{before}' and '{after}')"
