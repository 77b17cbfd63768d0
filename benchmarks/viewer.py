"""Speed of the viewer on a large cloud, quality of its search, and screenshots of a run for the docs.

    PYTHONPATH=src:tests:. python -m benchmarks.viewer --points 1000000
    PYTHONPATH=src:tests:. python -m benchmarks.viewer runs/demo --data runs/demo/data/held-out --search 3
    PYTHONPATH=src:tests:. python -m benchmarks.viewer runs/demo --data runs/demo/data/held-out --scene room-003 \
        --words bookshelf --screenshots docs/images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from helpers.viewer_page import ViewerPage, densest, opened
from labelfree.data.collection import open_scenes
from labelfree.viewer import colouring, editing, picking, ranking
from labelfree.viewer.opening import open_run_folder, scene_opener
from labelfree.viewer.serving import LOOPBACK, start

COLOURS = 128
"""Colours of a screenshot: a third of the bytes, and no visible difference."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=None)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--scene", default=None)
    parser.add_argument("--words", default="chair")
    parser.add_argument("--screenshots", type=Path, default=None)
    parser.add_argument("--search", type=int, default=0, help="number of scenes whose search is measured")
    parser.add_argument("--points", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.search:
        search_quality(options.run, options.data, options.search)
    elif options.screenshots is None:
        speed(options.points)
    else:
        screenshots(options.run, options.data, options.scene, options.words, options.screenshots)


def speed(count: int) -> None:
    """Print the milliseconds of CPU of each interaction with a cloud of `count` points, the median of five."""
    random = np.random.default_rng(0)
    points = random.uniform(-10, 10, (count, 3)).astype(np.float32)
    labels, scores = random.integers(0, 20, count).astype(np.uint8), random.random(count).astype(np.float32)
    segments, base = np.repeat(np.arange(count // 1000), 1000), random.integers(0, 255, (count, 3), dtype=np.uint8)
    camera = picking.ScreenCamera(np.array([0.0, 0, -30]), np.array([1.0, 0, 0, 0]), 1.0, 1.5)
    state, nothing = editing.opened(np.full(count, 255, np.uint8)), np.zeros(count, np.bool_)
    ray = np.array([0.01, 0.02, 1.0])
    tasks: dict[str, Callable[[], object]] = {
        "pick the point under a click": lambda: picking.pick(points, camera.position, ray),
        "select a sphere": lambda: picking.in_sphere(points, points[0], 0.5),
        "select a rectangle": lambda: picking.in_rectangle(points, camera, (0.4, 0.4), (0.6, 0.6)),
        "switch classes": lambda: colouring.shown_points(labels, {3, 4}),
        "colour by similarity": lambda: colouring.similarity_colours(scores, 0.5, base),
        "rank segments": lambda: ranking.ranked_segments(scores, segments),
        "list doubtful segments": lambda: ranking.doubtful_segments(scores, segments, nothing),
        "assign a tenth": lambda: editing.assign(state, scores < 0.1, 3),
    }
    for name, task in tasks.items():
        print(f"{name:32} {1000 * median_seconds(task):8.1f} ms")


def median_seconds(task: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        begin = time.process_time()
        task()
        taken.append(time.process_time() - begin)
    return float(np.median(taken))


def search_quality(run: Path, data: Path, count: int) -> None:
    """Print the average precision of searching each class by its name, in scenes where it has 50 points or more."""
    scenes = open_scenes(data)
    viewed = open_run_folder(run, run / "cache", torch.device("cpu"))
    opener, found = scene_opener(viewed, scenes, False), dict[tuple[str, str], list[float]]()
    assert viewed.sources.vocabulary is not None
    for name in scenes.names[:count]:
        session = opener(name)
        assert session.scene.labels is not None
        for label, words in enumerate(viewed.sources.vocabulary.names):
            truth = session.scene.labels == label
            for features in session.layers.feature_names() if truth.sum() >= 50 else ():
                session.search(words, features)
                assert session.similarity is not None
                order = np.argsort(-np.nan_to_num(session.similarity, nan=-2.0), kind="stable")
                hits = truth[order]
                precision = hits.cumsum() / np.arange(1, len(hits) + 1)
                found.setdefault((features, words), []).append(float(precision[hits].mean()))
                found.setdefault(("random order", words), []).append(float(truth.mean()))
    for features in dict.fromkeys(features for features, _ in found):
        of_class = {words: values for (each, words), values in found.items() if each == features}
        every = [value for values in of_class.values() for value in values]
        print(f"{features}: {np.mean(every):.2f} over {len(every)}")
        print("  " + ", ".join(f"{words} {np.mean(values):.2f}" for words, values in of_class.items()))


def screenshots(run: Path, data: Path, name: str, words: str, to: Path) -> None:
    """Search, click and correct in a browser, and save what is seen; nothing is written into the run."""
    scenes = open_scenes(data)
    viewed = open_run_folder(run, run / "cache", torch.device("cpu"))
    page = start(LOOPBACK, 0, [name], name, scene_opener(viewed, scenes, True))
    with opened(f"http://{LOOPBACK}:{page.server.get_port()}") as seen:
        seen.drawn()
        seen.search(words)
        seen.drawn()
        save(seen, to / "viewer-search.png")
        seen.choose("a click selects", "its segment")
        seen.click(*densest(seen.pixels()))
        seen.says("support")
        seen.drawn()
        save(seen, to / "viewer-click.png")
        seen.press("next doubtful segment")
        seen.until(lambda: "\n0 points selected" not in seen.text(), "no doubtful segment was offered")
        seen.press("assign class to selection")
        seen.until(lambda: seen.corrected() > 0, "nothing was corrected")
        seen.page.get_by_text("images", exact=True).last.scroll_into_view_if_needed()
        seen.drawn()
        save(seen, to / "viewer-correct.png")
        print("errors of the console:", seen.errors)
    page.server.stop()


def save(seen: ViewerPage, path: Path) -> None:
    """Save a screenshot with few colours."""
    with TemporaryDirectory() as folder:
        seen.screenshot(Path(folder) / "shot.png")
        with Image.open(Path(folder) / "shot.png") as shot:
            shot.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
