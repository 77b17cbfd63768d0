"""One seed of the experiment: a stage one for each kind of given labels, and the variants that continue it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.stage_two.learning import Training, opened, train_to
from benchmarks.stage_two.measuring import given_accuracy, held_out_values, label_values
from benchmarks.stage_two.noise import SymmetricNoise
from benchmarks.stage_two.variants import Given, Variant

from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.nets.building import new_networks
from labelfree.nets.cotrained import CoTrained
from labelfree.paper_tables.data import TableData, TableScenes, weights_digest
from labelfree.paper_tables.schedule import run_key
from labelfree.run import Run, open_run
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree_lab.teachers.oracle import TruthLabels

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MEASURES = "measures.json"

Entry = dict[str, Any]
"""The values of a training after one epoch, as plain data."""


class Entries:
    """The entries of a training by epoch, kept in its folder; those of other settings are not used."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path, self.key = folder / MEASURES, key
        found = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        held = found["entries"] if found.get("key") == key else []
        self.entries: dict[int, Entry] = {entry["epoch"]: entry for entry in held}

    def add(self, entry: Entry) -> None:
        """Add an entry and write all of them."""
        self.entries[entry["epoch"]] = entry
        ordered = [self.entries[epoch] for epoch in sorted(self.entries)]
        write_text(self.path, json.dumps({"key": self.key, "entries": ordered}, indent=1) + "\n")


@dataclass
class SeedWork:
    """All trainings of one seed; finished parts in the folder are not repeated."""

    data: TableData
    base: RunConfig
    seed: int
    out: Path
    fabric: Fabric
    _kinds: dict[Given, tuple[Teachers, LabelledScenes]] = field(default_factory=dict)

    @cached_property
    def scenes(self) -> TableScenes:
        """Return the training and held-out scenes."""
        return self.data.open(self.seed)

    @cached_property
    def config(self) -> RunConfig:
        """Return the settings of stage one."""
        return replace(self.base, seed=self.seed)

    @property
    def folder(self) -> Path:
        return self.out / f"seed-{self.seed}"

    def variant(self, variant: Variant, epochs: Sequence[int]) -> list[Entry]:
        """Return the entries of a variant after each of `epochs`; the first is that of its stage one."""
        config = variant.config(self.config)
        kept = Entries(self.folder / variant.name, self._key(config, variant))
        if not all(epoch in kept.entries for epoch in epochs) or self.start_epoch not in kept.entries:
            start, entry = self.stage_one(variant.given)
            kept.add(entry)
            self._measure(self._opened(variant.name, config, variant, start), kept, epochs)
        return [kept.entries[epoch] for epoch in (self.start_epoch, *epochs)]

    def stage_one(self, given: Given) -> tuple[Training, Entry]:
        """Return stage one with some given labels, and its entry."""
        variant = Variant(f"stage-one-{given}", "", given=given)
        kept = Entries(self.folder / variant.name, self._key(self.config, variant))
        training = self._opened(variant.name, self.config, variant)
        self._measure(training, kept, (self.start_epoch,))
        return training, kept.entries[self.start_epoch]

    @property
    def start_epoch(self) -> int:
        return self.config.switch.start_epoch

    def _key(self, config: RunConfig, variant: Variant) -> str:
        parts = (self.data.identity, weights_digest(config), variant.name, variant.guide, variant.given)
        return run_key(config, " ".join(parts))

    def _measure(self, training: Training, kept: Entries, epochs: Sequence[int]) -> None:
        """Train to each of the epochs, measure and keep the entries."""
        for epoch in epochs:
            if epoch in kept.entries:
                continue
            if training.position.epoch > epoch:
                raise InputError(
                    f"{kept.path.parent}: trained to epoch {training.position.epoch}, so epoch {epoch} cannot be "
                    "measured any more: leave it out of --after, or delete this folder."
                )
            train_to(training, self.fabric, epoch)
            kept.add(self._entry(training))

    def _entry(self, training: Training) -> Entry:
        held_out = held_out_values(training.delivered(), self.scenes)
        labels = label_values(training, self.scenes.train, self.scenes.vocabulary)
        return {"epoch": training.position.epoch, "held_out": held_out, "labels": labels}

    def _opened(self, name: str, config: RunConfig, variant: Variant, start: Training | None = None) -> Training:
        teachers, labelled = self.given(variant.given)
        run = open_run(self.scenes.train, self.scenes.vocabulary, config, self.folder / name, teachers, self.fabric)
        networks = self._networks(run.begin())
        identity = run.identity.digest()
        return opened(networks, config.plan(), labelled, run.training_folder, identity, start, variant.guide)

    def _networks(self, run: Run) -> CoTrained:
        return new_networks(run.config, run.vocabulary, run.teachers.namer.text, run.scenes[0])

    def given(self, kind: Given) -> tuple[Teachers, LabelledScenes]:
        """Return the teachers with the labels of a kind and the labelled training scenes, opened once."""
        if kind not in self._kinds:
            teachers = self._teachers(kind)
            self._kinds[kind] = teachers, LabelledScenes(self.scenes.train, teachers, self.config.memory_gb)
        return self._kinds[kind]

    def _teachers(self, kind: Given) -> Teachers:
        if kind == "clip":
            return load_teachers(self.config, self.scenes.vocabulary, self.out / "cache", self.fabric.device)
        clip = self.given("clip")[0]
        truth = TruthLabels(clip.namer.text)
        if kind == "truth":
            return replace(clip, namer=truth, cache=None)
        return replace(clip, namer=SymmetricNoise(truth, clip.masks, self.noise_rate(), self.seed), cache=None)

    def noise_rate(self) -> float:
        """Return the noise rate at which voted truth is as often correct as CLIP's voted labels."""
        correct = [
            given_accuracy(self.scenes.train, self.given(kind)[1], len(self.scenes.vocabulary))
            for kind in ("clip", "truth")
        ]
        return round(max(0.0, 1.0 - correct[0] / correct[1]), 6)


def table_rows(found: Mapping[str, Mapping[int, Sequence[Entry]]]) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Return the main values by variant, epoch and name, one value per seed, from entries by variant and seed."""
    rows: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for name, by_seed in found.items():
        for entries in by_seed.values():
            for entry in entries:
                cells = rows.setdefault(name, {}).setdefault(f"after_{entry['epoch']}", {})
                for key, value in main_values(entry).items():
                    cells.setdefault(key, []).append(value)
    return rows


def main_values(entry: Entry) -> dict[str, Any]:
    """Return the main values of an entry by short names such as `miou_2d` and `frequent_net_3d`."""
    groups = [*entry["held_out"].items(), *entry["labels"].items()]
    short = (("miou", "miou"), ("acc", "accuracy"), ("frequent", "frequent_share"))
    return {f"{name}_{group}": each[key] for group, each in groups for name, key in short}
