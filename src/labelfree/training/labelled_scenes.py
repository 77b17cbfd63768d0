"""Scenes joined with their teachers' outputs: what training reads, built when needed and kept while memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal, Protocol, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from labelfree.errors import InputError
from labelfree.method.clip_labels import CLIP_TEMPERATURE
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.method.mask_vote import refine_labels, soft_refine_labels
from labelfree.method.pairing import Pairs, pair_lidar, pair_rgbd
from labelfree.ranges import MAX_SIDE, MAX_WIDTH, Real, Whole, check_choice, check_ranges, positive
from labelfree.scene import Frame, Scene
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.labelling import MaskMaker, PixelNamer, PixelScorer
from labelfree.training.kept_frames import FORMAT, KeptFrames, frame_key, points_digest
from labelfree.training.samples import LabelledFrame, LabelledScene

LatentTarget = Literal["sam", "clip", "sam+clip", "none"]

Views = Literal["vote", "average"]
"""How the images that see a point agree on its label."""


@dataclass(frozen=True)
class PairingConfig:
    """Which points a pixel is paired with (Eq. 2)."""

    rule: Literal["auto", "rgbd", "lidar"] = "auto"
    """`rgbd` compares with the depth map, `lidar` only asks for a place inside the image; `auto` takes the first for
    frames with a depth map."""
    tolerance_m: float = 0.05
    """Largest |depth - z| of a pair."""
    relative: float | None = None
    """Largest |depth - z| as a share of depth; replaces `tolerance_m` (OpenScene uses 0.25)."""
    z_min_m: float = 1.0
    """Nearest point that a LiDAR pair takes."""
    border_px: int = 1
    """Border of the image that a LiDAR pair leaves out."""
    z_buffer: bool = False
    """Keep only the nearest LiDAR point of each pixel; off in the paper."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "pairing",
            tolerance_m=positive(1000),
            relative=positive(1000),
            z_min_m=Real(0, 10_000),
            border_px=Whole(0, MAX_SIDE),
        )
        check_choice(self, "pairing", rule=("auto", "rgbd", "lidar"))


@dataclass(frozen=True)
class LabelConfig:
    """How teachers' outputs become training labels."""

    image_size: tuple[int, int] = (240, 320)
    """(height, width) that CLIP, the masks and the 2D network work at."""
    refine: bool = True
    """Vote inside SAM's masks (Eq. 4)."""
    soft_vote: bool = False
    """Let CLIP's pixels cast their class probabilities instead of one label each; off in the paper."""
    latent_target: LatentTarget = "sam"
    """Whose features the networks follow (Eq. 7)."""
    latent_width: int = 64
    """Width of the latent space, the paper's K_f."""
    keep_frames: bool = False
    """Keep under --cache each frame as co-training reads it, uncompressed, and map it into memory from then on, so that
    no later epoch decodes it. Off for the disk it takes, which `labelfree prepare` tells."""

    def __post_init__(self) -> None:
        if len(self.image_size) != 2:
            raise InputError(f"labels.image_size is {self.image_size}: give (height, width).")
        check_ranges(self, "labels", image_size=Whole(8, MAX_SIDE), latent_width=Whole(1, MAX_WIDTH))
        check_choice(self, "labels", latent_target=LatentTarget)


def pair_points(scene: Scene, frame: Frame, size: tuple[int, int], config: PairingConfig) -> Pairs:
    """Return the pixel-point pairs of a frame on a grid of (height, width)."""
    frame = frame.resized(size)
    if not pairs_by_depth(frame, config):
        return pair_lidar(
            torch.from_numpy(scene.points_world),
            torch.from_numpy(frame.world_to_camera),
            torch.from_numpy(frame.intrinsics),
            size,
            z_min=config.z_min_m,
            border_px=config.border_px,
            z_buffer=config.z_buffer,
        )
    depth_m = frame.load_depth_m()
    if depth_m is None:
        raise InputError(f"Frame '{frame.name}' of scene '{scene.name}' has no depth: set pairing.rule to lidar.")
    return pair_rgbd(
        torch.from_numpy(scene.points_world),
        torch.from_numpy(frame.world_to_camera),
        torch.from_numpy(frame.intrinsics),
        torch.from_numpy(depth_m),
        tolerance_m=config.tolerance_m,
        relative=config.relative,
    )


