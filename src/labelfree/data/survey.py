"""Going through a whole tree before any work: what is there, what is missing, what the labels of it will take."""

from __future__ import annotations

from pathlib import Path

from labelfree.data.collection import layout_of
from labelfree.data.layout import ReadOptions, Survey, SurveyProgress
from labelfree.data.next_step import NextStep
from labelfree.files.documents import reading

PATCH = 16
"""Pixels of an image per dense CLIP feature, for ViT-B/16."""
CLIP_WIDTH, SAM_CELLS, HALF = 512, 64 * 64, 2
"""Dense CLIP features are 512 wide, SAM's map has 64 x 64 cells; both are kept in 16 bits."""
KEPT_BYTES, PIXELS_PER_PAIR, PAIR_BYTES = 6, 8, 12
"""Kept frames take 6 bytes a pixel and 12 a pixel-point pair; on LiDAR fewer pixels have one, on fine meshes more."""


def survey(path: Path, root: Path | None, options: ReadOptions, layout: str | None, progress: SurveyProgress) -> Survey:
    """Go through a dataset in its own layout, or through captures in the posed RGB-D layout."""
    with reading(path):
        return layout_of(path, layout).survey(path, root, options, progress)


def cache_bytes(frames: int, image_size: tuple[int, int], latent_width: int) -> int:
    """Return about what the teachers' outputs of so many frames take on disk, by the shapes of what is kept.

    Dense CLIP features at patch resolution, SAM's projected features, a label map and a map of mask ids.
    """
    pixels = image_size[0] * image_size[1]
    dense = (image_size[0] // PATCH) * (image_size[1] // PATCH) * CLIP_WIDTH * HALF
    return frames * (dense + SAM_CELLS * latent_width * HALF + pixels // 8)


def kept_bytes(frames: int, image_size: tuple[int, int]) -> int:
    """Return about what `labels.keep_frames` takes on disk for so many frames."""
    pixels = image_size[0] * image_size[1]
    return frames * (pixels * KEPT_BYTES + pixels // PIXELS_PER_PAIR * PAIR_BYTES)


def render(
    found: Survey, following: NextStep, image_size: tuple[int, int], latent_width: int, seconds_per_frame: float | None
) -> str:
    """Return the survey as plain text: counts, problems, notes, what labelling takes, the next command."""
    lines = [f"layout {found.layout}"]
    for count in found.counts:
        official = "" if count.official is None else f" of {count.official:,} published"
        lines.append(f"  {count.found:,} {count.what}{official}")
    lines += [f"  note: {text}" for text in found.notes]
    lines += [f"  problem: {text}" for text in found.problems]
    size = cache_bytes(found.frames, image_size, latent_width) / 2**30
    at = f"at {image_size[0]}x{image_size[1]}"
    lines.append(
        f"  caches of both teachers for {found.frames:,} pictures {at}: about {size:,.1f} GiB with ViT-B/16's widths"
    )
    kept = kept_bytes(found.frames, image_size) / 2**30
    lines.append(f"  with labels.keep_frames=true about {kept:,.1f} GiB more; epochs then decode no picture twice")
    if seconds_per_frame is None:
        lines.append("  time: not measured; --measure 2 times both teachers on two pictures of yours")
    else:
        hours = seconds_per_frame * found.frames / 3600
        lines.append(f"  time: {seconds_per_frame:.1f} s a picture on this machine, {hours:,.1f} h in all")
    if found.problems:
        lines.append(f"  needs mending: {len(found.problems)} problems; --skip-broken leaves such scenes out")
    else:
        lines += [f"  note: {text}" for text in following.notes]
        lines.append(f"  sound; next: {following.command}")
    return "\n".join(lines)
