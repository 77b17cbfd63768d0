from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.paper_tables import schedule as schedule_module
from labelfree.paper_tables.rows import TABLE_1, TABLE_2, PaperTable
from labelfree.paper_tables.run_result import RESULT, Measures, RunResult, read_result, write_result
from labelfree.paper_tables.schedule import Job, Schedule, carry_out, finished, row_settings, run_key, seconds_left
from labelfree.paper_tables.summary import table_runs
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.tables import LabRooms


class Killed(Exception):
    pass


class FakeRunner:
    """Counts to `steps` with a checkpoint after each, in the run's own folder; may be killed before any count."""

    def __init__(self, steps: int = 3, kill_at: int | None = None) -> None:
        self.steps, self.left, self.taken = steps, kill_at, 0
        self.rows: list[tuple[str, int]] = []

    def __call__(self, job: Job) -> Measures:
        self.rows.append((job.row, job.seed))
        checkpoint = job.folder / "training" / "step"
        checkpoint.parent.mkdir(exist_ok=True)
        done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
        for step in range(done, self.steps):
            if self.left is not None and self.taken == self.left:
                raise Killed
            checkpoint.write_text(str(step + 1))
            self.taken += 1
        return Measures(10.0 + job.seed, 20.0, 30.0, 40.0, seconds=float(len(job.row)))


@pytest.fixture(scope="module")
def settings() -> dict[str, RunConfig]:
    return row_settings(recipe_path("rooms"), ["--train.epochs=2"])


@pytest.fixture
def schedule(settings: dict[str, RunConfig], tmp_path: Path) -> Schedule:
    return Schedule(settings, "rooms", tmp_path)


def jobs_of(schedule: Schedule, table: PaperTable, seeds: tuple[int, ...], names: str = "") -> tuple[Job, ...]:
    rows = [table.row(name) for name in names.split()] if names else table.rows
    return schedule.jobs(rows, seeds, table.row(table.full))


def test_a_run_per_row_and_seed_in_a_folder_of_its_own(schedule: Schedule, tmp_path: Path) -> None:
    jobs = jobs_of(schedule, TABLE_2, (4, 5))
    assert [job.seed for job in jobs] == [4] * 13 + [5] * 13
    assert [job.row for job in jobs[:3]] == ["full", "baseline", "wo_cns"]
    assert jobs[1].folder == tmp_path / "runs" / "seed-4" / "baseline"
    assert len({job.folder for job in jobs}) == len({job.key for job in jobs}) == 26
    assert all(job.config.seed == job.seed and job.config.train.epochs == 2 for job in jobs)


def test_a_row_may_have_fewer_seeds(schedule: Schedule) -> None:
    rows = [TABLE_2.row(name) for name in ("full", "wo_ct")]
    jobs = schedule.jobs(rows, (4, 5, 6), TABLE_2.row("full"), {"wo_ct": 2})
    assert [(job.seed, job.row) for job in jobs] == [(4, "full"), (4, "wo_ct"), (5, "full"), (5, "wo_ct"), (6, "full")]


def test_even_seeds_have_the_second_pair_of_teachers(settings: dict[str, RunConfig], tmp_path: Path) -> None:
    data = LabRooms(tmp_path, LabSize(), Vocabulary.from_names(CLASS_NAMES), "rooms-b")
    one, both = Schedule(settings, "rooms", tmp_path), Schedule(settings, "rooms", tmp_path, teachers=data.teachers)
    full = TABLE_2.row("full")
    names = [both.job(full, seed).config.teachers for seed in (201, 202)]
    assert [(each.clip, each.sam) for each in names] == [("rooms", "rooms"), ("rooms-b", "rooms-b")]
    assert both.job(full, 201).key == one.job(full, 201).key
    assert both.job(full, 202).key != one.job(full, 202).key
    assert [both.job(TABLE_1.row("cns"), seed).row for seed in (201, 202)] == ["full", "full"]
    assert both.job(TABLE_2.row("post_refine"), 202).trained_like == both.job(full, 202)
    assert table_runs(TABLE_2, "rooms", both, (201, 202)).teachers == ("rooms", "rooms-b")
    mine = row_settings(recipe_path("rooms"), ["--teachers.clip=mine"])
    teachers = replace(both, settings=mine).job(full, 202).config.teachers
    assert (teachers.clip, teachers.sam) == ("mine", "rooms-b")


