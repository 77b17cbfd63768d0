"""The coordinate search of `benchmarks/tuning.py`: order, choice, equal numbers of runs, resuming, overlays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.tuning import (
    Changes,
    Coordinate,
    Trial,
    coordinate_search,
    grid,
    overlay_yaml,
    runs_of,
    search_json,
    tune,
)

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.paper_tables.rows import ALL_ROWS, SYSTEMS, TABLE_1
from labelfree.paper_tables.run_result import Measures
from labelfree.paper_tables.schedule import Job, row_settings
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.tables import LabRooms

SEEDS = (900001, 900002)
ROOMS = recipe_path("rooms")


def trial(changes: Changes, score: float) -> Trial:
    return Trial(changes, (Measures(miou_2d=score, miou_3d=score),))


def test_a_search_finds_the_optimum_of_independent_settings_and_counts_its_runs() -> None:
    coordinates = [Coordinate("a", tuple({"a": v} for v in (1, 2, 3)), 0), Coordinate("b", ({"b": 0}, {"b": 9}), 1)]
    asked: list[Changes] = []

    def measure(configurations: Sequence[Changes]) -> list[Trial]:
        asked.extend(configurations)
        return [trial(each, 10 - (each["a"] - 2) ** 2 - each["b"]) for each in configurations]

    search = coordinate_search(coordinates, measure)
    assert asked == [{"a": 1, "b": 9}, {"a": 2, "b": 9}, {"a": 3, "b": 9}, {"a": 2, "b": 0}]
    assert [each.changes for each in search.trials] == asked
    assert runs_of(coordinates, SEEDS) == 2 * len(asked)
    everywhere = [(10 - (a - 2) ** 2 - b, {"a": a, "b": b}) for a, b in itertools.product((1, 2, 3), (0, 9))]
    assert search.choice.changes == max(everywhere, key=lambda found: found[0])[1]


def test_of_equal_scores_the_present_choice_stays() -> None:
    coordinates = [Coordinate("a", ({"a": 1}, {"a": 2}, {"a": 3}), 1)]
    search = coordinate_search(coordinates, lambda all_changes: [trial(each, 5.0) for each in all_changes])
    assert search.choice.changes == {"a": 2}


def test_the_score_is_the_mean_of_the_modalities_that_a_system_has() -> None:
    both, alone = Measures(20.0, 40.0), Measures(None, 32.0)
    assert Trial({}, (both, both, alone)).score == pytest.approx((30 + 30 + 32) / 3)


@pytest.mark.parametrize("world", ["rooms", "streets"])
def test_every_system_has_the_same_number_of_runs(world: str) -> None:
    recipe = read_settings(recipe_path(world))
    assert {runs_of(grid(system, recipe), (1, 2, 3)) for system in SYSTEMS} == {27}
    for system in SYSTEMS:
        for coordinate in grid(system, recipe):
            settings = {name for option in coordinate.options for name in option}
            assert all(set(option) == settings for option in coordinate.options)
            values = [tuple(option.values()) for option in coordinate.options]
            assert len(set(values)) == len(values)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_start_of_a_search_is_the_recipe_and_no_row_undoes_a_choice(system: str) -> None:
    recipe, row = read_settings(ROOMS), TABLE_1.row(system)
    for coordinate in grid(system, recipe):
        for place, option in enumerate(coordinate.options):
            overrides = [f"--{name}={value}" for name, value in option.items()]
            assert (read_settings(ROOMS, overrides) == recipe) is (place == coordinate.start)
            plain, changed = (read_settings(ROOMS, given, (row.path(),)) for given in ([], overrides))
            assert (plain == changed) is (place == coordinate.start)


def test_a_search_runs_resumes_and_is_recorded(tmp_path: Path) -> None:
    """A fake runner scores by class balance and learning rate; a second search finds every run finished."""
    data, begun = LabRooms(tmp_path, LabSize(), Vocabulary.from_names(CLASS_NAMES)), list[Job]()

    def run(job: Job) -> Measures:
        begun.append(job)
        train = job.config.train
        score = 30.0 - 10 * abs(train.class_balance - 0.5) - 1000 * train.learning_rate + job.seed - SEEDS[0]
        return Measures(score, score + 2, 60.0, 60.0, 1.0)

    search = tune("clip2scene", ROOMS, data, SEEDS, tmp_path / "trials", run)
    assert len(begun) == runs_of(grid("clip2scene", read_settings(ROOMS)), SEEDS) == 18
    assert len({job.key for job in begun}) == len({job.folder for job in begun}) == 18
    assert all(not job.config.labels.refine for job in begun)  # the row's own settings hold
    assert search.choice.changes == {
        "train.class_balance": 0.5, "switch.align": False, "train.learning_rate": 0.00075,
        "train.learning_rate_3d": 0.005, "switch.start_epoch": 4,
    }  # fmt: skip
    assert search.choice.score == pytest.approx(30.0 - 0.75 + 0.5 + 1)
    record = search_json(search, SEEDS)
    assert (record["runs"], len(record["trials"]), record["choice"]) == (18, 9, search.choice.changes)
    assert record["trials"][0]["settings"]["train.class_balance"] == 0.75
    first = record["steps"][0]
    assert (first["setting"], first["chosen"]) == ("train.class_balance", {"train.class_balance": 0.5})
    assert len(first["scores"]) == 4
    assert first["scores"].index(max(first["scores"])) == 2
    assert tune("clip2scene", ROOMS, data, SEEDS, tmp_path / "trials", run) == search
    assert len(begun) == 18


def test_rows_use_the_choice_of_their_own_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelfree.paper_tables.rows.TUNED_DIR", tmp_path)
    (tmp_path / "rooms").mkdir()
    for place, system in enumerate(SYSTEMS, 3):
        changes = {"train.epochs": place, "switch.align": True, "train.learning_rate": 0.001}
        (tmp_path / "rooms" / f"{system}.yaml").write_text(overlay_yaml(changes, "record"))
    settings = row_settings(ROOMS, ["--train.learning_rate=0.5"])
    epochs = {row.name: settings[row.overlay].train.epochs for row in ALL_ROWS}
    assert {name: epochs.pop(name) for name in SYSTEMS[:3]} == {"maskclip++": 3, "openscene": 4, "clip2scene": 5}
    assert set(epochs.values()) == {6}
    assert {name for name, config in settings.items() if not config.switch.align} == {"wo_clip"}
    assert {config.train.learning_rate for config in settings.values()} == {0.5}  # overrides come after
    paper = row_settings(ROOMS, loss="paper")
    assert {(config.switch.align, config.train.class_balance) for config in paper.values()} == {(False, 0.0)}
    assert row_settings(recipe_path("streets"))["full"].train.epochs == 12
