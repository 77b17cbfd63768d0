"""Tiny labelled scenes and networks for the tests of training, and what several of these tests do with them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from labelfree import Vocabulary
from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.config.training import AugmentConfig, SwitchConfig, TrainConfig, TrainingPlan
from labelfree.files.metrics import METRICS
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.cotrained import CoTrained
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.launch import planned
from labelfree.training.checkpoint import Position
from labelfree.training.samples import Batch, LabelledFrame, LabelledScene, Sample, draw_sample, pack, scene_random

CLASSES = 3
SIZE = (16, 24)
STILL = AugmentConfig(crop_area=(1.0, 1.0), flip_images=False, rotate_points=False, flip_points=False)


def toy_scene(seed: int, frames: int = 2, points: int = 120, latent: bool = True) -> LabelledScene:
    random = np.random.default_rng(seed)

    def frame() -> LabelledFrame:
        pairs = 60
        return LabelledFrame(
            image=random.integers(0, 255, (*SIZE, 3), dtype=np.uint8),
            labels=random.integers(0, CLASSES, SIZE).astype(np.uint8),
            mask_ids=random.integers(0, 5, SIZE).astype(np.uint16),
            pair_point=np.sort(random.permutation(points)[:pairs]).astype(np.int32),
            pair_row=random.integers(0, SIZE[0], pairs).astype(np.int32),
            pair_column=random.integers(0, SIZE[1], pairs).astype(np.int32),
            target=random.normal(size=(4, 4, 6)).astype(np.float16) if latent else None,
        )

    return LabelledScene(
        f"scene-{seed}",
        random.uniform(-1, 1, (points, 3)).astype(np.float32),
        random.uniform(-1, 1, (points, 3)).astype(np.float32),
        tuple(frame() for _ in range(frames)),
    )


def toy_networks(seed: int = 0) -> CoTrained:
    torch.manual_seed(seed)
    text = random_orthogonal(8, CLASSES).T.contiguous()
    names = Vocabulary(tuple("abc"))
    net_2d = Segmenter2DConfig("resnet18", width=8, aspp_channels=8, dropout=0.1, text_width=8, latent_width=4)
    net_3d = Segmenter3DConfig(
        "MinkUNet14A", planes=(8,) * 8, first_width=8, in_channels=3, voxel_m=0.2, text_width=8, latent_width=4
    )
    return CoTrained(Segmenter2D(net_2d, text, names), Segmenter3D(net_3d, text, names))


def toy_plan(epochs: int = 3, start_epoch: int = 1, scenes_per_batch: int = 2, seed: int = 5) -> TrainingPlan:
    return TrainingPlan(
        seed=seed,
        train=TrainConfig(
            epochs, scenes_per_batch, images_per_scene=2, learning_rate=0.02, average_decay=0.9, checkpoint_seconds=0.0
        ),
        switch=SwitchConfig(start_epoch),
        augment=AugmentConfig(),
    )


SCENES = [toy_scene(i) for i in range(5)]


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def weights(networks: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in networks.state_dict().items()}


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


class Killed(BaseException):
    """Stands in for the power going off."""


def gradients(networks: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.grad.clone() for name, value in networks.named_parameters() if value.grad is not None}


def collate(samples: Sequence[Sample], voxel_m: float) -> Batch:
    """Return the batch of several samples on the CPU."""
    return pack(samples, voxel_m).to(torch.device("cpu"))


def still_batch(rank: int, processes: int) -> Batch:
    """The joint batch of four scenes, or one process's part of it."""
    mine = range(4)[rank::processes]
    return collate([draw_sample(SCENES[i], 2, STILL, scene_random(0, 0, i)) for i in mine], 0.2)


def join_processes(rank: int, processes: int, port: int) -> Fabric:
    """Return the fabric of one of several processes on this machine."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "ROLE_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    return make_fabric("cpu", planned(None), "float32")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, module: ModuleType, step_function: str, step: int) -> Iterator[None]:
    """Kill the training inside at a step; afterwards the step function is as before."""
    original = getattr(module, step_function)

    def die(*args: object) -> object:
        position = args[5]
        assert isinstance(position, Position)
        if position.step == step:
            raise Killed
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, step_function, die)
        with pytest.raises(Killed):
            yield


def assert_resumed(expected: nn.Module, resumed: nn.Module, whole: Path, cut: Path) -> None:
    """Assert that a resumed training has the weights and the metrics of an undisturbed one."""
    found = weights(resumed)
    assert all(torch.equal(value, found[name]) for name, value in weights(expected).items())
    assert (cut / METRICS).read_text() == (whole / METRICS).read_text()


def assert_processes_agree(found: list[dict[str, torch.Tensor]], single: dict[str, torch.Tensor]) -> None:
    """Assert that each process has the gradients of a single process."""
    for gradient_of in found:
        assert gradient_of.keys() == single.keys()
        for name, gradient in single.items():
            assert torch.allclose(gradient_of[name], gradient, atol=1e-5, rtol=1e-4), name
