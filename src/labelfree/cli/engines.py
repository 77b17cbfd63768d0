"""Where long work runs: in this process, or on workers of a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from labelfree.cli.failures import sentence
from labelfree.errors import InputError
from labelfree.runtime.crew import Crew, Open
from labelfree.runtime.devices import pick_device
from labelfree.runtime.ray_cluster import RayWorker, Share, has_gpus, ray_cluster, require_ray, room

TaskT = TypeVar("TaskT")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add --engine, --ray-address and --workers."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local: this process; ray: workers of a Ray cluster, which must see the same files (default: local)",
    )
    parser.add_argument(
        "--ray-address",
        default=None,
        help="HOST:PORT of the Ray cluster, auto for that of this machine, local for a new one on this machine "
        "(default: RAY_ADDRESS, else auto, else local)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        help="number of Ray workers, each with one GPU, or with --threads CPUs (default: as many as the cluster holds)",
    )


@dataclass(frozen=True)
class RayEngine:
    """The workers that a command may use in a connected cluster."""

    device: str
    """Device of each worker: `cpu`, or `cuda` for the one GPU that Ray gives it."""
    threads: int
    share: Share
    workers: int

    def crew(self, opening: Open, depth: int = 1) -> Crew[TaskT]:
        """Return workers that open this work."""
        return Crew(partial(RayWorker, opening, sentence, self.share), self.workers, depth)


def check_engine(options: argparse.Namespace) -> None:
    """Refuse options of Ray without --engine ray, devices that Ray cannot give, and a missing installation of Ray."""
    if options.engine != "ray":
        for name, value in (("--ray-address", options.ray_address), ("--workers", options.workers)):
            if value is not None:
                raise InputError(f"{name} is {value} but --engine is {options.engine}: add --engine ray.")
        return
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers is {options.workers}: give at least 1.")
    if options.device not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device is {options.device} but --engine is ray: give auto, cpu or cuda; Ray chooses GPUs.")
    require_ray()


@contextmanager
def ray_engine(options: argparse.Namespace) -> Iterator[RayEngine | None]:
    """Connect to the cluster if --engine is ray; yield None for the local engine.

    Raises an InputError if the cluster cannot be reached or has no machine that is large enough for a worker.
    """
    if options.engine != "ray":
        yield None
        return
    with ray_cluster(options.ray_address):
        device = options.device
        if device == "auto":
            device = "cuda" if has_gpus() else "cpu"
        threads = torch.get_num_threads()
        share = Share(1, 1) if device == "cuda" else Share(threads)
        holds = room(share)
        if options.workers is None and not holds:
            fix = "use --device cpu" if device == "cuda" else "lower --threads"
            raise InputError(
                f"no machine of the Ray cluster has {'a GPU' if device == 'cuda' else f'{threads} CPUs'} for a worker: "
                f"{fix}, or give --workers to wait for new machines."
            )
        yield RayEngine(device, threads, share, options.workers or holds)


def driver_device(options: argparse.Namespace) -> torch.device:
    """Return the device of this process; with Ray it only reads what workers computed, so a missing GPU is no error."""
    return pick_device("auto" if options.engine == "ray" and options.device == "cuda" else options.device)
