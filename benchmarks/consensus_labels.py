"""Measure consensus labels without training, part by part, on held-out scenes of the lab: mIoU in 2D and 3D.

    python -m benchmarks.consensus_labels --world rooms --first-seed 900001 --scenes 12 --out runs/consensus

Each row adds one part to the row above it. `shuffled` is a control: the shape namer sees the descriptors of other
segments. The namer is fitted on the same scenes, cross-fitted, so that no segment is named by a network that saw its
scene. Nothing reads ground truth before the measurement. `--set mask_share=0 tau=0.5` changes settings of all rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.consensus import ConsensusConfig
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.files.atomic import write_text
from labelfree.labelling.consensus import ConsensusNamer, fit_consensus
from labelfree.labelling.consensus_labels import NamedScene, SegmentVote, frame_groups, segment_prediction
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.pixel_groups import NO_GROUP
from labelfree.labelling.scene_evidence import SceneEvidence, scene_evidence
from labelfree.raster import resize_nearest
from labelfree.runtime.lab import WORLDS
from labelfree.scene import Scene
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree_lab.tables import open_world

Labels = Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Pairs of ground truth and prediction."""

ROWS: Mapping[str, Mapping[str, object]] = {
    "pooled": {"segments": False, "tau": 0.0, "rounds": 0},
    "+ prior": {"segments": False, "rounds": 0},
    "+ segments": {"rounds": 0},
    "+ shape, 1 round": {"rounds": 1},
    "+ shape, 3 rounds": {"rounds": 3},
    "Dawid-Skene": {"rounds": 3, "rule": "dawid-skene"},
    "shuffled": {"rounds": 3, "shuffle_shapes": True},
}
"""The settings of each row."""


class Work:
    """The scenes of a seed with their evidence, which rows share."""

    def __init__(self, scenes: Sequence[Scene], teachers: Teachers) -> None:
        self.scenes, self.teachers = scenes, teachers
        self._evidence: dict[str, list[SceneEvidence]] = {}

    def evidence(self, config: ConsensusConfig) -> list[SceneEvidence]:
        same = replace(config, tau=0.0, rounds=max(1, config.rounds) if config.segments else 0, rule="pool")
        key = str((same.segments, same.level, same.mask_share, same.rounds > 0))
        if key not in self._evidence:
            self._evidence[key] = [scene_evidence(scene, self.teachers, same) for scene in self.scenes]
        return self._evidence[key]

    def points(self, evidence: Sequence[SceneEvidence], named: Sequence[Tensor], namer: ConsensusNamer) -> Labels:
        for scene, each, log_p in zip(self.scenes, evidence, named):
            known = None if namer.namers else each.seen[torch.from_numpy(each.segments)]
            if scene.labels is not None:
                found = segment_prediction(scene, NamedScene(each, log_p), known, self.teachers)
                yield scene.labels, found.labels

    def pixels(self, evidence: Sequence[SceneEvidence], named: Sequence[Tensor], namer: ConsensusNamer) -> Labels:
        for scene, each, log_p in zip(self.scenes, evidence, named):
            for frame in scene.frames:
                truth = frame.load_labels()
                if truth is None:
                    continue
                own, found = frame_groups(self.teachers, namer, scene, frame, NamedScene(each, log_p))
                labels = torch.where(found.group == NO_GROUP, own.argmax(0), found.log_p.argmax(1)[found.group])
                yield truth, resize_nearest(labels.to(torch.uint8).numpy(), (truth.shape[0], truth.shape[1]))

    def teacher_rows(self) -> Iterator[tuple[str, Labels, Labels]]:
        clip, voted = (TeacherLabels(self.teachers, voted) for voted in (False, True))
        for labeller in (clip, voted, SegmentVote(voted, ConsensusConfig())):
            points = ((s.labels, labeller.points(s).labels) for s in self.scenes if s.labels is not None)
            pixels = (
                (truth, resize_nearest(labeller.pixels(s, f).labels, (truth.shape[0], truth.shape[1])))
                for s in self.scenes
                for f in s.frames
                if (truth := f.load_labels()) is not None
            )
            yield labeller.name, points, pixels


def miou(pairs: Labels, classes: int) -> float:
    matrix = ConfusionMatrix(classes)
    for truth, labels in pairs:
        matrix.update(truth, labels)
    return 100 * matrix.miou()


def measure(work: Work, given: Mapping[str, object], rows: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return mIoU in 3D and 2D of each row."""
    classes = len(work.teachers.vocabulary)
    found = {}
    for name, points, pixels in work.teacher_rows():
        if name not in rows:
            continue
        found[name] = (miou(points, classes), miou(pixels, classes))
        print(f"{name:20s} 3D {found[name][0]:5.1f}  2D {found[name][1]:5.1f}", flush=True)
    for name in (name for name in ROWS if name in rows):
        changes = ROWS[name]
        config = replace(ConsensusConfig(), **{**given, **changes})  # type: ignore[arg-type]
        evidence = work.evidence(config)
        namer, named = fit_consensus(evidence, config)
        found[name] = (
            miou(work.points(evidence, named, namer), classes),
            miou(work.pixels(evidence, named, namer), classes),
        )
        print(f"{name:20s} 3D {found[name][0]:5.1f}  2D {found[name][1]:5.1f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="rooms")
    parser.add_argument("--first-seed", type=int, default=900001)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=12, help="held-out rooms or drives")
    everything = ("clip", "clip+sam", "clip+sam+segments", *ROWS)
    parser.add_argument("--rows", nargs="+", choices=everything, default=everything)
    parser.add_argument("--views", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/consensus"))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of `consensus`, all rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = {name: yaml.safe_load(value) for name, _, value in (each.partition("=") for each in options.set)}
    data = open_world(options.world, options.out / "data", 1, options.scenes, options.views)
    if data is None:
        raise SystemExit(f"{options.world} is no world of the lab")
    teachers = load_teachers(read_settings(recipe_path(options.world)), data.vocabulary, options.out / "cache")
    results = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        print(f"{options.world}, seed {seed}, {options.scenes} held-out scenes", flush=True)
        results[seed] = measure(Work(list(data.open(seed).held_out), teachers), given, options.rows)
    if len(results) > 1:
        for name in next(iter(results.values())):
            mean = np.mean([rows[name] for rows in results.values()], axis=0)
            print(f"mean {name:15s} 3D {mean[0]:5.1f}  2D {mean[1]:5.1f}")
    content = {"world": options.world, "scenes": options.scenes, "settings": given, "miou_3d_2d": results}
    write_text(options.out / f"labels-{options.world}.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