def pairs_by_depth(frame: Frame, config: PairingConfig) -> bool:
    """Whether a frame's depth map decides its pairs."""
    return config.rule == "rgbd" or (config.rule == "auto" and frame.depth is not None)


def point_features(scene: Scene) -> NDArray[np.float32]:  # [N, C]
    """Return the 3D network's input: colours in -1..1 where there are any, else intensity of 0..255 as 0..1, else 1."""
    if scene.colours is not None:
        return scene.colours.astype(np.float32) / 127.5 - 1.0
    if scene.intensity is not None:
        return scene.intensity[:, None].astype(np.float32) / np.float32(255.0)
    return np.ones((len(scene), 1), dtype=np.float32)


@dataclass(frozen=True)
class Teachers:
    """The two frozen teachers of a run."""

    namer: PixelNamer
    masks: MaskMaker
    cache: TeacherCache | None = None
    """Where their outputs are kept; None for teachers made by hand, with which no frame is kept either."""
    soft_vote: bool = False
    """See `LabelConfig`."""

    def __post_init__(self) -> None:
        if self.soft_vote and not isinstance(self.namer, PixelScorer):
            raise InputError(
                f"labels.soft_vote is true but the labels come from {self.namer.describe()}, which has no scores: set "
                "it to false, or teachers.clip to a CLIP model."
            )

    def refined_labels(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return P* of Eq. 4: the labels [H, W] after the vote inside the masks."""
        masks = torch.from_numpy(self.masks.mask_ids(frame, size).astype(np.int32))
        if self.soft_vote and isinstance(self.namer, PixelScorer):
            probabilities = (self.namer.scores(frame, size) * CLIP_TEMPERATURE).softmax(dim=0).flatten(1).T
            return soft_refine_labels(probabilities, masks.flatten()).view(size).to(torch.uint8).numpy()
        return refine_labels(torch.from_numpy(self.namer.labels(frame, size)), masks, len(self.namer.text)).numpy()

    def target(self, frame: Frame, config: LabelConfig) -> NDArray[np.float16] | None:  # [D, h, w]
        """Return phi_f of the latent target of a frame, or None where there is none."""
        maps: list[NDArray[np.float16]] = []
        if "sam" in config.latent_target:
            found = self.masks.features(frame)
            maps += [] if found is None else [found]
        if "clip" in config.latent_target:
            found = self.namer.features(frame, config.image_size)
            maps += [] if found is None else [_project(found, config.latent_width)]
        return _joined(maps)


class ReadyScene(Protocol):
    """A scene made ready for training."""

    @property
    def name(self) -> str:
        """Its name."""

    def nbytes(self) -> int:
        """Return the memory it takes."""


SceneT = TypeVar("SceneT", bound=ReadyScene)


class KeptScenes(Sequence[SceneT]):
    """Scenes made ready for training when first asked for; the latest stay in memory up to a budget."""

    def __init__(self, scenes: Sequence[Scene], memory_gb: float = 4.0) -> None:
        self.scenes = scenes
        self._budget = memory_gb * 1e9
        self._kept: dict[int, SceneT] = {}
        self._bytes = 0

    def build(self, scene: Scene) -> SceneT:
        """Make one scene ready."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.scenes)

    @overload
    def __getitem__(self, index: int) -> SceneT: ...

    @overload
    def __getitem__(self, index: slice) -> list[SceneT]: ...

    def __getitem__(self, index: int | slice) -> SceneT | list[SceneT]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self._kept:
            self._kept[index] = self.build(self.scenes[index])
            self._bytes += self._kept[index].nbytes()
            while len(self._kept) > 1 and self._bytes > self._budget:
                self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes()
        return self._kept[index]


def scene_names(scenes: Sequence[ReadyScene]) -> tuple[str, ...]:
    """Return the names of training scenes without making any of them ready."""
    held = scenes.scenes if isinstance(scenes, KeptScenes) else scenes
    return tuple(scene.name for scene in held)


class LabelledScenes(KeptScenes[LabelledScene]):
    """The training scenes, each labelled when first asked for."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        teachers: Teachers,
        labels: LabelConfig,
        pairing: PairingConfig,
        memory_gb: float = 4.0,
    ) -> None:
        super().__init__(scenes, memory_gb)
        self.teachers, self.labels, self.pairing = teachers, labels, pairing
        self.kept_frames = _kept_frames(teachers, labels, pairing)

    def build(self, scene: Scene) -> LabelledScene:
        """Label one scene."""
        digest = points_digest(scene.points_world) if self.kept_frames else ""
        frames = tuple(self.frame(scene, frame, digest) for frame in scene.frames)
        return LabelledScene(scene.name, scene.upright_points(), point_features(scene), frames)

    def frame(self, scene: Scene, frame: Frame, points: str) -> LabelledFrame:
        """Return one frame with its labels, masks, pairs and latent target; `points` is the digest of the scene's."""
        make = partial(self._make, scene, frame)
        if self.kept_frames:
            made = self.kept_frames.frame(frame_key(frame, points, pairs_by_depth(frame, self.pairing)), make)
        else:
            made = make()
        return replace(made, target=self.teachers.target(frame, self.labels))

    def _make(self, scene: Scene, frame: Frame) -> LabelledFrame:
        size = self.labels.image_size
        pairs = pair_points(scene, frame, size, self.pairing)
        labels = (self.teachers.refined_labels if self.labels.refine else self.teachers.namer.labels)(frame, size)
        return LabelledFrame(
            image=frame.resized(size).load_image(),
            labels=labels,
            mask_ids=self.teachers.masks.mask_ids(frame, size),
            pair_point=pairs.point.numpy(),
            pair_row=pairs.row.numpy(),
            pair_column=pairs.column.numpy(),
            target=None,
        )


def _kept_frames(teachers: Teachers, labels: LabelConfig, pairing: PairingConfig) -> KeptFrames | None:
    """Return where frames of these settings are kept, if they are to be."""
    if not labels.keep_frames or teachers.cache is None:
        return None
    height, width = labels.image_size
    shelf = teachers.cache.shelf(
        "frames",
        format=FORMAT,
        namer=teachers.namer.fingerprint(),
        masks=teachers.masks.fingerprint(),
        size=(height, width),
        refine=labels.refine,
        soft=teachers.soft_vote,
        pairing=asdict(pairing),
    )
    return KeptFrames(shelf.folder, (height, width))


def _project(features: NDArray[np.float16], width: int) -> NDArray[np.float16]:
    maps = torch.from_numpy(features).float()
    return torch.einsum("chw,cd->dhw", maps, random_orthogonal(len(maps), width, seed=1)).to(torch.float16).numpy()


def _joined(maps: list[NDArray[np.float16]]) -> NDArray[np.float16] | None:
    """Return the mean of unit vectors of one or two maps, on the finer grid."""
    if len(maps) < 2:
        return maps[0] if maps else None
    size = max((m.shape[1:] for m in maps), key=lambda shape: shape[0] * shape[1])
    unit = [functional.normalize(torch.from_numpy(m).float(), dim=0) for m in maps]
    resized = [functional.interpolate(u[None], size=size, mode="bilinear", align_corners=False)[0] for u in unit]
    return torch.stack(resized).mean(dim=0).to(torch.float16).numpy()
