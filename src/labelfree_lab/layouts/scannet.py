"""Rooms of the lab in ScanNet's layout: `.sens`, meshes, labels in all formats, the 25k frames and splits."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.fusion import FusionOptions, fuse
from labelfree.data.scannet.labels import NYU40_OF_BENCHMARK, TSV
from labelfree.data.scannet.layout import FRAMES
from labelfree.data.scannet.sens import write_sens
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, atomic_folder, write_text
from labelfree.runtime.progress import Progress
from labelfree.vocabulary import IGNORE_LABEL, Vocabulary
from labelfree_lab.rooms.cameras import Camera, walk
from labelfree_lab.rooms.dataset import surface_frame, tracked_cameras
from labelfree_lab.rooms.render import View, render
from labelfree_lab.rooms.room import CLASS_NAMES, build_room, experiment_room_seed
from labelfree_lab.rooms.style import LIVED_IN, RoomStyle

HELD_OUT_SHARE = 0.25
DEPTH_SHARE = 0.75
"""Size of depth maps relative to images; ScanNet's are smaller, too."""
IMAGE_SIZE = (96, 128)
VIEWS = 4
CLOUD_VOXEL_M = 0.05
UNANNOTATED = 0


def write_scannet(folder: Path, seed: int, scenes: int, views: int = VIEWS, style: RoomStyle = LIVED_IN) -> None:
    """Write the rooms of an experiment seed into a new folder, a quarter of them as the val split.

    Raises an `InputError` if `scenes` is below 2 or if the folder is not empty.
    """
    if scenes < 2:
        raise InputError(f"--scenes is {scenes}: give 2 or more, one of them is held out.")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: already exists; choose another --out or delete it.")
    names = [f"scene{index:04d}_00" for index in range(scenes)]
    with atomic_folder(folder) as made, Progress("room", scenes) as progress:
        for index, name in enumerate(names):
            _write_scan(made, name, experiment_room_seed(seed, index), views, style)
            progress.advance()
        held_out = max(1, round(scenes * HELD_OUT_SHARE))
        write_text(made / "scannetv2_train.txt", "\n".join(names[:-held_out]) + "\n")
        write_text(made / "scannetv2_val.txt", "\n".join(names[-held_out:]) + "\n")
        write_text(made / TSV, _label_file())


def raw_id(class_id: int) -> int:
    """Return the raw category id under which the lab's label file lists one of its classes."""
    return 100 + class_id


def nyu40_of_lab() -> NDArray[np.uint8]:  # [256]
    """Return the NYU40 id of each class of the lab; label 255 becomes 0, unannotated."""
    benchmark = Vocabulary.parse("scannet20")
    table = np.full(256, UNANNOTATED, np.uint8)
    for number, name in enumerate(CLASS_NAMES):
        table[number] = NYU40_OF_BENCHMARK[benchmark.index(name)]
    return table


def _label_file() -> str:
    rows = ["id\traw_category\tcategory\tcount\tnyu40id\tnyu40class"]
    nyu40 = nyu40_of_lab()
    rows += [f"{raw_id(k)}\t{name}\t{name}\t1\t{nyu40[k]}\t{name}" for k, name in enumerate(CLASS_NAMES)]
    return "\n".join(rows) + "\n"


def _write_scan(root: Path, name: str, room_seed: int, views: int, style: RoomStyle) -> None:
    room = build_room(room_seed, style)
    cameras = walk(room, views, IMAGE_SIZE)
    coloured = [render(room, camera, seed=index) for index, camera in enumerate(cameras)]
    ranged = [render(room, _smaller(camera)) for camera in cameras]
    depths = [np.rint(view.depth_m * 1000).astype(np.uint16) for view in ranged]
    tracked = tracked_cameras(cameras, style, room_seed)
    poses = [np.asarray(np.linalg.inv(camera.world_to_camera), dtype=np.float64) for camera in tracked]
    scan = root / "scans" / name
    scan.mkdir(parents=True)
    images, matrices = [view.image for view in coloured], (cameras[0].intrinsics, _smaller(cameras[0]).intrinsics)
    write_sens(scan / f"{name}.sens", images, depths, poses, *matrices)
    _write_mesh(scan, name, coloured)
    _write_pixel_labels(scan / f"{name}_2d-label-filt.zip", coloured)
    write_text(scan / f"{name}.txt", _scan_info(cameras[0], _smaller(cameras[0]), views))
    _write_frames(root / FRAMES / name, coloured, depths, poses, matrices)


def _scan_info(colour: Camera, depth: Camera, frames: int) -> str:
    """Return the lines of a scan's `.txt`, in ScanNet's order."""
    identity = " ".join(f"{value:.6f}" for value in np.eye(4).ravel())
    values: dict[str, object] = {"axisAlignment": identity, "colorToDepthExtrinsics": identity, "sceneType": "Lab"}
    values |= {"numColorFrames": frames, "numDepthFrames": frames, "numIMUmeasurements": 0}
    for kind, camera in (("color", colour), ("depth", depth)):
        values |= {f"{kind}Height": camera.size[0], f"{kind}Width": camera.size[1]}
        for name, at in (("fx", (0, 0)), ("fy", (1, 1)), ("mx", (0, 2)), ("my", (1, 2))):
            values[f"{name}_{kind}"] = f"{camera.intrinsics[at]:.6f}"
    return "".join(f"{key} = {values[key]}\n" for key in sorted(values))


