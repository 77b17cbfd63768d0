"""Opening ScanNet by its folder: which scans, which split, frames of 25k or of the `.sens` files."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from labelfree.data.scannet.labels import TSV
from labelfree.data.scannet.source import INTRINSICS, ScanFiles, ScanSource
from labelfree.data.source import Count, Layout, OpenedDataset, Progress, ReadOptions, Survey
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary

SCAN = re.compile(r"scene\d{4}_\d{2}")
SCANS, FRAMES = ("scans", "scans_test"), "scannet_frames_25k"
LISTS = (".", "splits", "Tasks/Benchmark", "tasks/benchmark", "scannetv2", "meta_data")
"""Where the official lists and the label file are looked for."""
OFFICIAL = {"train": 1201, "val": 312, "test": 100}
BENCHMARK = "https://github.com/ScanNet/ScanNet/tree/master/Tasks/Benchmark"


def recognises(path: Path) -> bool:
    """Whether a folder holds scans, frames of 25k, or is one of these."""
    if not path.is_dir():
        return False
    if (path / FRAMES).is_dir() or any((path / name).is_dir() and _scan_folders(path / name) for name in SCANS):
        return True
    folders = [path] if SCAN.fullmatch(path.name) else _scan_folders(path)
    return any(_is_scan(folder) for folder in folders[:3])


def _scan_folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if SCAN.fullmatch(child.name) and child.is_dir())


def _is_scan(folder: Path) -> bool:
    own = (f"{folder.name}.sens", f"{folder.name}_vh_clean_2.ply")
    exported = _exported(folder)
    return any((folder / file).is_file() for file in own) or (
        exported is not None and any((exported / file).is_file() for file in INTRINSICS)
    )


def _exported(folder: Path) -> Path | None:
    """Return the folder that holds `color`: the scan's own, or the one that an export was written to inside it."""
    inside = sorted(child for child in folder.iterdir() if child.is_dir())
    return next((place for place in (folder, *inside) if (place / "color").is_dir()), None)


def open_scannet(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the scans of a split, or all that are there."""
    sources = _sources(path, root, options)
    with_25k = sum(source.files.frames is not None for source in sources)
    notes = (
        f"ScanNet: {len(sources)} scans, {with_25k} of them with frames in folders, the others by their .sens files",
    )
    return OpenedDataset(sources, Vocabulary.parse("scannet20").names, notes)


def _sources(path: Path, root: Path | None, options: ReadOptions) -> tuple[ScanSource, ...]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    scans, frames = _places(path)
    names = sorted({*scans, *frames})
    if options.split is not None:
        names = _split(path, options.split, names)
    if not names:
        raise InputError(f"{path}: has no scans: neither scans/scene0000_00 nor {FRAMES}/scene0000_00.")
    tsv = next((path / place / TSV for place in LISTS if (path / place / TSV).is_file()), None)
    tsv = tsv or next((up / TSV for up in path.resolve().parents[:2] if (up / TSV).is_file()), None)
    return tuple(
        ScanSource(
            ScanFiles(name, scans.get(name), frames.get(name), tsv), options.every, options.limit, options.cache_dir
        )
        for name in names
    )


def _places(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the folders with meshes and the folders with frames, by scan."""
    if SCAN.fullmatch(path.resolve().name) and _is_scan(path):
        found = [path]
    else:
        found = [folder for name in SCANS if (path / name).is_dir() for folder in _scan_folders(path / name)]
        found += _scan_folders(path)
    packed = _scan_folders(path / FRAMES) if (path / FRAMES).is_dir() else []
    frames = {f.resolve().name: place for f in (*found, *packed) if (place := _exported(f)) is not None}
    meshes = [
        f for f in found if any(f.glob("*.sens")) or any(f.glob("*_vh_clean_2.ply")) or f.resolve().name not in frames
    ]
    return {folder.resolve().name: folder for folder in meshes}, frames


def _split(path: Path, split: str, there: list[str]) -> list[str]:
    for place in LISTS:
        for file in (f"scannetv2_{split}.txt", f"{split}.txt"):
            if (path / place / file).is_file():
                wanted = (path / place / file).read_text(encoding="utf-8").split()
                found = [name for name in wanted if name in set(there)]
                if not found:
                    raise InputError(f"{path / place / file}: none of its {len(wanted)} scans is in {path}.")
                return found
    raise InputError(f"{path}: --split {split} needs the list scannetv2_{split}.txt there; it is at {BENCHMARK}.")


def survey_scannet(path: Path, root: Path | None, options: ReadOptions, progress: Progress) -> Survey:
    """Look at every scan's files: headers of .sens and the chain of their frames, meshes, labels, poses."""
    sources = _sources(path, root, options)
    problems: list[str] = []
    frames = lost = 0
    for place, source in enumerate(sources):
        problems += source.faults()
        with contextlib.suppress(InputError):  # which `faults` has named
            frames, lost = frames + len(source.frames()), lost + source.lost()
        progress(place + 1, len(sources))
    official = OFFICIAL.get(options.split or "", sum(OFFICIAL.values()) if options.split is None else None)
    notes = (f"{lost} frames without a finite pose are left out",) if lost else ()
    split = f" --split {options.split}" if options.split else ""
    return Survey(
        "scannet",
        (Count("scans", len(sources), official), Count("frames", frames)),
        tuple(problems),
        notes,
        frames,
        f"labelfree label {path}{split} --recipe scannet --classes scannet20 --out runs/scannet",
    )


SCANNET = Layout("scannet", recognises, open_scannet, survey_scannet)
