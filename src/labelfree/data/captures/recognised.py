"""Find images, poses and intrinsics under the file names of common tools where the default files are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labelfree.data.description import Description
from labelfree.data.patterns import Pattern
from labelfree.data.poses import is_trajectory_log

POSES = ("trajectory.log", "poses.txt", "trajectory.txt", "traj.txt", "groundtruth.txt")
"""Names of pose files of Redwood, Open3D, TUM and Replica; a single other `.log` with poses is also accepted."""
IMAGES = ("images", "rgb", "image")
"""Names of folders of colour images."""
INTRINSICS = ("intrinsics.txt", "K.txt", "intrinsic.json", "camera_intrinsic.json", "camera_primesense.json")
"""Names of intrinsics files; JSON files are in Open3D's format."""


def recognised_images(description: Description, base: Path) -> tuple[Description, tuple[str, ...]]:
    """Return the description with the pattern that finds images, and notes if it is not the default pattern."""
    if "images" in description.stated:
        return description, ()
    own = Pattern(description.images)
    folders = [base, *(child for child in base.iterdir() if child.is_dir())]
    for pattern in (own, *(Pattern(f"{name}/{description.images.split('/')[-1]}") for name in IMAGES)):
        if any(pattern.matches_in(folder) for folder in folders):
            notes = () if pattern == own else (f"images are read from {pattern.text} in {base}",)
            return replace(description, images=pattern.text), notes
    return description, ()


def recognised(description: Description, folder: Path, shared: Path) -> tuple[Description, tuple[str, ...]]:
    """Return the description with the names of a scene's pose and intrinsics files, and notes on non-default names.

    A file is searched only if the description does not name it and the default file is missing.
    """
    found, notes = description, list[str]()
    poses = None if "poses" in description.stated else _poses(description, folder)
    if poses is not None:
        found = replace(found, poses=poses.name)
        notes.append(f"poses are read from {poses}")
    intrinsics = None if "intrinsics" in description.stated else _intrinsics(description, folder, shared)
    if intrinsics is not None:
        found = replace(found, intrinsics=intrinsics.name)
        notes.append(f"intrinsics are read from {intrinsics}")
    return found, tuple(notes)


def _poses(description: Description, folder: Path) -> Path | None:
    if Pattern(description.poses).matches_in(folder):
        return None
    named = next((folder / name for name in POSES if (folder / name).is_file()), None)
    if named is not None:
        return named
    logs = [path for path in sorted(folder.glob("*.log")) if path.is_file() and is_trajectory_log(path)]
    return logs[0] if len(logs) == 1 else None


def _intrinsics(description: Description, folder: Path, shared: Path) -> Path | None:
    default = str(description.intrinsics)
    if (folder / default).is_file() or (shared / default).is_file():
        return None
    places = (place / name for place in (folder, shared) for name in INTRINSICS)
    return next((path for path in places if path.is_file()), None)
