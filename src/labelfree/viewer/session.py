"""The state of one viewed scene: layer, search, selection and corrections; it knows nothing of the browser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.corrections.store import read_corrections, write_corrections
from labelfree.corrections.value import Corrections, no_corrections
from labelfree.errors import InputError
from labelfree.files.presence import is_there
from labelfree.scene import Scene
from labelfree.viewer import colouring, editing, picking
from labelfree.viewer.layers import CORRECTED, INPUT, PREDICTION, VOTED, SceneLayers, Sources
from labelfree.viewer.picking import ScreenCamera
from labelfree.viewer.queries import embedded_words
from labelfree.viewer.ranking import RankedSegment, doubtful_segments, ranked_segments
from labelfree.viewer.sightings import Sighting, sightings
from labelfree.vocabulary import IGNORE_LABEL

NO_RUN = "corrections are kept in a run folder: view the folder of a run to correct its scenes"
READ_ONLY = "another viewer has this run, so its corrections are read-only here: correct them there, or close it"


@dataclass(frozen=True, eq=False)
class PointFacts:
    """What the viewer says about a point."""

    point: int
    position_m: NDArray[np.floating[Any]]
    """[3] metres, in the coordinates of the cloud's file."""
    labels: tuple[tuple[str, str], ...]
    """Name of each layer with labels, and the class there."""
    confidence: float | None
    segment: int | None
    seen: tuple[Sighting, ...]
    agreeing: int | None
    """Images whose voted label is the label shown; None without a teacher."""