def _smaller(camera: Camera) -> Camera:
    height, width = (int(side * DEPTH_SHARE) for side in camera.size)
    scale = np.diag([width / camera.size[1], height / camera.size[0], 1.0])
    return replace(camera, intrinsics=scale @ camera.intrinsics, size=(height, width))


def _write_mesh(scan: Path, name: str, views: Sequence[View]) -> None:
    """Write the mesh twice, plain and with NYU40 ids, and the files of annotated objects."""
    frames = [surface_frame(view, index) for index, view in enumerate(views)]
    cloud = fuse(frames, FusionOptions(voxel_m=CLOUD_VOXEL_M), with_labels=True)
    labels = np.full(len(cloud.points_world), IGNORE_LABEL, np.uint8) if cloud.labels is None else cloud.labels
    triangles = grid_triangles(cloud.points_world, CLOUD_VOXEL_M)
    plain, labelled = scan / f"{name}_vh_clean_2.ply", scan / f"{name}_vh_clean_2.labels.ply"
    _write_mesh_file(plain, cloud.points_world, cloud.colours, triangles)
    _write_mesh_file(labelled, cloud.points_world, cloud.colours, triangles, nyu40_of_lab()[labels])
    segments = {"sceneId": name, "segIndices": labels.tolist()}
    groups = [
        {"id": number, "objectId": number, "segments": [int(label)], "label": CLASS_NAMES[label]}
        for number, label in enumerate(np.unique(labels[labels != IGNORE_LABEL]).tolist())
    ]
    write_text(scan / f"{name}_vh_clean_2.0.010000.segs.json", json.dumps(segments))
    write_text(scan / f"{name}.aggregation.json", json.dumps({"sceneId": name, "segGroups": groups}))


def grid_triangles(points: NDArray[np.float32], cell_m: float) -> NDArray[np.int32]:  # [N, 3] -> [T, 3]
    """Return triangles between points of neighbouring cells of a grid: two for each square with all four corners."""
    cells = np.floor(points / cell_m).astype(np.int64)
    cells -= cells.min(0) - 1
    strides = np.array([1, *np.cumprod(cells.max(0) + 2)[:2]])
    keys, index = np.unique(cells @ strides, return_index=True)

    def at(wanted: NDArray[np.int64]) -> NDArray[np.int64]:  # a point of each cell, -1 for an empty one
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return np.where(keys[place] == wanted, index[place], -1)

    found = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        a, b, c, d = (at(keys + i * strides[first] + j * strides[second]) for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)))
        found += [np.stack(corners, axis=1) for corners in ((a, b, c), (b, d, c))]
    triangles = np.concatenate(found)
    return triangles[(triangles >= 0).all(1)].astype(np.int32)


def _write_mesh_file(
    path: Path,
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    triangles: NDArray[np.int32],
    nyu40: NDArray[np.uint8] | None = None,
) -> None:
    """Write a mesh in ScanNet's format, with what `write_ply` does not support: alpha, ushort labels and faces."""
    kinds = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), *((name, "u1") for name in ("red", "green", "blue", "alpha"))]
    kinds += [] if nyu40 is None else [("label", "<u2")]
    vertices = np.empty(len(points), kinds)
    for axis, name in enumerate("xyz"):
        vertices[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = colours[:, channel]
    vertices["alpha"] = 255
    if nyu40 is not None:
        vertices["label"] = nyu40
    faces = np.empty(len(triangles), [("corners", "u1"), ("vertex_indices", "<i4", 3)])
    faces["corners"], faces["vertex_indices"] = 3, triangles
    words = {"<f4": "float", "u1": "uchar", "<u2": "ushort"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {words[kind]} {name}" for name, kind in kinds]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header\n"]
    with atomic_file(path) as file:
        file.write("\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes())


def _write_pixel_labels(path: Path, views: Sequence[View]) -> None:
    """Write raw ids, 16 bits, at the resolution of the images."""
    with zipfile.ZipFile(path, "w") as archive:
        for index, view in enumerate(views):
            raw = np.where(view.classes == IGNORE_LABEL, 0, view.classes.astype(np.uint16) + raw_id(0))
            with archive.open(f"label-filt/{index}.png", "w") as file:
                Image.fromarray(raw.astype(np.uint16)).save(file, format="PNG")


def _write_frames(
    folder: Path,
    views: Sequence[View],
    depths: Sequence[NDArray[np.uint16]],
    poses: Sequence[NDArray[np.float64]],
    intrinsics: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    for kind in ("color", "depth", "pose", "label"):
        (folder / kind).mkdir(parents=True)
    for index, (view, depth, pose) in enumerate(zip(views, depths, poses)):
        name = f"{index * 100:06d}"
        Image.fromarray(view.image).save(folder / "color" / f"{name}.jpg", quality=92)
        Image.fromarray(depth).save(folder / "depth" / f"{name}.png")
        Image.fromarray(nyu40_of_lab()[view.classes]).save(folder / "label" / f"{name}.png")
        np.savetxt(folder / "pose" / f"{name}.txt", pose, fmt="%.9g")
    for kind, matrix in zip(("color", "depth"), intrinsics):
        four = np.eye(4)
        four[:3, :3] = matrix
        np.savetxt(folder / f"intrinsics_{kind}.txt", four, fmt="%.9g")
