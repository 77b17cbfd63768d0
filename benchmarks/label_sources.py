"""Evaluate the labels that stage two switches between (Eq. 6), for finished table runs in world rooms.

    python benchmarks/label_sources.py --out results/tables --seeds 5

Labels are compared with ground truth at the pixel-point pairs of training rooms, where label switching reads them.
Sources are CLIP's labels after the vote and the predictions of a run's networks with and without the vote. Networks
are those at the end of a run, applied to whole images and clouds. The script needs the networks, rooms and cache of
the runs, so the table has to be measured on the same machine first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.evaluation.method_results import Table
from labelfree.files.atomic import write_text
from labelfree.labelling.inference import predict_images, predict_points
from labelfree.labelling.labellers import NetworkLabels, load_networks
from labelfree.method.mask_vote import refine_labels
from labelfree.scene import Scene
from labelfree.teachers.opening import load_teachers
from labelfree.training.labelled_scenes import LabelledScenes
from labelfree.training.samples import LabelledFrame
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize
from labelfree_lab.shapes.primitives import CLASS_NAMES
from labelfree_lab.tables import LabRooms

SOURCES = ("CLIP + SAM", "2D network", "2D network + SAM", "3D network", "3D network + SAM")


def labels_at_pairs(frame: LabelledFrame, networks: NetworkLabels, cloud: Tensor) -> Mapping[str, Tensor]:
    """Return the label of each source at the pairs of a frame; `cloud` holds the 3D network's label of every point."""
    masks = torch.from_numpy(frame.mask_ids.astype(np.int64))
    row, column = torch.from_numpy(frame.pair_row), torch.from_numpy(frame.pair_column)
    if networks.net_2d is None:
        raise TypeError("the run has no 2D network")
    picture = torch.from_numpy(predict_images(networks.net_2d, [frame.image])[0].labels.astype(np.int64))
    points = cloud[torch.from_numpy(frame.pair_point)]
    count = len(CLASS_NAMES)
    clip = torch.from_numpy(frame.labels.astype(np.int64))
    found = (
        clip[row, column],
        picture[row, column],
        refine_labels(picture, masks, count)[row, column],
        points,
        refine_labels(points, masks[row, column], count),
    )
    return dict(zip(SOURCES, found))


def measure(
    scenes: Sequence[Scene], labelled: LabelledScenes, networks: NetworkLabels
) -> dict[str, tuple[float, float]]:
    """Return mIoU and accuracy of each source in percent."""
    if networks.net_3d is None:
        raise TypeError("the run has no 3D network")
    matrices = {source: ConfusionMatrix(len(CLASS_NAMES)) for source in SOURCES}
    for scene in scenes:
        if scene.labels is None:
            raise TypeError("rooms have truth")
        cloud = torch.from_numpy(predict_points(networks.net_3d, scene).labels.astype(np.int64))
        for frame in labelled.build(scene).frames:
            truth = scene.labels[frame.pair_point]
            for source, labels in labels_at_pairs(frame, networks, cloud).items():
                matrices[source].update(truth, labels.numpy())
    return {source: (100 * matrix.miou(), 100 * matrix.accuracy()) for source, matrix in matrices.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the table; label_sources.{md,json} go there")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", default="wo_sct,full")
    parser.add_argument("--rooms", type=int, default=24, help="training rooms looked at")
    options = parser.parse_args()
    vocabulary, config = Vocabulary.from_names(CLASS_NAMES), read_settings(recipe_path("rooms"))
    teachers = load_teachers(config, vocabulary, options.out / "cache")
    data, found = (
        LabRooms(options.out / "data", LabSize(), vocabulary),
        list[tuple[str, int, dict[str, tuple[float, float]]]](),
    )
    for seed in range(1, options.seeds + 1):
        scenes = data.open(seed).train[: options.rooms]
        labelled = LabelledScenes(scenes, teachers)
        for row in options.rows.split(","):
            networks = load_networks(options.out / "runs" / f"seed-{seed}" / row / "networks", torch.device("cpu"))
            scores = measure(scenes, labelled, networks)
            found.append((row, seed, scores))
            print(
                row, seed, {source: [round(value, 1) for value in pair] for source, pair in scores.items()}, flush=True
            )
    runs = [{"row": row, "seed": seed, "miou_accuracy": scores} for row, seed, scores in found]
    command = " ".join(["python benchmarks/label_sources.py", *sys.argv[1:]])
    write_text(options.out / "label_sources.json", json.dumps({"command": command, "runs": runs}, indent=1) + "\n")
    lines = []
    for row in options.rows.split(","):
        means = np.mean([[scores[s] for s in SOURCES] for name, _, scores in found if name == row], axis=0)
        lines.append((row, *(f"{miou:.1f} / {accuracy:.1f}" for miou, accuracy in means)))
    page = Table(("networks of", *SOURCES), tuple(lines)).markdown()
    write_text(options.out / "label_sources.md", f"`{command}`; mIoU / accuracy in %, mean over seeds.\n\n{page}\n")
    print(page)


if __name__ == "__main__":
    main()
