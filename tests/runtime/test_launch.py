"""How many processes a job has: given, or set by torchrun and SLURM."""

from __future__ import annotations

import pytest

from labelfree import InputError
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.launch import Launch, planned

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "3"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "16", "SLURM_NTASKS_PER_NODE": "8", "SLURM_PROCID": "3"}


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, Launch()),
        (4, {}, Launch(4)),
        (None, TORCHRUN, Launch(8, 2, "torchrun")),
        (8, TORCHRUN, Launch(8, 2, "torchrun")),
        (None, TORCHRUN | SRUN, Launch(8, 2, "torchrun")),
        (None, SRUN, Launch(8, 2, "SLURM")),
        (8, SRUN, Launch(8, 2, "SLURM")),
        (4, SRUN | {"SLURM_NTASKS": "1"}, Launch(4)),  # one task, which starts four processes
        (None, SRUN | {"SLURM_JOB_NAME": "bash"}, Launch()),  # typed in an interactive shell
        (None, {name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"}, Launch()),  # without srun
    ],
)
def test_planned(given: int | None, environment: dict[str, str], expected: Launch) -> None:
    assert planned(given, environment) == expected
    assert expected.total == expected.per_node * expected.nodes


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        (0, {}, "--processes is 0: give 1 or more"),
        (4, TORCHRUN, "--processes is 4 but torchrun starts 8 on each machine: leave out --processes, or give 8"),
        (1, SRUN, "--processes is 1 but SLURM starts 8 on each machine"),
        (None, TORCHRUN | {"WORLD_SIZE": "12"}, "torchrun starts 12 processes, 8 on one machine: start as many on"),
        (None, SRUN | {"SLURM_NTASKS": "many"}, "environment variable SLURM_NTASKS is 'many'"),
        (None, {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"}, "SLURM starts 8 tasks but not a fixed number"),
    ],
)
def test_contradictions_are_one_sentence(given: int | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(given, environment)


def test_more_processes_than_places_are_refused() -> None:
    with pytest.raises(InputError, match=r"--processes is 100000: give 1 to [0-9]+, the number of CPU cores here"):
        make_fabric("cpu", Launch(100_000))
