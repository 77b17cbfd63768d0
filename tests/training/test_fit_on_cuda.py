"""The training loop with fake CUDA tensors: where a device is missing, an operation over two devices fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.optim import Optimizer

from labelfree.config.training import TrainConfig, TrainingPlan
from labelfree.training import fit as fit_module
from labelfree.training.checkpoint import Position
from labelfree.training.fit import Course, fit
from labelfree.training.weight_average import WeightAverage


class FakeCuda:
    """What the loop uses of Fabric, on a device that this machine lacks."""

    device = torch.device("cuda")
    world_size, global_rank, is_global_zero = 1, 0, False

    def setup(self, module: nn.Module, optimiser: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Put new tensors in the place of all weights: `Module.to` asks for a real CUDA driver."""
        for part in module.modules():
            for name, value in part.named_parameters(recurse=False):
                part._parameters[name] = nn.Parameter(torch.empty(value.shape, device=self.device))
        return module, optimiser


@dataclass
class Scenes:
    chosen: Sequence[int]

    def to(self, device: torch.device) -> Scenes:
        return self


def test_weights_are_averaged_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The loader draws a seed from a tensor, which fake tensors do not have.
    monkeypatch.setattr(fit_module, "batch_stream", lambda *given: iter([Scenes([0])]))
    averages: list[WeightAverage] = []
    monkeypatch.setattr(WeightAverage, "put_into", lambda average, networks: averages.append(average))
    with FakeTensorMode():
        networks = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
        optimiser = torch.optim.SGD(networks.parameters(), lr=0.1)

        def step(model: nn.Module, optimiser: Optimizer, batch: Scenes, position: Position) -> dict[str, Any]:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(1.0)
            return {"loss": 0.0}

        course = Course(networks, optimiser, ("a", "b"), lambda epoch, chosen: Scenes(chosen), step)
        plan = TrainingPlan(train=TrainConfig(epochs=2, scenes_per_batch=1, average_decay=0.9))
        fit(cast(Fabric, FakeCuda()), course, plan, tmp_path)
        assert {value.device.type for value in averages[0].mean.values()} == {"cuda"}
