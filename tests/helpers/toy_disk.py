"""Scenes in files and teachers that look at them alone: what the tests of kept frames read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree import Frame, Scene
from labelfree.config.labels import LabelConfig, PairingConfig
from labelfree.files.atomic import write_png
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.raster import ImageFile, MapFile
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.teachers import Teachers
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.vocabulary import Vocabulary

STORED, SIZE = (24, 40), (16, 24)
KEPT = LabelConfig(image_size=SIZE, latent_width=4, keep_frames=True)
RGBD = PairingConfig()


@dataclass(frozen=True)
class CountedFile(ImageFile):
    """A picture that tells how often it was decoded."""

    decoded: list[Path]

    def load(self) -> NDArray[Any]:
        self.decoded.append(self.path)
        return super().load()


@dataclass(frozen=True)
class CountedMap(MapFile):
    """A depth map that tells how often it was decoded."""

    decoded: list[Path]

    def load(self) -> NDArray[Any]:
        self.decoded.append(self.path)
        return super().load()


NAMES = Vocabulary(("first", "second", "third"))


@dataclass
class Namer:
    """Labels that follow from the picture alone."""

    name: str = "namer"
    text: torch.Tensor = random_orthogonal(8, 3).T
    notices: tuple[str, ...] = ()

    def labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.asarray(frame.resized(size).load_image()[..., 0] % 3)

    def features(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.float16] | None:
        return None

    def describe(self) -> str:
        return self.name

    def fingerprint(self) -> str:
        return self.name


class Masks(Namer):
    """Masks and features that follow from the picture alone; features, as a teacher's cache does, without decoding."""

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        return frame.resized(size).load_image()[..., 1].astype(np.uint16) // 50

    def features(self, frame: Frame, size: tuple[int, int] = SIZE) -> NDArray[np.float16]:
        return np.full((4, 4, 6), int(frame.image.digest()[:2], 16) / 100, np.float16)


@dataclass(frozen=True)
class Disk:
    """A folder with pictures, depth maps and kept frames."""

    folder: Path
    decoded: list[Path]

    def scenes(self, count: int = 3, frames: int = 2) -> list[Scene]:
        """Write scenes whose depth maps agree with their points; files that are there already stay."""
        return [self._scene(index, frames) for index in range(count)]

    def _scene(self, index: int, frames: int) -> Scene:
        random = np.random.default_rng(index)
        points: NDArray[Any] = random.uniform((-2, -1, 1.98), (2, 1, 2.02), (150, 3))
        colours = random.integers(0, 255, (150, 3), dtype=np.uint8)
        seen = tuple(self._frame(index, number, random) for number in range(frames))
        return Scene(f"scene-{index}", points, seen, colours)

    def _frame(self, index: int, number: int, random: np.random.Generator) -> Frame:
        picture, depth = self.folder / f"{index}-{number}.png", self.folder / f"{index}-{number}-depth.png"
        noise = random.integers(0, 255, (*STORED, 3), dtype=np.uint8)
        if not picture.is_file():
            write_png(picture, noise)
            write_png(depth, np.full(STORED, 2000, np.uint16))
        intrinsics = np.array([[20.0, 0, 20], [0, 20, 12], [0, 0, 1]])
        pose = np.eye(4)
        pose[0, 3] = 0.1 * number
        depths = CountedMap(depth, self.decoded)
        return Frame(f"{number}", CountedFile(picture, self.decoded), intrinsics, pose, STORED, depths)

    def labelled(
        self,
        scenes: Sequence[Scene],
        labels: LabelConfig = KEPT,
        pairing: PairingConfig = RGBD,
        namer: Namer | None = None,
        memory_gb: float = 0.0,
    ) -> LabelledScenes:
        cache = TeacherCache(self.folder / "cache")
        return LabelledScenes(scenes, Teachers(namer or Namer(), Masks(), NAMES, labels, pairing, cache), memory_gb)

    def entries(self) -> list[Path]:
        return sorted(self.folder.glob("cache/frames-*/*.frame"))
