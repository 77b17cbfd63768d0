"""Survey a whole dataset before work begins: what it contains, what is missing, and the cost of labelling it."""

from __future__ import annotations

from pathlib import Path

from labelfree.data.collection import layout_of
from labelfree.data.layout import ReadOptions, Survey, SurveyProgress
from labelfree.data.next_step import NextStep
from labelfree.files.documents import reading

PATCH = 16
"""Pixels of an image per dense CLIP feature, for ViT-B/16."""
CLIP_WIDTH, SAM_CELLS, HALF = 512, 64 * 64, 2
"""Dense CLIP features are 512 wide and SAM's map has 64 x 64 cells; both are stored in 16 bits."""
KEPT_BYTES, PIXELS_PER_PAIR, PAIR_BYTES = 6, 8, 12
"""A kept frame takes 6 bytes per pixel and 12 per pixel-point pair; LiDAR has fewer pairs, a fine mesh has more."""


def survey(path: Path, root: Path | None, options: ReadOptions, layout: str | None, progress: SurveyProgress) -> Survey:
    """Survey a dataset in its own layout, or captures in the posed RGB-D layout.

    Raises an `InputError` if the data cannot be opened; faults of single scenes are listed in the survey.
    """
    with reading(path):
        return layout_of(path, layout).survey(path, root, options, progress)


def cache_bytes(frames: int, image_size: tuple[int, int], latent_width: int) -> int:
    """Estimate the bytes on disk of the teachers' outputs for a number of frames of (height, width) pixels.

    Stored are dense CLIP features at patch resolution, SAM's projected features, a label map and a map of mask ids.
    """
    pixels = image_size[0] * image_size[1]
    dense = (image_size[0] // PATCH) * (image_size[1] // PATCH) * CLIP_WIDTH * HALF
    return frames * (dense + SAM_CELLS * latent_width * HALF + pixels // 8)


def kept_bytes(frames: int, image_size: tuple[int, int]) -> int:
    """Estimate the bytes on disk that `labels.keep_frames` takes for a number of frames of (height, width) pixels."""
    pixels = image_size[0] * image_size[1]
    return frames * (pixels * KEPT_BYTES + pixels // PIXELS_PER_PAIR * PAIR_BYTES)


def render(
    found: Survey, following: NextStep, image_size: tuple[int, int], latent_width: int, seconds_per_frame: float | None
) -> str:
    """Return the survey as plain text: counts, notes, problems, cost of labelling and the next command."""
    lines = [f"layout {found.layout}"]
    for count in found.counts:
        official = "" if count.official is None else f" of {count.official:,} published"
        lines.append(f"  {count.found:,} {count.what}{official}")
    lines += [f"  note: {text}" for text in found.notes]
    lines += [f"  problem: {text}" for text in found.problems]
    size = cache_bytes(found.frames, image_size, latent_width) / 2**30
    at = f"at {image_size[0]}x{image_size[1]}"
    lines.append(
        f"  caches of both teachers for {found.frames:,} images {at}: about {size:,.1f} GiB with ViT-B/16's widths"
    )
    kept = kept_bytes(found.frames, image_size) / 2**30
    lines.append(f"  kept frames (labels.keep_frames) about {kept:,.1f} GiB more; each image is then decoded only once")
    if seconds_per_frame is None:
        lines.append("  time: not measured; --measure 2 times both teachers on two of your images")
    else:
        hours = seconds_per_frame * found.frames / 3600
        lines.append(f"  time: {seconds_per_frame:.1f} s per image on this machine, {hours:,.1f} h in total")
    if found.problems:
        lines.append(f"  needs fixing: {len(found.problems)} problems; --skip-broken leaves such scenes out")
    else:
        lines += [f"  note: {text}" for text in following.notes]
        lines.append(f"  sound; next: {following.command}")
    return "\n".join(lines)
