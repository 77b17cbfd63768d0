"""Find the parts of a COLMAP workspace: model, images, dense depth maps and fused cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.colmap.models import has_model
from labelfree.data.description import count_value, refuse_unknown, text_value
from labelfree.data.patterns import natural_order
from labelfree.errors import InputError, shown
from labelfree.files.documents import read_yaml
from labelfree.files.metrics import is_number

LAYOUT = "colmap"
BASES = ("dense/0", "dense", ".")
"""Folders of a workspace that are tried in this order: undistorted images with depth maps are preferred."""
MODEL_FOLDERS = ("sparse", "sparse/0", ".")
IMAGES, DEPTH_MAPS, CLOUD = "images", "stereo/depth_maps", "fused.ply"


@dataclass(frozen=True)
class ColmapDescription:
    """The keys of a description with `layout: colmap`; the defaults are COLMAP's own names."""

    root: str | None = None
    """Folder of the workspace, relative to the description; `--root` overrides it."""
    model: str | None = None
    """Folder with cameras, images and points3D; searched if not given."""
    images: str | None = None
    """Folder of the images."""
    cloud: str | None = None
    """Dense cloud in the coordinates of the model."""
    metres_per_unit: float | None = None
    """Length of one unit of the model in metres; COLMAP's models have no metric scale."""
    up: tuple[float, float, float] | None = None
    """Direction that points up in the coordinates of the model; the scene is turned so that it becomes z."""
    every: int = 1
    """Take every n-th frame."""
    voxel_m: float = 0.02
    """Side in metres of the voxels in which depth maps are fused."""
    max_depth_m: float = 10.0
    """Depth beyond this, in metres, is not fused."""

    @property
    def scale(self) -> float:
        """Return the metres per unit; 1 if not stated."""
        return 1.0 if self.metres_per_unit is None else self.metres_per_unit

    def turn(self) -> NDArray[np.float64]:  # [3, 3]
        """Return the rotation that turns `up` to z: the shortest one; the identity without `up`."""
        if self.up is None:
            return np.eye(3)
        up = np.array(self.up) / np.linalg.norm(self.up)
        if up[2] < -1 + 1e-12:
            return np.diag([1.0, -1.0, -1.0])
        x, y, z = up
        cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
        return np.eye(3) + cross + cross @ cross / (1 + z)


KEYS = tuple(field.name for field in fields(ColmapDescription))


@dataclass(frozen=True)
class Workspace:
    """The folders of one reconstruction."""

    base: Path
    """Folder with the images, the depth maps and the fused cloud."""
    model: Path
    images: Path
    cloud: Path | None
    """Dense cloud; None if there is none."""

    @property
    def depth_maps(self) -> Path:
        """Return the folder of the dense depth maps."""
        return self.base / DEPTH_MAPS

    @property
    def other_models(self) -> int:
        """Return the number of other models beside a numbered one: parts that COLMAP could not connect."""
        if not self.model.name.isdigit():
            return 0
        return sum(has_model(folder) for folder in self.model.parent.iterdir() if folder != self.model)


def find_workspace(folder: Path) -> Workspace | None:
    """Return the parts of a workspace in a folder; None if it has no model."""
    for base in (folder / name if name != "." else folder for name in BASES):
        model = find_model(base)
        if model is not None:
            return Workspace(base, model, base / IMAGES, _file(base / CLOUD))
    return None


def find_model(base: Path) -> Path | None:
    """Return the folder of the model in a workspace; None if there is none."""
    places = (base / name if name != "." else base for name in MODEL_FOLDERS)
    return next((place for place in places if has_model(place)), None)


def described_workspace(folder: Path, description: ColmapDescription) -> Workspace:
    """Return the parts of a workspace in the folders that a description names.

    Raises an `InputError` if there is no model, or a file or folder that the description names is missing.
    """
    found = find_workspace(folder)
    base = folder if found is None or description.model is not None else found.base
    model = None if found is None else found.model
    if description.model is not None:
        model = find_model(folder / description.model)
    if model is None:
        place = folder if description.model is None else folder / description.model
        raise InputError(f"{place}: has no cameras and images (.bin or .txt); fix key 'model' or 'root'.")
    images = base / IMAGES if description.images is None else folder / description.images
    cloud = _file(base / CLOUD) if description.cloud is None else folder / description.cloud
    return Workspace(base, model, images, cloud)


def find_workspaces(path: Path) -> Iterator[tuple[str, Workspace]]:
    """Yield name and parts of the workspace in a folder, or of each folder in it that has a model and images."""
    own = find_workspace(path)
    if own is not None:
        yield path.resolve().name, own
        return
    children = {child.name: child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")}
    for name in natural_order(children):
        found = find_workspace(children[name])
        if found is not None and found.images.is_dir():
            yield name, found


def read_workspace_description(path: Path) -> ColmapDescription:
    """Read a description file; raises an `InputError` for an unknown key or a wrong value."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys such as 'root' and 'metres_per_unit', found {type(data).__name__}.")
    given = {key: value for key, value in data.items() if key != "layout"}
    refuse_unknown(given, KEYS, str(path))
    return ColmapDescription(**{key: _value(key, value, f"{path}: {key}") for key, value in given.items()})


def _value(key: str, value: Any, where: str) -> Any:
    match key:
        case "root" | "model" | "images" | "cloud":
            return None if value is None else text_value(value, where)
        case "every":
            return count_value(value, where)
        case "up":
            if not isinstance(value, list) or len(value) != 3 or not all(map(is_number, value)) or not any(value):
                raise InputError(f"{where} is {shown(value)}, expected a direction such as [0, -1, 0].")
            return tuple(map(float, value))
        case _:
            if not is_number(value) or not 1e-6 <= value <= 1e6:
                raise InputError(f"{where} is {shown(value)}, expected a number from 1e-6 to 1e6.")
            return float(value)


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None
