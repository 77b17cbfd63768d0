"""Compare SAM's everything mode with a plain implementation of the official order of operations.

    python -m benchmarks.everything_mode
    python -m benchmarks.everything_mode --points-per-side 8 --skip-lab

Times and memory are those after the image encoder, whose output is replaced by random smooth features; the mask decoder
of all three sizes of SAM is the same. Weights are random, so thresholds are chosen by quantiles: a third of the masks
pass the predicted IoU and half of those are stable. Random masks span the image, so box suppression has threshold 1: it
does its work but keeps all of them. So 17 % of the masks are left; of a photo with published weights it is 6 % (193 of
3072). Runs alternate; the minimum of the process's CPU time counts.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import plain_everything_mode as plain
from benchmarks.random_sam import random_sam, smooth_neck
from numpy.typing import NDArray
from torch import Tensor

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.teachers import SamOptions
from labelfree.runtime.lab import weights_folder
from labelfree.teachers.everything_mode import paint_mask_ids
from labelfree.teachers.exact_masks import Upsampling, count_above
from labelfree.teachers.sam import SamEmbedding, SamTeacher
from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.dataset import LabSize
from labelfree_lab.rooms.render import render
from labelfree_lab.rooms.room import build_room

SIZE = (480, 640)
"""(height, width) of the image."""
PASSED, STABLE = 1 / 3, 1 / 2
"""Shares of masks: above the predicted IoU; of these, stable."""
TWIN = 0.9
LAB_ROOMS, LAB_VIEWS, LAB_SEED = 3, 4, 9001


def main() -> None:
    """Print counts, twins, seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-lab", action="store_true", help="leave out the lab's trained SAM")
    parser.add_argument("--peak", choices=("plain", "exact"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.skip_lab and options.peak is None:
        compare_in_the_lab()
    from transformers import SamConfig

    model = random_sam(SamConfig(vision_config={"num_hidden_layers": 1}))
    neck = smooth_neck(model, seed=5)
    settings = thresholds(model, neck, SamOptions(points_per_side=options.points_per_side, precision="float32"))
    if options.peak is not None:
        print(peak_mib(runs(model, neck, settings)[options.peak]))
        return
    print(f"{options.points_per_side}^2 prompts, {options.threads} threads, torch {torch.__version__}")
    compare_masks(model, neck, settings)
    compare_times(runs(model, neck, settings), options.points_per_side**2, options.repeats)
    compare_peaks(options.points_per_side, options.threads)


def embedding_of(teacher: SamTeacher, neck: Tensor) -> SamEmbedding:
    """Return neck features as those of an image of `SIZE`."""
    return SamEmbedding(neck, neck[0].half(), teacher.grid_extent(SIZE), teacher.input_size(SIZE), SIZE)


def thresholds(model: Any, neck: Tensor, options: SamOptions) -> SamOptions:
    """Choose thresholds so that the shares of masks are `PASSED` and `STABLE`."""
    unfiltered = replace(options, pred_iou_threshold=0, stability_threshold=0, box_nms_threshold=1)
    teacher = SamTeacher(model, unfiltered)
    embedding = embedding_of(teacher, neck)
    with torch.inference_mode():
        image = teacher._decoder.image_tokens(neck)
        batches = teacher._points(embedding, torch.float64, 1)
        scores = torch.cat([teacher._decoder.decode(image, points).scores for points in batches])
    chosen = replace(unfiltered, pred_iou_threshold=between(scores.flatten(), 1 - PASSED))
    teacher = SamTeacher(model, chosen)
    upsampling = Upsampling(256, teacher.side, embedding.input_size, SIZE, torch.device("cpu"))
    stability = []
    with torch.inference_mode():
        for found in teacher._candidates(embedding, upsampling.needed):
            for logits in found.logits:
                full = upsampling(logits[None])
                stability.append(count_above(full, 1.0) / count_above(full, -1.0))
    return replace(chosen, stability_threshold=between(torch.cat(stability).nan_to_num(0), 1 - STABLE))


def between(values: Tensor, share: float) -> float:
    """Return the middle between two neighbouring values at a quantile."""
    ladder = values.sort().values
    place = min(len(ladder) - 2, int(share * len(ladder)))
    return float((ladder[place] + ladder[place + 1]) / 2)


def runs(model: Any, neck: Tensor, options: SamOptions) -> dict[str, Callable[[], object]]:
    """Return the implementations to be timed, by name."""
    found: dict[str, Callable[[], object]] = {"plain": lambda: plain.everything(model, neck, SIZE, options)}
    for name, precision in (("exact", "float32"), ("exact bf16", "bfloat16")):
        teacher = SamTeacher(model, replace(options, precision=precision))  # type: ignore[arg-type]
        found[name] = lambda teacher=teacher: teacher.exact_masks(embedding_of(teacher, neck))  # type: ignore[misc]
    fast = SamTeacher(model, replace(options, mode="fast"))
    found["fast"] = lambda: fast.everything(embedding_of(fast, neck))
    if not has_bfloat16_units():
        del found["exact bf16"]
    return found


def has_bfloat16_units() -> bool:
    """Tell whether the CPU multiplies bfloat16 in hardware."""
    return any(unit in Path("/proc/cpuinfo").read_text() for unit in ("avx512_bf16", "amx_bf16"))


def compare_masks(model: Any, neck: Tensor, options: SamOptions) -> None:
    """Print how the masks of `exact` and `fast` agree with the plain ones."""
    exact, fast = SamTeacher(model, options), SamTeacher(model, replace(options, mode="fast"))
    embedding = embedding_of(exact, neck)
    official = plain.everything(model, neck, SIZE, options)
    found = exact.exact_masks(embedding)
    print(f"predicted IoU > {options.pred_iou_threshold:.3f}, stability >= {options.stability_threshold:.3f}, ", end="")
    print(f"box NMS {options.box_nms_threshold:.3f}")
    print(f"masks: plain {len(official.scores)}, exact {len(found)}", end="")
    if len(found) == len(official.scores):
        masks, others = torch.cat(list(found.chunks())), official.unpacked(SIZE)
        overlap = (masks & others).sum((1, 2)) / (masks | others).sum((1, 2)).clamp_min(1)
        print(f"; in order, IoU at least {float(overlap.min()):.5f}")
    else:
        print()
    compare_modes("random weights", found, fast, embedding)


def compare_modes(title: str, found: Any, fast: SamTeacher, embedding: SamEmbedding) -> tuple[float, ...]:
    """Print and return counts, shares of twins and of pixels in the same mask of `fast` against `exact`."""
    candidates = fast.everything(embedding)
    size = embedding.image_size
    ours = torch.cat([torch.zeros(0, *size, dtype=torch.bool), *fast.full_size_masks(embedding, candidates, size)])
    theirs = torch.cat([torch.zeros(0, *size, dtype=torch.bool), *found.chunks()])
    best = best_overlap(theirs, ours)
    back = best_overlap(ours, theirs)
    painted = paint_mask_ids(iter([theirs]), size), paint_mask_ids(iter([ours]), size)
    same = agreement(*(ids.long().flatten() for ids in painted))
    row = (len(theirs), len(ours), float((best > TWIN).float().mean()), float((back > TWIN).float().mean()), same)
    print(f"{title}: exact {row[0]}, fast {row[1]}; twins of IoU > {TWIN}: {row[2]:.1%} of exact, ", end="")
    print(f"{row[3]:.1%} of fast; pixels in the same mask {same:.1%}")
    return row


def best_overlap(masks: Tensor, others: Tensor) -> Tensor:  # [T, H, W], [S, H, W] bool -> [T] IoU
    """Return the IoU of each mask with the most similar other mask."""
    one, two = masks.flatten(1).float(), others.flatten(1).float()
    shared = one @ two.T
    union = one.sum(1)[:, None] + two.sum(1)[None] - shared
    return (shared / union.clamp_min(1)).amax(dim=1) if len(two) else torch.zeros(len(one))


def agreement(ids: Tensor, others: Tensor) -> float:  # [P] int64 both
    """Return the share of pixels whose mask corresponds, each mask to the one that covers most of it."""
    counts = torch.zeros(int(ids.max()) + 1, int(others.max()) + 1).index_put_(
        (ids, others), torch.ones(len(ids)), accumulate=True
    )
    forward, backward = counts.argmax(dim=1), counts.argmax(dim=0)
    return float(((forward[ids] == others) & (backward[others] == ids)).float().mean())


def compare_times(ways: dict[str, Callable[[], object]], prompts: int, repeats: int) -> None:
    """Print CPU seconds of alternating runs."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, run in ways.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    for name, seconds in best.items():
        ratio = best["plain"] / seconds
        print(f"{name:10s} {seconds:7.2f} s  {seconds / prompts * 1e3:6.1f} ms per prompt  {ratio:5.2f} times faster")
    if "exact bf16" not in ways:
        print("exact bf16 not measured here: the CPU has neither AVX512-BF16 nor AMX")


def compare_peaks(points_per_side: int, threads: int) -> None:
    """Print the memory that each implementation adds to its process at its peak, each in a process of its own."""
    peaks = {}
    for name in ("plain", "exact"):
        command = [sys.executable, "-m", "benchmarks.everything_mode", "--peak", name, "--skip-lab"]
        command += ["--points-per-side", str(points_per_side), "--threads", str(threads)]
        peaks[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{name:10s} peak {peaks[name]:7.0f} MiB above the model")
    print(f"ratio      {peaks['plain'] / peaks['exact']:.1f}")


def peak_mib(run: Callable[[], object]) -> float:
    """Return the growth of resident memory at its peak during a call; Linux only."""
    ctypes.CDLL(None).malloc_trim(0)  # else memory that was freed before counts as present
    before = memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return (memory_kib("VmHWM") - before) / 1024


def memory_kib(entry: str) -> int:
    """Return an entry of the process's status."""
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(entry)
    )


def lab_images() -> Iterator[NDArray[np.uint8]]:  # [H, W, 3]
    """Yield views of procedural rooms."""
    for seed in range(LAB_ROOMS):
        room = build_room(LAB_SEED + seed)
        for index, camera in enumerate(walk(room, LAB_VIEWS, LabSize().image_size)):
            yield render(room, camera, seed=index).image


def compare_in_the_lab() -> None:
    """Print the difference of `fast` to `exact` with the lab's trained SAM and the options of recipe `rooms`."""
    options = read_settings(recipe_path("rooms"), []).teachers.sam_options
    fast = SamTeacher.from_pretrained(weights_folder("rooms", "sam"), options)
    exact = SamTeacher(fast.model, replace(options, mode="exact"))
    rows = []
    for number, image in enumerate(lab_images()):
        embedding = exact.encode(image)
        rows.append(compare_modes(f"lab, view {number}", exact.exact_masks(embedding), fast, embedding))
    means = torch.tensor(rows).mean(dim=0).tolist()
    print(f"lab, mean: exact {means[0]:.1f}, fast {means[1]:.1f}, twins {means[2]:.1%} and {means[3]:.1%}, ", end="")
    print(f"pixels {means[4]:.1%}")


if __name__ == "__main__":
    main()
