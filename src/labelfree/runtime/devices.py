"""Devices and processes for Lightning Fabric."""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from labelfree.config.training import Precision
from labelfree.errors import InputError, shown
from labelfree.runtime.allocator import keep_freed_memory
from labelfree.runtime.launch import Launch, blame, start_processes
from labelfree.runtime.precision import fabric_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import ClusterEnvironment
    from lightning_fabric.strategies import Strategy

SINGLE = Launch()
TIMEOUT = timedelta(hours=1)
"""Time in which a process must take part in an exchange. A process that ends is noticed at once; this limit is for a
machine or a network that fails without closing its connections. Reading and checking the data must fit into it."""


def pick_device(device: str) -> torch.device:
    """Return the device of `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; from then on the process keeps freed memory.

    Raises an InputError if the name is another or PyTorch does not see the device.
    """
    keep_freed_memory()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = device.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (colon and (kind != "cuda" or not re.fullmatch("[0-9]{1,3}", index))):
        raise InputError(f"--device is {shown(device)}: give auto, cpu, cuda or cuda:N.")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if not found:
        raise InputError(f"--device is {device} but PyTorch sees no {kind.upper()} device here; use --device cpu.")
    if colon and int(index) >= found:
        raise InputError(
            f"--device is {device} but PyTorch sees {found} CUDA device(s), cuda:0 first; give one of them."
        )
    return torch.device(device)


def pick_devices(text: str) -> tuple[str, ...]:
    """Return the devices of `cuda:0,cuda:1`, or every CUDA device for `all`.

    Raises an InputError if PyTorch does not see one of them.
    """
    if text == "all":
        pick_device("cuda")
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        pick_device(name)
    return names


def make_fabric(device: str = "auto", launch: Launch = SINGLE, precision: Precision = "auto") -> Fabric:
    """Return Lightning Fabric on a device, in one process or, with DDP, in those of `runtime.launch.planned`.

    Raises an InputError if the device or the number of processes is not available.
    """
    from lightning_fabric import Fabric  # takes two seconds, which commands that train nothing save

    chosen = pick_device(device)
    accelerator, index = chosen.type, chosen.index
    _require_places(device, chosen, launch)
    number_format = fabric_precision(accelerator, precision)
    if launch.total == 1:
        single = 1 if index is None else [index]
        return Fabric(accelerator=accelerator, devices=single, precision=number_format, plugins=[_environment(launch)])
    start_processes(launch)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces each process
    fabric = Fabric(
        accelerator=accelerator,
        strategy=_strategy(),
        devices=launch.per_node,
        num_nodes=launch.nodes,
        precision=number_format,
        plugins=[_environment(launch)],
    )
    try:
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        blame(fabric.global_rank, launch.total, error)
    return fabric


def _require_places(device: str, chosen: torch.device, launch: Launch) -> None:
    """Raise an InputError if the machine has fewer devices than processes."""
    on_cuda, given = chosen.type == "cuda", launch.per_node
    places = torch.cuda.device_count() if on_cuda else os.cpu_count() or 1
    if given > places and launch.starter == "labelfree":
        what = "CUDA devices" if on_cuda else "CPU cores"
        raise InputError(f"--processes is {given}: give 1 to {places}, the number of {what} here.")
    if given > places and on_cuda:
        raise InputError(
            f"{launch.starter} starts {given} processes here, but each sees {places} CUDA device(s): all must see "
            f"{given}; with SLURM ask for --gres=gpu:{given}, not for --gpus-per-task."
        )
    if chosen.index is not None and launch.total > 1:
        raise InputError(f"--processes is {given} but --device {device} is a single one; use --device cuda.")


def _strategy() -> Strategy:
    from lightning_fabric.strategies import DDPStrategy

    return DDPStrategy(timeout=TIMEOUT, find_unused_parameters=True)  # the option is for `training.fit.Exchanged`


def _environment(launch: Launch) -> ClusterEnvironment:
    """Return the source of ranks and addresses; for a single process also inside a job of several tasks."""
    from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    if launch.total == 1 or launch.starter == "labelfree":
        return LightningEnvironment()
    return TorchElasticEnvironment() if launch.starter == "torchrun" else SLURMEnvironment(auto_requeue=False)