@dataclass(eq=False)
class SceneSession:
    """One scene as it is viewed, with its corrections; every method changes or reads this state only."""

    scene: Scene
    sources: Sources
    file: Path | None = None
    """File of the corrections; None without a run folder."""
    writable: bool = True
    """Whether corrections may be made: no other viewer has the run."""
    layer: str = INPUT
    hidden: set[int] = field(default_factory=set)
    """Classes that are switched off."""
    below: float = 1.0
    """Share of the height up to which points are shown."""
    similarity: NDArray[np.float32] | None = None
    """[N] to the words of the search, if there is one."""
    threshold: float = 0.5
    """Of the range of the similarity, 0..1."""

    def __post_init__(self) -> None:
        self.layers = SceneLayers(self.scene, self.sources)
        self.selected = np.zeros(len(self.scene), np.bool_)
        self.edits = editing.opened(self._stored().labels)
        heights = self.scene.points_world @ self.scene.up_world().astype(np.float32)
        self._height = colouring.unit_range(heights)
        names = self.layer_names()
        self.layer = next((name for name in (PREDICTION, VOTED) if name in names), INPUT)

    # Layers

    def layer_names(self) -> tuple[str, ...]:
        """Return the layers that can be shown."""
        names = self.layers.names()
        return (*names, CORRECTED) if PREDICTION in names or VOTED in names else names

    def labels(self, layer: str | None = None) -> NDArray[np.uint8] | None:  # [N]
        """Return the labels of a layer, by default the shown one; None if it shows no classes."""
        layer = layer or self.layer
        if layer != CORRECTED:
            return self.layers.labels(layer)
        best = self.layers.best_labels()
        return None if best is None else editing.corrected_labels(best[1], self.edits)

    def shown(self) -> NDArray[np.bool_]:  # [N]
        """Return which points are shown: below the cut, and of a class that is not switched off."""
        mask = self._height <= self.below
        labels = self.labels() if self.hidden else None
        if self.hidden and labels is None:
            labels = self.labels(CORRECTED) if CORRECTED in self.layer_names() else None
        return mask if labels is None else mask & colouring.shown_points(labels, self.hidden)

    def colours(self) -> NDArray[np.uint8]:  # [N, 3]
        """Return the colour of every point in this state."""
        if self.similarity is not None:
            found = colouring.similarity_colours(self.similarity, self.threshold, self.layers.input_colours())
        elif self.layer == CORRECTED and self.sources.vocabulary is not None:
            labels = self.labels()
            found = self.layers.input_colours() if labels is None else self.sources.vocabulary.palette()[labels]
        else:
            found = self.layers.colours(self.layer)
        return colouring.with_selection(found, self.selected) if self.selected.any() else found

    # Search

    def search(self, words: str, features: str) -> None:
        """Compare the points with words; empty words end the search. Raises an `InputError` without CLIP."""
        if not words.strip():
            self.similarity = None
            return
        teachers = self.sources.teachers
        clip = None if teachers is None else getattr(teachers.namer, "clip", None)
        if teachers is None or clip is None or features not in self.layers.feature_names():
            raise InputError("This run has no CLIP text encoder, so its points cannot be searched by words.")
        text = embedded_words(words, clip.encode_text)
        self.similarity = self.layers.features(features).similarity(text, teachers.namer.text.cpu())

    def found(self) -> tuple[RankedSegment, ...]:
        """Return the segments of the search above the threshold, or all if none is, most similar first."""
        segments = self.layers.segments() if self.similarity is not None else None
        if segments is None or self.similarity is None:
            return ()
        above = ranked_segments(self.similarity, segments, self._least())
        return above or ranked_segments(self.similarity, segments)

    def above_threshold(self) -> NDArray[np.bool_]:  # [N]
        """Return the points of the search above the threshold; none without a search."""
        if self.similarity is None:
            return np.zeros(len(self.scene), np.bool_)
        return np.asarray(self.similarity >= self._least())

    def _least(self) -> float:
        known = self.similarity[np.isfinite(self.similarity)] if self.similarity is not None else np.zeros(0)
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        return low + self.threshold * (high - low)

    def majority_names(self, segments: tuple[RankedSegment, ...]) -> list[str]:
        """Return the most frequent class name of each segment, in the labels with corrections."""
        of_point, labels, vocabulary = self.layers.segments(), self.labels(CORRECTED), self.sources.vocabulary
        if of_point is None or labels is None or vocabulary is None:
            return ["" for _ in segments]
        return [self.class_name(np.bincount(labels[of_point == each.segment]).argmax()) for each in segments]

    # Points

    def pick(self, origin: NDArray[np.floating[Any]], direction: NDArray[np.floating[Any]]) -> int | None:
        """Return the shown point under a ray, or None."""
        return picking.pick(self.scene.points_world, origin, direction, self.shown())

    def facts(self, point: int) -> PointFacts:
        """Return what is known about a point."""
        names = [name for name in self.layer_names() if self.labels(name) is not None]
        labels = tuple((name, self.class_name(self._label(name, point))) for name in names)
        scores, segments = self.layers.scores(), self.layers.segments()
        seen = () if self.sources.teachers is None else sightings(self.scene, point, self.sources.teachers.pairing)
        return PointFacts(
            point,
            self.scene.output_points()[point],
            labels,
            None if scores is None else float(scores[point]),
            None if segments is None else int(segments[point]),
            seen,
            self._agreeing(seen, point),
        )

    def class_name(self, label: int | np.integer[Any]) -> str:
        """Return the name of a label."""
        vocabulary = self.sources.vocabulary
        return vocabulary.names[label] if vocabulary is not None and label < len(vocabulary) else "no label"

    def _label(self, layer: str, point: int) -> int:
        labels = self.labels(layer)
        return IGNORE_LABEL if labels is None else int(labels[point])

    def _agreeing(self, seen: tuple[Sighting, ...], point: int) -> int | None:
        teachers = self.sources.teachers
        if teachers is None or CORRECTED not in self.layer_names():
            return None
        label, (height, width), count = self._label(CORRECTED, point), teachers.size, 0
        for sighting in seen:
            frame = self.scene.frames[sighting.frame]
            row, column = sighting.row * height // frame.size[0], sighting.column * width // frame.size[1]
            count += int(teachers.voted_labels(frame)[row, column] == label)
        return count

    # Selection and corrections

    def select_segment(self, segment: int) -> None:
        """Select the points of a segment."""
        segments = self.layers.segments()
        if segments is not None:
            self.selected = segments == segment

    def select_around(self, point: int, radius_m: float) -> None:
        """Select the shown points within a distance of a point."""
        inside = picking.in_sphere(self.scene.points_world, self.scene.points_world[point], radius_m)
        self.selected = inside & self.shown()

    def select_box(self, camera: ScreenCamera, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Select the visible points in a rectangle of the screen, whose corners are in 0..1 from left and top."""
        self.selected = picking.in_rectangle(self.scene.points_world, camera, low, high, self.shown())

    def select(self, chosen: NDArray[np.bool_]) -> None:  # [N]
        """Select points."""
        self.selected = chosen

    def doubtful(self) -> tuple[RankedSegment, ...]:
        """Return the segments by expected wrong points, most first; empty without confidence or segments."""
        scores, segments = self.layers.scores(), self.layers.segments()
        if scores is None or segments is None:
            return ()
        return doubtful_segments(scores, segments, self.edits.labels != IGNORE_LABEL)

    def assign(self, label: int) -> int:
        """Give the selected points a class, 255 removes their correction; return how many changed.

        Raises an `InputError` if this scene cannot be corrected.
        """
        self.require_writable()
        before, self.edits = self.edits, editing.assign(self.edits, self.selected, label)
        self.selected = np.zeros(len(self.scene), np.bool_)
        return len(self.edits.edits[-1].points) if self.edits is not before else 0

    def require_writable(self) -> None:
        """Raise an `InputError` if this scene cannot be corrected here."""
        if self.file is None or self.sources.vocabulary is None:
            raise InputError(f"{self.scene.name}: {NO_RUN}.")
        if not self.writable:
            raise InputError(f"{self.scene.name}: {READ_ONLY}.")

    def undo(self) -> bool:
        """Undo the last edit; return whether there was one."""
        before, self.edits = self.edits, editing.undone(self.edits)
        return self.edits is not before

    def save(self) -> int:
        """Write the corrections; return how many points they correct."""
        self.require_writable()
        if self.file is not None and self.edits.unsaved:
            labels = self.edits.labels
            write_corrections(self.file, replace(self._empty(), labels=labels))
            self.edits = editing.marked_saved(self.edits, labels)
        return self.edits.corrected

    def _empty(self) -> Corrections:
        vocabulary = self.sources.vocabulary
        if vocabulary is None:
            return Corrections(self.scene.name, np.full(len(self.scene), IGNORE_LABEL, np.uint8), (), "")
        return no_corrections(self.scene, vocabulary)

    def _stored(self) -> Corrections:
        """Return the corrections of the file, or none."""
        if self.file is None or self.sources.vocabulary is None or not is_there(self.file):
            return self._empty()
        found = read_corrections(self.file)
        found.require_fits(self.scene)
        return found.of_classes(self.sources.vocabulary)
