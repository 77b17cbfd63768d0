"""A rendered room in nerfstudio's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import build_room

ROOM = build_room(2_000_007)
CAMERAS = walk(ROOM, 4, (48, 64))
OPENGL = np.diag([1.0, -1, -1, 1])
DEPTH_SIZE = (24, 32)


def write(folder: Path, scale: float = 1.0, depth: bool = True) -> dict[str, Any]:
    """Write pictures, depth maps of half the size and transforms.json; return what the file holds."""
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    frames = []
    for index, camera in enumerate(CAMERAS):
        view = render(ROOM, camera)
        name = f"frame_{index:05d}"
        Image.fromarray(view.image).save(folder / "images" / f"{name}.png")
        half = (view.depth_m[::2, ::2] * 1000).astype(np.uint16)
        Image.fromarray(half).save(folder / "depth" / f"{name}.png")
        pose = np.linalg.inv(camera.world_to_camera) @ OPENGL
        pose[:3, 3] *= scale
        entry = {"file_path": f"images/{name}.png", "transform_matrix": pose.tolist()}
        frames.append(entry | ({"depth_file_path": f"depth/{name}.png"} if depth else {}))
    intrinsics = CAMERAS[0].intrinsics
    data: dict[str, Any] = {
        "camera_model": "OPENCV", "w": 64, "h": 48, "k1": 0.0,
        "fl_x": intrinsics[0, 0], "fl_y": intrinsics[1, 1], "cx": intrinsics[0, 2], "cy": intrinsics[1, 2],
        "frames": frames[::-1],
    }  # fmt: skip
    if scale != 1.0:
        data["applied_scale"] = scale
    (folder / "transforms.json").write_text(json.dumps(data))
    return data
