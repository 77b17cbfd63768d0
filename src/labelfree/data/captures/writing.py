"""Write scenes in the default posed RGB-D layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.ply import write_ply
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_folder
from labelfree.scene import FAR_M

_OWN_ENTRIES = {"color", "depth", "pose", "label", "intrinsic.txt", "cloud.ply", "classes.txt"}
_LARGEST_DEPTH_MM = 65535


def write_scene(
    folder: str | Path,
    images: Sequence[NDArray[np.uint8]],  # F x [H, W, 3]
    depths_m: Sequence[NDArray[np.float32]],  # F x [H, W], 0 = missing
    intrinsics: NDArray[np.floating[Any]],  # [3, 3]
    world_to_camera: Sequence[NDArray[np.floating[Any]]],  # F x [4, 4]
    points_world: NDArray[np.floating[Any]],  # [N, 3]
    colours: NDArray[np.uint8] | None = None,  # [N, 3]
    point_labels: NDArray[np.integer[Any]] | None = None,  # [N] uint8, 255 = ignored
    label_maps: Sequence[NDArray[np.integer[Any]]] | None = None,  # F x [H, W]
    classes: Sequence[str] | None = None,
) -> None:
    """Write one scene in the default layout; the folder appears at once and replaces only another such scene.

    Depth is stored in millimetres. Raises an `InputError` if counts differ or the folder contains other files.
    """
    folder = Path(folder)
    counts = {len(images), len(depths_m), len(world_to_camera), len(images if label_maps is None else label_maps)}
    if len(counts) != 1:
        raise InputError(f"{folder}: images, depths, poses and label maps have different counts {sorted(counts)}.")
    if folder.exists() and not _holds_only_a_scene(folder):
        raise InputError(f"{folder}: holds other files than a scene; give an empty or a new folder.")
    with atomic_folder(folder) as new:
        for index, (image, depth_m, pose) in enumerate(zip(images, depths_m, world_to_camera)):
            name = f"{index:06d}"
            _write_png(new / "color" / f"{name}.png", image)
            _write_png(new / "depth" / f"{name}.png", _millimetres(depth_m))
            _write_matrix(new / "pose" / f"{name}.txt", np.linalg.inv(np.asarray(pose, dtype=np.float64)))
            if label_maps is not None:
                _write_png(new / "label" / f"{name}.png", label_maps[index].astype(np.uint8))
        _write_matrix(new / "intrinsic.txt", np.asarray(intrinsics, dtype=np.float64))
        write_ply(new / "cloud.ply", points_world, colours, point_labels)
        if classes is not None:
            (new / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")


def _holds_only_a_scene(folder: Path) -> bool:
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= _OWN_ENTRIES


def _millimetres(depth_m: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    millimetres = np.rint(np.nan_to_num(depth_m, posinf=0) * 1000)
    # Depth beyond 16 bits is stored as missing.
    return np.where((millimetres > 0) & (millimetres <= _LARGEST_DEPTH_MM), millimetres, 0).astype(np.uint16)


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def _write_matrix(path: Path, matrix: NDArray[np.float64]) -> None:
    path.parent.mkdir(exist_ok=True)
    far = np.abs(matrix).max(initial=0.0) > FAR_M
    np.savetxt(path, matrix, fmt="%.17g" if far else "%.9g")
