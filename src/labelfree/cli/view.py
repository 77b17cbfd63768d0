"""`labelfree view RUN_OR_SCENE`: look at a run in a browser, search it by words and correct its labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labelfree.cli.arguments import say, told
from labelfree.cli.run_data import DATA_FILE, RunData, read_run_data
from labelfree.corrections.store import FOLDER, find_corrections
from labelfree.data.collection import SceneCollection, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree.files.run_lock import run_lock
from labelfree.runtime.devices import pick_device
from labelfree.viewer.opening import ViewedRun, is_run, open_plain_data, open_run_folder, scene_opener
from labelfree.viewer.serving import LOOPBACK, PORT, require_free, require_viser, serve, start

CACHES_LOOKED_FOR = 3
"""Number of folders above a run that are searched for its cache."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN_OR_SCENE, its data, the address and the first scene."""
    parser.add_argument(
        "source", type=Path, metavar="run_or_scene", help="folder of a run, or data to look at without a run"
    )
    parser.add_argument(
        "--data", type=Path, default=None, help="scenes of the run (default: the data it was made from)"
    )
    parser.add_argument("--scene", default=None, help="scene that is shown first (default: the first one)")
    parser.add_argument(
        "--host", default=LOOPBACK, help=f"address to listen at; another one lets others correct (default: {LOOPBACK})"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"port to listen at, 0 for any free one (default: {PORT})"
    )
    parser.add_argument(
        "--root", type=Path, default=None, help="data folder of a description file (default: the folder it names)"
    )
    parser.add_argument("--layout", default=None, help="dataset layout (default: recognised from the files)")
    parser.add_argument("--split", default=None, help="split of the dataset (default: all scenes)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=None,
        help="folder of teacher outputs and fused clouds (default: the run's cache, none for data)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Open the run, start the server and wait until a signal ends it."""
    require_viser()
    require_free(options.host, options.port)
    scenes, viewed = _opened(options)
    first = options.scene or scenes.names[0]
    if first not in scenes.names:
        raise InputError(f"--scene is '{first}', which is not one of the scenes ({', '.join(scenes.names[:8])}).")
    with _corrections_lock(viewed.folder) as writable:
        locked = viewed.folder is not None and not writable
        notes = [*viewed.notes, *(["read-only: another viewer corrects this run"] if locked else [])]
        opener = scene_opener(viewed, scenes, writable)
        page = start(options.host, options.port, scenes.names, first, opener, notes)
        for note in notes:
            say(note)
        place = f"[{options.host}]" if ":" in options.host else options.host
        print(f"viewer: http://{place}:{page.server.get_port()}   (Ctrl-C ends it)", flush=True)
        serve(page, say)
    return 0


def _opened(options: argparse.Namespace) -> tuple[SceneCollection, ViewedRun]:
    """Return the scenes and what is known of them. Raises an `InputError` before any model is loaded."""
    given = RunData(options.data or options.source, options.root, options.layout, options.split)
    if not is_run(options.source):
        scenes = _scenes(given, options.cache)
        return scenes, open_plain_data(scenes)
    if options.data is None:
        given = _data_of(options.source)
    cache = options.cache or _cache(options.source)
    scenes = _scenes(given, cache)
    viewed = open_run_folder(options.source, cache, pick_device(options.device))
    if viewed.sources.vocabulary is not None:
        _, others = find_corrections(options.source, scenes.names, viewed.sources.vocabulary)
        for name in others:
            say(f"{options.source}: corrects scene '{name}', which the data does not have; its file is kept")
    return scenes, viewed


def _data_of(folder: Path) -> RunData:
    """Return the data that a run was made from. Raises an `InputError` if it is unknown or missing."""
    found = read_run_data(folder)
    if found is None and (folder / "data" / "train").is_dir():  # a demo
        found = RunData(folder / "data" / "train")
    if found is None:
        raise InputError(f"{folder}: holds no {DATA_FILE} that names its data; give the data with --data.")
    if not found.data.exists():
        raise InputError(f"{found.data}: the data of run {folder} is no longer there; give it with --data.")
    return found


def _scenes(given: RunData, cache: Path | None) -> SceneCollection:
    clouds = None if cache is None else cache / "clouds"
    reading = ReadOptions(given.every, given.limit, given.split, clouds, False)
    return told(open_scenes(given.data, given.root, reading, given.layout))


@contextmanager
def _corrections_lock(folder: Path | None) -> Iterator[bool]:
    """Yield whether this viewer may write the corrections of a run; of several viewers one at a time may."""
    if folder is None:
        yield False
        return
    lock = run_lock(folder / FOLDER, "view")
    try:
        lock.__enter__()
    except InputError as error:
        say(str(error).replace("choose another --out", "look at it read-only here"))
        yield False
        return
    try:
        yield True
    finally:
        lock.__exit__(None, None, None)


def _cache(folder: Path) -> Path:
    """Return the cache folder found in, beside or above a run, else a new one beside it."""
    found = folder.resolve()
    places = [found, *found.parents[:CACHES_LOOKED_FOR]]
    return next((place / "cache" for place in places if (place / "cache").is_dir()), found.parent / "cache")
