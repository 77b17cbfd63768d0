"""Workers as actors of a Ray cluster. Ray is an extra and is imported only here, when a command asks for it."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from labelfree.errors import InputError, shown
from labelfree.runtime.crew import Answer, Explain, Open, Seat

CONNECT_SECONDS = 10.0
"""Time in which the head node must answer."""
_OBJECT_STORE_BYTES = 100_000_000
"""Shared memory of a cluster that is started here; tasks and answers are small."""

_HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""An empty frame of settings, with which both sides of HTTP/2 begin; byte 3 is its type."""


@dataclass(frozen=True)
class Share:
    """The part of a machine that one worker occupies."""

    cpus: int
    gpus: int = 0


class RayWorker:
    """One actor; Ray places it on a machine with a free share."""

    def __init__(self, opening: Open, explain: Explain, share: Share) -> None:
        import ray

        actor: Any = ray.remote(Seat)
        # Ray never restarts it: its driver replaces it, and knows which task it carried out.
        self._seat = actor.options(num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_task_retries=0).remote(
            opening, explain
        )

    def open(self) -> Future[Answer]:
        """Open the work in the actor."""
        opened: Future[Answer] = self._seat.open.remote().future()
        return opened

    def work(self, task: object) -> Future[Answer]:
        """Begin a task."""
        answer: Future[Answer] = self._seat.work.remote(task).future()
        return answer

    def dismiss(self) -> None:
        """End the actor."""
        import ray

        with suppress(Exception):  # it may have ended
            ray.kill(self._seat)


def require_ray() -> None:
    """Raise an InputError if Ray is not installed."""
    if find_spec("ray") is None:
        raise InputError("--engine ray needs Ray: pip install 'labelfree[ray]'.")


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster and disconnect at the end; workers that still run are ended.

    `address` is HOST:PORT of the head node, `auto` for the cluster of this machine, or `local` for a new one here that
    is stopped at the end. None stands for RAY_ADDRESS, else for `auto`, and for `local` if there is no cluster.
    Raises an InputError if Ray is not installed or the address cannot be reached.
    """
    require_ray()
    chosen = address or os.environ.get("RAY_ADDRESS")
    if chosen not in {None, "", "auto", "local"}:
        _require_reachable(chosen or "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send nothing to Ray's authors unless asked to
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _connect(chosen or None)
        _restore(handlers)  # Ray installs its own
        yield
    finally:
        ray.shutdown()
        _restore(handlers)


def room(share: Share) -> int:
    """Return how many workers the machines of the cluster can hold, occupied or not."""
    import ray

    total = 0
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        fits = int(resources.get("CPU", 0) // share.cpus)
        total += min(fits, int(resources.get("GPU", 0) // share.gpus)) if share.gpus else fits
    return total


def has_gpus() -> bool:
    """Return whether a machine of the cluster has a GPU."""
    return room(Share(1, 1)) > 0


def _connect(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    if address == "local":
        ray.init("local", **quiet, **own)
        return
    try:
        ray.init(address or "auto", **quiet)
    except ConnectionError as error:
        if address is not None:
            raise InputError(f"{_named(address)}: no Ray cluster found; start one with 'ray start --head'.") from error
        ray.init("local", **quiet, **own)
    except (RuntimeError, ValueError) as error:
        told = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
        raise InputError(f"{_named(address or 'auto')}: the cluster refuses the connection ({told}).") from error


def _require_reachable(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or "/" in host:
        raise InputError(f"{_named(address)}: give auto, local or HOST:PORT of the head node, such as 10.0.0.1:6379.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0" and not _speaks_grpc(connection):
                raise OSError("another program than Ray listens there")
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{_named(address)}: no answer ({error}); check the address, and start the head node with "
            "'ray start --head --port 6379'."
        ) from error


def _speaks_grpc(connection: socket.socket) -> bool:
    """Return whether the other side begins like a gRPC server; Ray would wait for minutes for one that does not."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _HTTP2_SETTINGS)
    answer = b""
    while len(answer) < len(_HTTP2_SETTINGS) and (more := connection.recv(len(_HTTP2_SETTINGS))):
        answer += more
    return answer[3:4] == _HTTP2_SETTINGS[3:4]


def _named(address: str) -> str:
    return f"--ray-address {shown(address)}"


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    with suppress(ValueError):  # only the main thread may set handlers
        for number, handler in handlers.items():
            signal.signal(number, handler)
