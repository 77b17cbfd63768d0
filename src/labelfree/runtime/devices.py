"""Devices and processes for Lightning Fabric."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import torch

from labelfree.config.training import Precision
from labelfree.errors import InputError, shown
from labelfree.runtime.precision import fabric_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def pick_device(device: str) -> torch.device:
    """Return the device of `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises an InputError if the name is another or PyTorch does not see the device.
    """
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


def make_fabric(device: str = "auto", processes: int = 1, precision: Precision = "auto") -> Fabric:
    """Return Lightning Fabric on a device, in one process or, launched with DDP, in several.

    Raises an InputError if the device or the number of processes is not available.
    """
    from lightning_fabric import Fabric  # takes two seconds, which commands that train nothing save

    chosen = pick_device(device)
    accelerator, index = chosen.type, chosen.index
    places = torch.cuda.device_count() if accelerator == "cuda" else os.cpu_count() or 1
    if not 1 <= processes <= places:
        what = "CUDA devices" if accelerator == "cuda" else "CPU cores"
        raise InputError(f"--processes is {processes}: give 1 to {places}, the number of {what} here.")
    if index is not None and processes > 1:
        raise InputError(f"--processes is {processes} but --device {device} is a single one; use --device cuda.")
    devices: int | list[int] = processes if index is None else [index]
    strategy = "ddp" if processes > 1 else "auto"
    number_format = fabric_precision(accelerator, precision)
    fabric = Fabric(accelerator=accelerator, strategy=strategy, devices=devices, precision=number_format)
    if processes > 1:
        fabric.launch()
    return fabric
