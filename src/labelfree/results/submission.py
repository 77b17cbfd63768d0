"""Point labels in the format of a dataset's benchmark, for its server or its own evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labelfree.data.collection import SceneCollection
from labelfree.data.layout import BenchmarkSource
from labelfree.data.relabelling import id_table
from labelfree.errors import InputError
from labelfree.files.outputs import OutputFolder
from labelfree.prediction import Prediction
from labelfree.runtime.progress import Progress
from labelfree.scene import Scene
from labelfree.vocabulary import Vocabulary


def save_submission(
    scenes: SceneCollection, label: Callable[[Scene], Prediction], classes: Vocabulary, folder: Path, split: str | None
) -> tuple[str, ...]:
    """Write the point labels of every scene; return the classes that the benchmark does not know.

    Classes are matched by name; unknown ones are written as unlabelled. Raises an `InputError` before any work if the
    data has no benchmark, or if the benchmark knows none of the classes.
    """
    if scenes.classes is None or not all(isinstance(source, BenchmarkSource) for source in scenes.sources):
        raise InputError(
            f"{folder}: --submission is for points of ScanNet, nuScenes, SemanticKITTI and described rigs; omit it "
            "to write labelled clouds and images."
        )
    table = id_table(classes.names, Vocabulary.from_names(scenes.classes))
    unknown = tuple(name for name in classes.names if name not in scenes.classes)
    if len(unknown) == len(classes.names):
        raise InputError(f"None of the network's classes ({', '.join(unknown)}) is one of {', '.join(scenes.classes)}.")
    sources = [source for source in scenes.sources if isinstance(source, BenchmarkSource)]
    OutputFolder(folder).claim(source.submission_file(folder, split) for source in sources)
    with Progress("predict", len(scenes)) as progress:
        for source, scene in zip(sources, scenes):
            stored = replace(label(scene), kept=scene.kept).in_file_order()
            source.submit(table[stored.labels], folder, split)
            progress.advance()
    return unknown
