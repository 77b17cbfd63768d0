"""Open ScanNet by its folder: find scans, splits, and frames of `scannet_frames_25k` or `.sens` files."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from labelfree.data.calibrations import calibration_notes
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.scannet.exports import ExportedFrames, find_frames
from labelfree.data.scannet.labels import TSV
from labelfree.data.scannet.reader import ScanFiles, ScanSource
from labelfree.data.scannet.splits import LISTS, split_scans
from labelfree.data.sources import calibrations_of, checked_sources
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary

SCAN = re.compile(r"scene\d{4}_\d{2}")
SCANS, FRAMES = ("scans", "scans_test"), "scannet_frames_25k"
OFFICIAL = {"train": 1201, "val": 312, "test": 100}


def recognises(path: Path) -> bool:
    """Return whether a folder contains scans or `scannet_frames_25k`, or is itself one of these."""
    if not path.is_dir():
        return False
    if (path / FRAMES).is_dir() or any((path / name).is_dir() and _scan_folders(path / name) for name in SCANS):
        return True
    return _is_scan(path) or any(_is_scan(folder) for folder in _scan_folders(path)[:3])


def _scan_folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if SCAN.fullmatch(child.name) and child.is_dir())


def _is_scan(folder: Path) -> bool:
    """Return whether a folder of any name contains a scan's files, or its frames with ScanNet's calibration."""
    name = scan_name(folder)
    own = (f"{name}.sens", f"{name}_vh_clean_2.ply")
    exported = find_frames(folder, name)
    return any((folder / file).is_file() for file in own) or (exported is not None and exported.calibrated())


def scan_name(folder: Path) -> str:
    """Return a scan's name: that of its folder, or that of the files in it if the folder has another name."""
    own = folder.resolve().name
    if SCAN.fullmatch(own):
        return own
    found = {path.name.removesuffix(end) for end in (".sens", "_vh_clean_2.ply") for path in folder.glob(f"*{end}")}
    return found.pop() if len(found) == 1 else own


def open_scannet(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the scans of a split, or all scans found.

    Raises an `InputError` if there are none or the split is unknown.
    """
    sources = _sources(path, root, options)
    by_sens = sum(source.files.frames is None for source in sources)
    note = f"ScanNet: {len(sources)} scans, {len(sources) - by_sens} with frames in folders, {by_sens} with .sens files"
    return OpenedDataset(sources, Vocabulary.parse("scannet20").names, (note, *_without_label_file(sources)))


def _without_label_file(sources: tuple[ScanSource, ...]) -> tuple[str, ...]:
    lacking = sum(source.lacks_label_file() for source in sources)
    return (f"{lacking} scans have labels that need {TSV}, which is missing: they are not read",) if lacking else ()


def _sources(path: Path, root: Path | None, options: ReadOptions) -> tuple[ScanSource, ...]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a dataset; leave it out.")
    scans, frames = _places(path)
    names = sorted({*scans, *frames})
    if options.split is not None:
        names = split_scans(path, options.split, names)
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


def _places(path: Path) -> tuple[dict[str, Path], dict[str, ExportedFrames]]:
    """Return the folders with meshes or `.sens` files, and the frames in folders, by scan."""
    folders = [folder for name in SCANS if (path / name).is_dir() for folder in _scan_folders(path / name)]
    folders += _scan_folders(path)
    if not folders and _is_scan(path):
        folders = [path]
    packed = _scan_folders(path / FRAMES) if (path / FRAMES).is_dir() else []
    named = [(scan_name(folder), folder) for folder in folders]
    exports = [(name, find_frames(folder, name)) for name, folder in (*named, *((f.name, f) for f in packed))]
    frames = {name: found for name, found in exports if found is not None}
    scans = {
        name: folder
        for name, folder in named
        if any(folder.glob("*.sens")) or any(folder.glob("*.ply")) or name not in frames
    }
    return scans, frames


def survey_scannet(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Check every scan's files: `.sens` headers and frames, meshes, labels and poses; count scans and frames."""
    sources = _sources(path, root, options)
    problems: list[str] = []
    frames = lost = 0
    for source, found in checked_sources(sources, progress):
        problems += found
        with contextlib.suppress(InputError):  # already in `problems`
            frames, lost = frames + len(source.frames()), lost + source.lost()
    official = OFFICIAL.get(options.split or "", sum(OFFICIAL.values()) if options.split is None else None)
    fused = sum(source.files.mesh() is None for source in sources)
    notes = [f"{lost} frames without a finite pose are left out"] if lost else []
    notes += _without_label_file(sources)
    notes += [f"{fused} scans have no mesh; their depth maps are fused"] if fused else []
    notes += calibration_notes(calibrations_of(sources))
    return Survey(
        "scannet",
        (Count("scans", len(sources), official), Count("frames", frames)),
        tuple(problems),
        tuple(notes),
        frames,
    )


SCANNET = Layout("scannet", recognises, open_scannet, survey_scannet, "scannet", preset="scannet20", first_verb="label")
