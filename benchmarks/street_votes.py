"""Evaluate CLIP's labels before and after the vote on tuning streets; recipe `streets` was tuned with this script.

    python -m labelfree_lab.teachers.corpus --world streets --out TUNING --rooms 20 --photos 0 --views 6 \\
        --first-seed 2000000
    python benchmarks/street_votes.py --corpus TUNING

The script prints mIoU and accuracy for three scales of CLIP: of the labels, of the vote with several filters of
everything mode, and of the vote with true instances as masks. It uses no seed of the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labelfree.config.reading import recipe
from labelfree.config.teachers import ClipOptions
from labelfree.evaluation.confusion import ConfusionMatrix
from labelfree.method.clip_labels import clip_labels
from labelfree.method.mask_vote import refine_labels
from labelfree.teachers.clip import DenseClip
from labelfree.teachers.sam import SamTeacher
from labelfree.vocabulary import Vocabulary
from labelfree_lab.teachers.corpus import Corpus, open_corpus
from labelfree_lab.teachers.worlds import STREETS

SCALES = (1.0, 1.5, 2.0)
FILTERS = ((0.3, 0.5), (0.3, 0.7), (0.5, 0.7))
"""Thresholds of predicted IoU and stability."""
CLASSES = len(STREETS.class_names)


def read_labels(corpus: Corpus, rows: Sequence[int], weights: Path, options: ClipOptions) -> list[Tensor]:
    clip = DenseClip.from_pretrained(weights, options)
    text = clip.embed(Vocabulary.from_names(STREETS.class_names)).vectors
    return [clip_labels(clip.features(corpus.images[row]), text, corpus.plan.size).long() for row in rows]


def scores(corpus: Corpus, rows: Sequence[int], labels: Iterable[Tensor]) -> str:
    matrix = ConfusionMatrix(CLASSES)
    for row, said in zip(rows, labels):
        matrix.update(corpus.classes[row], said.numpy())
    return f"{100 * matrix.miou():.1f} / {100 * matrix.accuracy():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="tuning streets")
    parser.add_argument("--clip", type=Path, default=STREETS.weights("clip"))
    parser.add_argument("--sam", type=Path, default=STREETS.weights("sam"))
    options = parser.parse_args()
    corpus, teachers = open_corpus(options.corpus), recipe("streets").teachers
    rows = range(0, len(corpus.images), 2)
    masks = {"true instances": [torch.from_numpy(corpus.instances[row].astype(np.int64) + 1) for row in rows]}
    for iou, stability in FILTERS:
        chosen = replace(teachers.sam_options, pred_iou_threshold=iou, stability_threshold=stability)
        sam = SamTeacher.from_pretrained(options.sam, chosen)
        masks[f"{iou} / {stability}"] = [sam.mask_ids(corpus.images[row]).long() for row in rows]
    for scale in SCALES:
        labels = read_labels(corpus, rows, options.clip, replace(teachers.clip_options, scale=scale))
        print(f"scale {scale}: labels {scores(corpus, rows, labels)}", flush=True)
        for name, ids in masks.items():
            voted = (refine_labels(said, mask, CLASSES) for said, mask in zip(labels, ids))
            print(f"  masks {name}: {scores(corpus, rows, voted)}", flush=True)


if __name__ == "__main__":
    main()
