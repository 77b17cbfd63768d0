"""Every row of both tables on a tiny lab: it trains four steps, is killed after two, goes on, and is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.small_recipe import SMALL
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.files.metrics import METRICS
from labelfree.paper_tables.data import weights_digest
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.rows import TABLE_1, TABLE_2, Row
from labelfree.paper_tables.schedule import Schedule, carry_out, finished, row_settings
from labelfree.runtime import lab
from labelfree.training.checkpoint import MetricsLog
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.tables import LabRooms

UNTRAINED = {"baseline", "wo_cns", "maskclip"}
ROWS = [*TABLE_2.rows, *(row for row in TABLE_1.rows if row.name != "cns")]  # cns shares the run of full


class Killed(BaseException):
    """Stands in for the power going off."""


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Schedule:
    return Schedule(row_settings(recipe_path("rooms"), SMALL), "tiny", tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def runner(schedule: Schedule) -> RowRunner:
    size = LabSize(train_rooms=1, train_views=2, held_out_rooms=1, held_out_views=2)
    names = Vocabulary.from_names(CLASS_NAMES)
    return RowRunner(LabRooms(schedule.out / "data", size, names), schedule.out / "cache", "cpu")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_trains_is_killed_goes_on_and_is_measured(
    row: Row, schedule: Schedule, runner: RowRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, write = schedule.job(row, 3), MetricsLog.write
    trains_here = row.name not in UNTRAINED and job.trained_like is None

    def die(log: MetricsLog, record: dict[str, float | int | str]) -> None:
        if record["step"] == 2:
            raise Killed
        write(log, record)

    if trains_here:
        with monkeypatch.context() as patch:
            patch.setattr(MetricsLog, "write", die)
            with pytest.raises(Killed):
                carry_out([job], runner)
        assert finished(job) is None
    carry_out([job], runner)
    result = finished(job)
    assert result is not None
    found = result.measures
    assert (found.miou_2d is None) is (found.acc_2d is None) is (row.name == "openscene")
    assert found.miou_3d is not None
    assert 0 <= found.miou_3d <= 100
    if row.name not in UNTRAINED:
        assert len((job.folder / "training" / METRICS).read_text().splitlines()) == 4


def test_the_lab_weights_are_part_of_what_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "_all_weights", lambda source: tmp_path)
    for part in ("clip", "sam", "backbone", "backbone-3d"):
        (tmp_path / f"rooms-{part}").mkdir()
        (tmp_path / f"rooms-{part}" / lab.MODEL).write_text(part)
    schedule = Schedule(row_settings(recipe_path("rooms")), "tiny", tmp_path)
    config: RunConfig = schedule.job(TABLE_2.row("full"), 0).config
    digest, key = weights_digest(config), schedule.job(TABLE_2.row("full"), 0).key
    assert len(digest) == 16
    (tmp_path / "rooms-backbone-3d" / lab.MODEL).write_text("another")
    os.utime(tmp_path / "rooms-backbone-3d" / lab.MODEL, ns=(1, 1))
    assert weights_digest(config) != digest
    assert schedule.job(TABLE_2.row("full"), 0).key != key
    assert weights_digest(RunConfig()) == ""