def test_rows_with_equal_settings_share_their_run(schedule: Schedule) -> None:
    names = {row.name: schedule.job(row, 0).row for row in TABLE_1.rows}
    assert names == {
        "maskclip": "maskclip", "maskclip++": "maskclip++", "openscene": "openscene", "clip2scene": "clip2scene",
        "cns": "full",
    }  # fmt: skip
    fake = FakeRunner()
    carry_out(jobs_of(schedule, TABLE_2, (0,)), fake)
    carry_out(jobs_of(schedule, TABLE_1, (0,)), fake)
    assert len(fake.rows) == len(set(fake.rows)) == 13 + 4


@pytest.mark.parametrize("recipe", ["rooms", "scannet"])
def test_runs_of_both_losses_lie_side_by_side(recipe: str, tmp_path: Path) -> None:
    """Recipe scannet has the paper's loss: its runs differ in folder and key only, and are not shared either."""
    lab = Schedule(row_settings(recipe_path(recipe)), "data", tmp_path)
    paper = Schedule(row_settings(recipe_path(recipe), loss="paper"), "data", tmp_path, "paper")
    fakes = FakeRunner(), FakeRunner()
    for schedule, fake in zip((lab, paper), fakes):
        carry_out(jobs_of(schedule, TABLE_2, (7,), "full baseline"), fake)
    assert fakes[0].rows == fakes[1].rows == [("full", 7), ("baseline", 7)]
    jobs = [*jobs_of(lab, TABLE_2, (7,)), *jobs_of(paper, TABLE_2, (7,))]
    assert len({job.key for job in jobs}) == len({job.folder for job in jobs}) == 26
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["seed-7", "seed-7-paper"]
    moved = replace(lab, loss="paper")  # the same settings under the other version
    assert {job.key for job in jobs_of(moved, TABLE_2, (7,))}.isdisjoint(job.key for job in jobs[:13])


@pytest.mark.parametrize("kill_at", range(13))
def test_killed_anywhere_and_repeated_loses_nothing(schedule: Schedule, kill_at: int) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0, 1), "full wo_ct")
    first = FakeRunner(kill_at=kill_at)
    if kill_at < 12:
        with pytest.raises(Killed):
            carry_out(jobs, first)
    again = FakeRunner()
    carry_out(jobs, again)
    assert first.taken + again.taken == 12  # no step is taken twice
    results = [finished(job) for job in jobs]
    assert [result and result.measures.miou_2d for result in results] == [10.0, 10.0, 11.0, 11.0]
    third = FakeRunner()
    carry_out(jobs, third)
    assert third.rows == []


def test_killed_while_the_result_is_written(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0,), "full")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", lambda old, new: killed() if Path(new).name == RESULT else Path(old).rename(new))
        with pytest.raises(Killed):
            carry_out(jobs, FakeRunner())
    assert finished(jobs[0]) is None
    again = FakeRunner()
    carry_out(jobs, again)
    assert again.taken == 0
    assert finished(jobs[0]) is not None


def test_a_damaged_result_counts_as_none(schedule: Schedule) -> None:
    job = jobs_of(schedule, TABLE_2, (0,), "full")[0]
    carry_out([job], FakeRunner())
    for text in ("", "{", "[]", "{}", json.dumps({"key": job.key})):
        (job.folder / RESULT).write_text(text)
        assert finished(job) is None
    again = FakeRunner()
    carry_out([job], again)
    assert again.rows == [("full", 0)]


def test_other_settings_are_another_run_and_the_old_one_is_kept(schedule: Schedule) -> None:
    job = jobs_of(schedule, TABLE_2, (0,), "full")[0]
    config = replace(job.config, train=replace(job.config.train, epochs=9))
    longer = replace(job, config=config, key=run_key(config, "rooms"))
    carry_out([job], FakeRunner(steps=3))
    with pytest.raises(Killed):
        carry_out([longer], FakeRunner(steps=5, kill_at=2))
    assert finished(job) is not None  # aside, and still found
    carry_out([job], never := FakeRunner())
    assert never.rows == []
    shorter = replace(job, key="another")
    carry_out([shorter], FakeRunner())
    carry_out([longer], rest := FakeRunner(steps=5))
    assert rest.taken == 3  # neither begun anew nor taken up from another one's checkpoint
    assert all(finished(each) is not None for each in (job, shorter, longer))


