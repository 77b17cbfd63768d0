"""A made-up drive in the layout of SemanticKITTI's sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
KITTI = ROOT / "examples" / "semantic-kitti.yaml"
PROJECTION = np.array([[700.0, 0, 600, 42], [0, 700, 180, 0.2], [0, 0, 1, 0.003]])
VELODYNE_TO_CAMERA = np.array([[0.0, -1, 0, 0.02], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])


def drive(folder: Path, sweeps: int = 2) -> Path:
    """Write sweeps of a wall, a road and a car with pictures whose labels are those of the points."""
    random = np.random.default_rng(3)
    for name in ("velodyne", "image_2", "labels"):
        (folder / name).mkdir(parents=True)
    lines = [f"P{i}: " + " ".join(map(str, PROJECTION.ravel())) for i in range(4)]
    lines.append("Tr: " + " ".join(map(str, VELODYNE_TO_CAMERA.ravel())))
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    for index in range(sweeps):
        points = random.uniform((4, -10, -1.5), (30, 10, 3), (400, 3)).astype(np.float32)
        points[:5] = 0.0  # empty returns
        points[5] = np.nan
        labels = np.where(points[:, 2] < 0, 40, 50).astype(np.uint32)
        labels[10:30] = 252
        stored = np.c_[points, random.random(400)].astype(np.float32)
        stored.tofile(folder / "velodyne" / f"{index:06d}.bin")
        (labels | (7 << 16)).astype(np.uint32).tofile(folder / "labels" / f"{index:06d}.label")
        Image.new("RGB", (1241, 376)).save(folder / "image_2" / f"{index:06d}.png")
    return folder


def object_benchmark(folder: Path, sweeps: int = 2) -> Path:
    """Write the same drive as KITTI's object benchmark has it: a calibration file a sweep, boxes, no point labels."""
    drive(folder, sweeps)
    (folder / "calib.txt").unlink()
    for path in (folder / "labels").iterdir():
        path.unlink()
    (folder / "labels").rename(folder / "label_2")
    (folder / "calib").mkdir()
    rectify = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for index in range(sweeps):
        own = np.linalg.inv(rectify) @ VELODYNE_TO_CAMERA
        own[:, 3] += index  # the second sweep's camera stands elsewhere
        lines = {"P2": PROJECTION, "R0_rect": rectify, "Tr_velo_to_cam": own}
        text = "".join(f"{key}: {' '.join(map(str, matrix.ravel()))}\n" for key, matrix in lines.items())
        (folder / "calib" / f"{index:06d}.txt").write_text(text)
        (folder / "label_2" / f"{index:06d}.txt").write_text(
            "Car 0.00 0 1.85 387 181 423 203 1.6 1.8 3.7 -16.5 2.3 58.4 1.5\n"
        )
    return folder
