"""Start the processes of a job, and end the job with one sentence when one of them ends."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from labelfree.errors import InputError

PARENT = "LABELFREE_PARENT"
"""Environment variable with the number of the process that started this one."""
TOLD = 2
"""Exit code of a process that has printed why it ended, or that leaves this to another one."""
PATIENCE = 5.0
"""Time in seconds in which a process may end by itself after another one has ended."""
LOOK_EVERY = 0.25
"""Time in seconds between two looks at the other processes."""

Starter = Literal["labelfree", "torchrun", "SLURM"]


class Ended(SystemExit):
    """The end of a process without a message: another process of the job reports the reason."""

    def __init__(self) -> None:
        super().__init__(TOLD)


@dataclass(frozen=True)
class Launch:
    """How many processes a job has, and what starts them."""

    per_node: int = 1
    """Processes on each machine."""
    nodes: int = 1
    """Machines."""
    starter: Starter = "labelfree"

    @property
    def total(self) -> int:
        """Return the number of processes of the job."""
        return self.per_node * self.nodes


def planned(given: int | None, environment: Mapping[str, str] = os.environ) -> Launch:
    """Return the processes that torchrun or srun has started, else `given` ones that labelfree starts, by default one.

    Raises an InputError if `given` contradicts the environment.
    """
    if given is not None and given < 1:
        raise InputError(f"--processes is {given}: give 1 or more.")
    if "TORCHELASTIC_RUN_ID" in environment:
        local, total = (_whole(environment, name) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        return _external("torchrun", given, local, total)
    interactive = environment.get("SLURM_JOB_NAME") in {"bash", "interactive"}  # as in Lightning
    if "SLURM_STEP_ID" in environment and not interactive and _whole(environment, "SLURM_NTASKS") > 1:
        if "SLURM_NTASKS_PER_NODE" not in environment:
            raise InputError(
                f"SLURM starts {environment['SLURM_NTASKS']} tasks but not a fixed number on each machine: give "
                "--ntasks-per-node to sbatch instead of --ntasks."
            )
        local, total = (_whole(environment, name) for name in ("SLURM_NTASKS_PER_NODE", "SLURM_NTASKS"))
        return _external("SLURM", given, local, total)
    return Launch(given or 1)


def _external(starter: Starter, given: int | None, per_node: int, total: int) -> Launch:
    if given not in {None, per_node}:
        raise InputError(
            f"--processes is {given} but {starter} starts {per_node} on each machine: leave out --processes, or give "
            f"{per_node}."
        )
    if total % per_node:
        raise InputError(f"{starter} starts {total} processes, {per_node} on one machine: start as many on each.")
    return Launch(per_node, total // per_node, starter)


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "1")
    if not text.isdecimal() or not int(text):
        raise InputError(f"environment variable {name} is '{text}': set a whole number, or start without it.")
    return int(text)


def is_child() -> bool:
    """Return whether labelfree has started this process beside another one, which has made all checks already."""
    return PARENT in os.environ


class Children:
    """The other processes of this machine, which run the same command; they end with this process."""

    def __init__(self, count: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(1 + count)}
        os.environ |= shared | {"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0"}
        self.needed = True
        self.processes = [self._start(rank) for rank in range(1, 1 + count)]
        atexit.register(self.end)
        threading.Thread(target=self._watch, daemon=True, name="watch processes").start()

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        main = sys.modules["__main__"].__spec__
        command = [os.path.abspath(sys.argv[0])] if main is None else ["-m", main.name]
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), PARENT: str(os.getpid())}
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for this process, which ends them
        try:
            command = [sys.executable, *command, *sys.argv[1:]]
            return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL)
        finally:
            signal.signal(signal.SIGINT, before)

    def failed(self, seconds: float = 0.0) -> tuple[int, int] | None:
        """Return rank and exit code of a process that ended with an error, waiting for it for some seconds."""
        until = time.monotonic() + seconds
        while True:
            codes = [process.poll() for process in self.processes]
            found = [(rank, code) for rank, code in enumerate(codes, start=1) if code]
            if found:
                return min(found, key=lambda each: each[1] == TOLD)  # the one that ended first did not end by itself
            if time.monotonic() > until:
                return None
            time.sleep(LOOK_EVERY)

    def end(self) -> None:
        """Wait until all processes have ended; kill those that have not after a while."""
        until = time.monotonic() + PATIENCE * (self.failed() is None)
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for process in self.processes:
            process.wait()

    def _watch(self) -> None:
        """End this process if another one has failed and this one does not notice, such as inside an exchange."""
        while (found := self.failed()) is None and self.needed:
            time.sleep(LOOK_EVERY)
        time.sleep(PATIENCE)
        if found is None or not self.needed:
            return
        if (text := _reason(*found, 1 + len(self.processes))) is not None:
            print(f"labelfree: {text}", file=sys.stderr, flush=True)
        for process in self.processes:
            process.kill()
        os._exit(TOLD)


_children: list[Children] = []
"""The processes that this one has started: none or one group."""


def start_processes(launch: Launch) -> None:
    """Start the other processes of this machine, unless something else has started them or this is one of them."""
    if is_child():
        threading.Thread(target=_watch_parent, daemon=True, name="watch parent").start()
    elif launch.starter == "labelfree" and launch.total > 1 and not _children:
        _children.append(Children(launch.total - 1))


def release_processes() -> None:
    """Declare that the other processes are not needed any more; they may end before this one."""
    for children in _children:
        children.needed = False


def blame(rank: int, processes: int, error: BaseException) -> NoReturn:
    """Raise the reason why another process does not answer, in one process only; all others end without a message."""
    text: str | None = f"process {rank} of {processes} lost the connection to another process, whose message says why"
    if _children:
        found = _children[0].failed(PATIENCE)
        text = text if found is None else _reason(*found, processes)
    elif is_child():
        text = _parent_lost(rank, PATIENCE)
    if text is None:
        raise Ended from error
    raise InputError(text if text.endswith(".") else f"{text}; {AGAIN}") from error


AGAIN = "run the same command again to resume from the last checkpoint."


def _reason(rank: int, code: int, processes: int) -> str | None:
    """Return why a process ended; None if it has said so itself."""
    if code == TOLD:
        return None
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}" + (", often for lack of memory" if code == -9 else "")
    return f"process {rank} of {processes} {how}, so the job ended; {AGAIN}"


def _parent_lost(rank: int, seconds: float) -> str | None:
    """Return that process 0 was ended; None if it lives and reports the error, or if process 1 says so."""
    until = time.monotonic() + seconds
    while os.getppid() == int(os.environ[PARENT]):
        if time.monotonic() > until:
            return None
        time.sleep(LOOK_EVERY)
    return f"process 0 of {os.environ['WORLD_SIZE']} was ended, so the job ended; {AGAIN}" if rank == 1 else None


def _watch_parent() -> None:
    """End this process if the one that started it has ended and this one does not notice."""
    while os.getppid() == int(os.environ[PARENT]):
        time.sleep(LOOK_EVERY)
    time.sleep(PATIENCE)
    if (text := _parent_lost(int(os.environ["RANK"]), 0.0)) is not None:
        print(f"labelfree: {text}", file=sys.stderr, flush=True)
    os._exit(TOLD)
