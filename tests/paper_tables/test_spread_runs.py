"""Runs of a table on several processes: the same values, and no run is lost when one fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from helpers.small_recipe import FAST_TEACHERS
from helpers.worker_tasks import FakeRuns, explain
from labelfree.cli.main import main
from labelfree.config.recipe_files import recipe_path
from labelfree.paper_tables.data import TableScenes
from labelfree.paper_tables.rows import TABLE_2
from labelfree.paper_tables.schedule import Job, Schedule, finished, row_settings
from labelfree.paper_tables.spread_runs import Claim, DeviceWorkers, Failure, RunWork, spread_runs
from labelfree.runtime.crew import Answer, Crew, Done, Lost, Seat
from labelfree.runtime.surroundings import surroundings


class NoData:
    identity = "none"

    def teachers(self, seed: int) -> None:
        return None

    def open(self, seed: int) -> TableScenes:
        raise NotImplementedError


@pytest.fixture(scope="module")
def settings_of_rows() -> Schedule:
    return Schedule(row_settings(recipe_path("rooms")), "none", Path())


def jobs_in(out: Path, schedule: Schedule, names: str) -> tuple[Job, ...]:
    rows = [TABLE_2.row(name) for name in names.split()]
    return Schedule(schedule.settings, "none", out).jobs(rows, (0,), TABLE_2.row("full"))


def test_two_processes_one_killed_one_run_failing(settings_of_rows: Schedule, tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, settings_of_rows, "full wo_ct wo_sct wo_refine post_refine wo_clip")
    begun: list[str] = []
    told: list[str] = []
    with surroundings(tmp_path) as around:
        work = RunWork(NoData(), tmp_path, "", "abc", around, FakeRuns)
        crew: Crew[Claim] = Crew(DeviceWorkers(work, ("cpu", "cuda:7"), explain).hire, 2)
        failures = spread_runs(jobs, crew, lambda job: begun.append(job.row), lambda job: told.append(job.row))
    assert sorted(told) == ["full", "post_refine", "wo_clip", "wo_ct"]
    assert all(finished(job) is not None for job in jobs if job.row in told)
    assert begun.index("post_refine") > begun.index("full")
    assert begun.count("wo_ct") == 2  # its process was killed, and it resumed

    # The killed run took no step twice, and its device is used again; all runs used one of the two devices
    steps = {job.row: (job.folder / "steps").read_text().split() for job in jobs if (job.folder / "steps").is_file()}
    assert len(steps["wo_ct"]) == 2 * 3
    assert len(set(steps["wo_ct"][1::2])) == 2
    assert {device for each in steps.values() for device in each[0::2]} == {"cpu", "cuda:7"}
    assert "post_refine" not in steps  # it took over the training of the full method

    causes = {failure.job.row: failure.cause for failure in failures}
    assert causes["wo_sct"] == "images/3.png: is empty; copy the file again."
    assert causes["wo_refine"].startswith("a defect of labelfree, TypeError: a defect; its traceback is in ")
    assert "TypeError: a defect" in (jobs[3].folder / "error.txt").read_text()


class Script:
    """A crew that answers from a script; records the claims."""

    def __init__(self, answers: dict[str, list[Answer | None]]) -> None:
        self.answers, self.claims = answers, list[tuple[str, bool]]()

    def run(self, next_task: object) -> object:
        assert callable(next_task)
        while (claim := next_task()) is not None:
            self.claims.append((claim.job.row, claim.patient))
            answer = self.answers[claim.job.row].pop(0)
            yield Lost(claim, True, "killed") if answer is None else Done(claim, answer)


DONE, HELD = Answer("done"), Answer("held")


def scripted(jobs: tuple[Job, ...], answers: dict[str, list[Answer | None]]) -> tuple[Script, list[Failure]]:
    crew = Script(answers)
    return crew, spread_runs(jobs, crew, lambda job: None, lambda job: None)  # type: ignore[arg-type]


def test_a_run_that_another_process_holds_comes_last(settings_of_rows: Schedule, tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, settings_of_rows, "full wo_ct post_refine")
    crew, failures = scripted(jobs, {"full": [HELD, DONE], "wo_ct": [DONE], "post_refine": [DONE]})
    assert crew.claims == [("full", False), ("wo_ct", False), ("full", True), ("post_refine", False)]
    assert failures == []


def test_a_run_that_ends_three_workers_has_failed(settings_of_rows: Schedule, tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, settings_of_rows, "full wo_ct")
    crew, failures = scripted(jobs, {"full": [None, None, None], "wo_ct": [DONE]})
    assert [row for row, _ in crew.claims] == ["full"] * 3 + ["wo_ct"]
    assert [(failure.job.row, failure.cause) for failure in failures] == [
        ("full", "3 workers ended during this run (killed).")
    ]


TINY = ["--rooms", "1", "--held-out-rooms", "1", "--views", "2", "--labels.image_size=[48,64]", *FAST_TEACHERS]
TABLE = ["table", "2", "--seeds", "1", "--rows", "baseline,wo_cns", *TINY]


def values(out: Path) -> dict[str, list[float | None]]:
    rows = json.loads((out / "table2.json").read_text())["rows"]
    return {f"{name} {measure}": rows[name][measure] for name in rows for measure in ("miou_2d", "miou_3d", "acc_3d")}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float | None]]:
    """The values of one process with one thread, as all other tests here have."""
    out, before = tmp_path_factory.mktemp("serial"), torch.get_num_threads()
    torch.set_num_threads(1)
    assert main([*TABLE, "--out", str(out)]) == 0
    torch.set_num_threads(before)
    return values(out)


@pytest.mark.slow
def test_two_devices_give_the_values_of_one_process(
    serial: dict[str, list[float | None]], tmp_path: Path, one_thread: None
) -> None:
    assert main([*TABLE, "--out", str(tmp_path), "--devices", "cpu,cpu"]) == 0
    assert values(tmp_path) == serial


@pytest.mark.slow
def test_a_ray_cluster_gives_the_values_of_one_process(
    serial: dict[str, list[float | None]], ray_address: str, tmp_path: Path, one_thread: None
) -> None:
    assert main([*TABLE, "--out", str(tmp_path), "--engine", "ray", "--ray-address", ray_address]) == 0
    assert values(tmp_path) == serial


def test_failed_runs_are_reported_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_fails(jobs: tuple[Job, ...], *_: object) -> list[Failure]:
        return [Failure(jobs[0], "images/3.png: is empty; copy the file again.")]

    monkeypatch.setattr("labelfree.cli.table.spread_runs", one_fails)
    assert main([*TABLE, "--out", str(tmp_path), "--devices", "cpu"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-2] == "labelfree: seed 1 baseline failed: images/3.png: is empty; copy the file again."
    assert "1 run(s) failed: fix the causes and run the same command again to resume." in told[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--devices", "cpu,tpu"], "--device is 'tpu'"),
        (["--devices", "cuda:99"], "PyTorch sees"),
        (["--devices", "cpu", "--device", "cpu"], "--devices is cpu: leave out --device"),
        (["--devices", "cpu", "--engine", "ray"], "--devices is cpu: leave out --device"),
    ],
)
def test_bad_devices_are_one_sentence(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "ray" in given:
        pytest.importorskip("ray", reason="Ray is not installed")
    assert main([*TABLE, "--out", str(tmp_path / "out"), *given]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_worker_that_does_not_see_the_folder_refuses_to_start(tmp_path: Path) -> None:
    with surroundings(tmp_path) as around:
        work = RunWork(NoData(), tmp_path, "cpu", "abc", around, FakeRuns)
        assert Seat(work, explain).open().problem == ""
    assert "does not see" in Seat(work, explain).open().problem  # the driver's file is gone