def test_the_key_covers_settings_seed_data_and_version(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    config = jobs_of(schedule, TABLE_2, (0,), "full")[0].config
    key = run_key(config, "rooms")
    others = [replace(config, seed=1), replace(config, train=replace(config.train, learning_rate=0.5))]
    assert len({key, run_key(config, "other rooms"), *(run_key(other, "rooms") for other in others)}) == 4
    how = replace(
        config,
        memory_gb=9.0,
        train=replace(config.train, workers=3, checkpoint_seconds=1.0),
        labels=replace(config.labels, keep_frames=True),
    )
    assert run_key(how, "rooms") == key
    monkeypatch.setattr("labelfree.__version__", "9.9")
    assert run_key(config, "rooms") != key


def test_an_option_at_its_default_leaves_the_key_as_it_was(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    config = jobs_of(schedule, TABLE_2, (0,), "full")[0].config
    key = run_key(config, "rooms")
    monkeypatch.setattr(schedule_module, "asdict", lambda value: asdict(value) | {"new_option": False})
    assert run_key(config, "rooms") == key


def test_post_refine_takes_over_the_training_it_shares(schedule: Schedule) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0,), "full post_refine")
    assert [job.trained_like and job.trained_like.row for job in jobs] == [None, "full"]
    fake = FakeRunner()
    carry_out(jobs, fake)
    assert fake.taken == 3
    assert (jobs[1].folder / "training" / "step").read_text() == "3"


def test_post_refine_alone_trains_by_itself(schedule: Schedule) -> None:
    fake = FakeRunner()
    carry_out(jobs_of(schedule, TABLE_2, (0,), "post_refine"), fake)
    assert (fake.taken, fake.rows) == (3, [("post_refine", 0)])


def holder_of(job: Job) -> subprocess.Popen[str]:
    """Start a process that claims a run's folder and waits to be told to die."""
    code = (
        "import sys; from filelock import FileLock; "
        f"held = FileLock({str(job.folder.with_name(f'.{job.folder.name}.lock'))!r}); held.acquire(); "
        "print('held', flush=True); "
        "sys.stdin.read()"
    )
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_of_another_process_comes_last_and_is_taken_up_when_that_dies(schedule: Schedule) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0,), "full wo_ct post_refine")
    other = holder_of(jobs[0])
    fake = FakeRunner()
    told: list[str] = []

    def tell(job: Job) -> None:
        told.append(job.row)
        other.kill()

    carry_out(jobs, fake, tell=tell)
    other.wait()
    # the other one's networks are what post_refine waits for
    assert told == [row for row, _ in fake.rows] == ["wo_ct", "full", "post_refine"]
    assert fake.taken == 6


def test_a_run_that_another_process_finished_meanwhile_is_not_done_again(schedule: Schedule) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0,), "full wo_ct")
    fake = FakeRunner()

    def other_finishes(job: Job) -> None:
        if job.row == "full":
            carry_out([jobs[1]], FakeRunner())

    carry_out(jobs, fake, tell=other_finishes)
    assert fake.rows == [("full", 0)]


def test_results_survive_the_disk(tmp_path: Path) -> None:
    result = RunResult("k", "full", 3, "abc", Measures(1.5, None, 2.5, None, 9.0, {"miou_2d": 0.015}))
    write_result(tmp_path / "run", result)
    assert read_result(tmp_path / "run") == result
    assert read_result(tmp_path) is None


def test_a_folder_that_is_no_run_is_not_touched(schedule: Schedule) -> None:
    job = jobs_of(schedule, TABLE_2, (0,), "full")[0]
    job.folder.mkdir(parents=True)
    (job.folder / "job.json").write_text("mine")
    with pytest.raises(InputError, match=r"job\.json: not a run of a table"):
        carry_out([job], FakeRunner())


def test_time_left_goes_by_row(schedule: Schedule) -> None:
    jobs = jobs_of(schedule, TABLE_2, (0, 1), "full baseline wo_ct")
    known = [
        RunResult("", row, 0, "", Measures(seconds=s)) for row, s in (("full", 200), ("full", 240), ("baseline", 2))
    ]
    assert seconds_left(jobs, []) is None
    assert seconds_left(jobs[2:], known) == 220 + (220 + 2 + 220)
