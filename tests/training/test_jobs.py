"""Jobs of two processes: one that is killed ends the job with one sentence, and two machines train as one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from helpers import training_job
from helpers.process_group import ProcessGroup
from helpers.toy_training import free_port
from labelfree.files.metrics import METRICS

LIMIT = 600
"""Time in seconds after which a job counts as stuck."""
TORCHRUN = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1")

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")


def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), *sys.path])
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD_SIZE", "SLURM"))
    }
    environment = outside | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | variables
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(job: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Return exit code and messages of a job, once all its processes have closed its output."""
    try:
        _, told = job.communicate(timeout=LIMIT)
    finally:
        job.kill()
    return job.returncode, [line for line in told.splitlines() if line.startswith(("labelfree:", "Traceback"))]


@dataclass(frozen=True)
class Whole:
    """An undisturbed training in two processes."""

    networks: dict[str, torch.Tensor]
    metrics: str

    def assert_equal(self, networks: Mapping[str, torch.Tensor], out: Path) -> None:
        assert networks.keys() == self.networks.keys()
        assert all(torch.equal(value, self.networks[name]) for name, value in networks.items())
        assert (out / METRICS).read_text() == self.metrics


@pytest.fixture(scope="module")
def whole(process_group: ProcessGroup, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole")
    return Whole(process_group.run(training_job.trained, out)[0], (out / METRICS).read_text())


def test_a_killed_process_ends_the_job_which_resumes_exactly(
    process_group: ProcessGroup, whole: Whole, tmp_path: Path
) -> None:
    code, told = ended(start(training_job.__file__, tmp_path, 2, 1, 2))
    assert code == 2
    assert told == [
        "labelfree: process 1 of 2 was ended by SIGKILL, often for lack of memory, so the job ended; run the same "
        "command again to resume from the last checkpoint."
    ]
    code, told = ended(start(training_job.__file__, tmp_path, 2, 0, 4))
    assert code == -9
    assert [line.partition(",")[0] for line in told] == ["labelfree: process 0 of 2 was ended"]
    whole.assert_equal(process_group.run(training_job.trained, tmp_path)[0], tmp_path)


def by_torchrun(node: int, port: int, out: Path) -> subprocess.Popen[str]:
    return start(*TORCHRUN, f"--node-rank={node}", f"--master-port={port}", training_job.__file__, out, 0)


def by_slurm(node: int, port: int, out: Path) -> subprocess.Popen[str]:
    """Start what srun starts on a machine, with the variables that it sets."""
    here = {"SLURM_PROCID": str(node), "SLURM_LOCALID": "0", "SLURM_NODEID": str(node), "SLURM_NNODES": "2"}
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
    address = {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(port)}
    return start(training_job.__file__, out, 0, **here, **step, **address)


@pytest.mark.parametrize("starter", [by_torchrun, by_slurm])
def test_two_machines_train_as_two_processes_of_one(
    starter: Callable[[int, int, Path], subprocess.Popen[str]], whole: Whole, tmp_path: Path
) -> None:
    port = free_port()
    nodes = [starter(node, port, tmp_path) for node in (0, 1)]
    assert [ended(node) for node in nodes] == [(0, []), (0, [])]
    whole.assert_equal(torch.load(tmp_path / training_job.NETWORKS, weights_only=True), tmp_path)
