"""Open captures in the posed RGB-D layout: a scene's folder, a folder of scenes, or a description of their files."""

from __future__ import annotations

from pathlib import Path

from labelfree.data.calibrations import calibration_notes, doubt_notes
from labelfree.data.captures.posed_rgbd import CaptureSource
from labelfree.data.captures.recognised import recognised, recognised_images
from labelfree.data.description import Description, read_description
from labelfree.data.image_folder import ALONE, images_of
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.patterns import Pattern, natural_order
from labelfree.data.sources import calibrations_of, checked_sources, leave_out_broken
from labelfree.errors import InputError
from labelfree.vocabulary import Vocabulary


def open_captures(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open one capture or a folder of captures, by a description or by the default file names."""
    if options.split is not None:
        raise InputError(f"{path}: a capture has no splits; leave '{options.split}' out.")
    description, base = _resolve(path, root)
    description, said_of_images = recognised_images(description, base)
    folders = _scene_folders(base, description)
    if not folders:
        raise InputError(_nothing_found(base, description, path))
    single = folders == [base]
    sources, notes = list[CaptureSource](), list(said_of_images)
    for folder in folders:
        name = (description.name if single else None) or folder.resolve().name
        own, said = recognised(description, folder, base)
        every = options.stride(description.every)
        sources.append(CaptureSource(name, folder, base, own, every, options.limit, options.cache_dir))
        notes += said
    return OpenedDataset(sources, _classes(tuple(sources)), tuple(notes))


def _resolve(path: Path, root: Path | None) -> tuple[Description, Path]:
    if path.is_dir():
        if root is not None:
            raise InputError(f"--root {root} is for a description file, but {path} is itself a folder; leave it out.")
        return Description(), path
    if not path.exists():
        raise InputError(f"{path}: no such folder or description file.")
    if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
        raise InputError(f"{path}: neither a capture's folder nor a description (.yaml); see docs/own-data.md.")
    description = read_description(path)
    base = root or (path.parent / description.root if description.root else path.parent)
    if not base.is_dir():
        raise InputError(f"{base}: the capture's folder does not exist; give it with --root DIR.")
    return description, base


def _scene_folders(base: Path, description: Description) -> list[Path]:
    images = Pattern(description.images)
    if images.matches_in(base):
        return [base]
    children = {path.name: path for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")}
    return [children[name] for name in natural_order(children) if images.matches_in(children[name])]


def _nothing_found(base: Path, description: Description, path: Path) -> str:
    looked = f"{base}: no scene here: neither it nor a folder in it has images '{description.images}'"
    if path.is_dir():
        sweeps = "LiDAR sweeps need one with layout: lidar (docs/datasets.md)"
        hint = f"; {sweeps}" if any(base.glob("*.bin")) else f"; {ALONE}" if images_of(base) is not None else ""
        return f"{looked}; lay the files out as docs/own-data.md shows, or describe them in a YAML file{hint}."
    return f"{looked}; give the capture's folder with --root DIR, or fix key 'images' of {path}."


def _classes(sources: tuple[CaptureSource, ...]) -> tuple[str, ...] | None:
    stated = sources[0].description.classes
    if stated is None or isinstance(stated, tuple):
        return stated
    found: dict[tuple[str, ...], Path] = {}
    for source in sources:
        file = source.near(stated)
        if file.is_file():
            found.setdefault(Vocabulary.from_file(file).names, file)
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise InputError(f"{second}: its classes differ from those of {first}; scenes opened together must share them.")
    if not found and "classes" in sources[0].description.stated:
        raise InputError(f"{sources[0].near(stated)}: no such file of class names; fix key 'classes'.")
    return next(iter(found), None)


def survey_captures(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Check every file of the captures and count scenes and images."""
    opened = leave_out_broken(path, open_captures(path, root, options), options)
    problems, frames = list[str](), 0
    for source, found in checked_sources(opened.sources, progress):
        problems += found
        if not found:
            frames += len(source.frames()) if isinstance(source, CaptureSource) else 0
    calibrations = calibrations_of(opened.sources)
    notes = tuple(dict.fromkeys((*opened.notes, *doubt_notes(calibrations), *calibration_notes(calibrations))))
    counts = (Count("scenes", len(opened.sources)), Count("images", frames))
    return Survey(CAPTURES.name, counts, tuple(problems), notes, frames, opened.classes)


CAPTURES = Layout("posed-rgbd", lambda path: True, open_captures, survey_captures)
"""The fallback for data that no other layout recognises."""
