"""Work of several processes of one job: exchanges that all take part in, and errors that end all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.runtime.launch import Ended, blame, release_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Value = TypeVar("Value")

_LOST = ("gloo", "NCCL", "ProcessGroup", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Parts of the errors that PyTorch raises when another process does not answer."""


@contextmanager
def guarded(fabric: Fabric) -> Iterator[None]:
    """Turn the loss of another process into one sentence, an InputError."""
    if fabric.world_size == 1:
        yield
        return
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if _lost_another(error):
            blame(fabric.global_rank, fabric.world_size, error)
        raise


def gathered(fabric: Fabric, value: Value) -> list[Value]:
    """Return the values that all processes give, in the order of the processes."""
    if fabric.world_size == 1:
        return [value]
    found: list[Value] = [value] * fabric.world_size
    with guarded(fabric):
        torch.distributed.all_gather_object(found, value)
    return found


def joint_mean(fabric: Fabric, value: Tensor) -> Tensor:
    """Return the mean of a small tensor over all processes."""
    if fabric.world_size == 1:
        return value
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total / fabric.world_size


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Let a block succeed in all processes or in none: an InputError in one ends all, and only one reports it."""
    if fabric.world_size == 1:
        yield
        return
    failure: InputError | None = None
    try:
        yield
    except InputError as error:
        failure = error
    try:
        failed = gathered(fabric, failure is not None)
    except (InputError, Ended) as lost:
        raise failure or lost from None
    if failure is not None and failed.index(True) == fabric.global_rank:
        raise failure
    if any(failed):
        raise Ended from failure


@contextmanager
def same_in_all(fabric: Fabric) -> Iterator[None]:
    """Report an InputError that all processes raise at the same place in process 0 only."""
    try:
        yield
    except InputError as error:
        if fabric.world_size > 1 and fabric.global_rank > 0:
            raise Ended from error
        raise


def zero_first(fabric: Fabric, make: Callable[[], Value]) -> Value:
    """Call a function in process 0, then in all others, which find the files that the first call made."""
    made: list[Value] = []
    for mine in (fabric.global_rank == 0, fabric.global_rank > 0):
        with together(fabric):
            if mine:
                made.append(make())
    return made[0]


@contextmanager
def shared_parts(fabric: Fabric, parts: int) -> Iterator[Iterator[int]]:
    """Give an iterator over the numbers of the parts of shared work; each part goes to the process that asks first.

    So no process waits at the end for longer than one part takes. Leave the block only when all have ended.
    """
    if fabric.world_size == 1:
        yield iter(range(parts))
        return
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    with guarded(fabric):
        open_store = partial(torch.distributed.TCPStore, host)  # type: ignore[attr-defined]
        counter = open_store(0, None, True) if fabric.global_rank == 0 else None
        port = gathered(fabric, 0 if counter is None else counter.port)[0]
        store = counter or open_store(port, None, False)
        yield iter(lambda: min(store.add("next", 1) - 1, parts), parts)


def leave(fabric: Fabric) -> None:
    """End the process group in all processes at once; afterwards each works alone."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        gathered(fabric, None)
        release_processes()
        torch.distributed.destroy_process_group()


def _lost_another(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, torch.distributed.DistError):
            return True
        if isinstance(error, RuntimeError) and any(part in str(error) for part in _LOST):
            return True
        error = error.__cause__ or error.__context__
    return False
