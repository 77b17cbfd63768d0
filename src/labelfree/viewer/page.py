"""The shell that connects a viewed run with viser: controls, events and texts of the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labelfree.errors import InputError
from labelfree.viewer import page_text as text
from labelfree.viewer.canvas import MOST_POINTS, Canvas
from labelfree.viewer.layers import CORRECTED
from labelfree.viewer.pictures import PLAIN, picture, picture_kinds
from labelfree.viewer.ranking import RankedSegment
from labelfree.viewer.session import PointFacts, SceneSession
from labelfree.viewer.sightings import marked_image
from labelfree.vocabulary import IGNORE_LABEL

if TYPE_CHECKING:
    import viser

TYPING_SECONDS = 0.4
"""Pause in typing after which the words are searched."""
NOTHING, SEGMENT, SPHERE = "nothing", "its segment", "a sphere around it"
ERASE = "(remove the correction)"
IMAGES_SHOWN, IMAGE_HEIGHT = 3, 180
LISTED = 8

OpenScene = Callable[[str], SceneSession]


class Page:
    """One page with one scene at a time; all browsers that open it share its state."""

    def __init__(
        self,
        server: viser.ViserServer,
        scenes: Sequence[str],
        first: str,
        open_scene: OpenScene,
        notes: Sequence[str] = (),
    ) -> None:
        self.server, self.scenes, self.open_scene, self.notes = server, tuple(scenes), open_scene, tuple(notes)
        self.sessions: dict[str, SceneSession] = {}
        self.lock = threading.RLock()
        self.timer: threading.Timer | None = None
        self.listed: tuple[RankedSegment, ...] = ()
        self.images: list[Any] = []
        server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        server.gui.set_panel_label("labelfree view")
        server.scene.on_click()(lambda event: self._guarded(lambda: self._clicked(event)))
        server.scene.on_rect_select(modifier="shift")(lambda event: self._guarded(lambda: self._boxed(event)))
        self.show(first)

    def save_all(self) -> int:
        """Write the unsaved corrections of all scenes; return the number of scenes written."""
        with self.lock:
            unsaved = [session for session in self.sessions.values() if session.edits.unsaved]
            for session in unsaved:
                session.save()
            return len(unsaved)

    def show(self, name: str) -> None:
        """Show a scene: build its controls and draw it."""
        with self.lock:
            if name not in self.sessions:
                self.sessions[name] = self.open_scene(name)
            self.session = self.sessions[name]
            self.server.scene.reset()
            self.server.gui.reset()
            self.images, self.listed = [], ()
            self.canvas = Canvas(self.server, self.session)
            self._build()
            self.canvas.open()
            self.session.below = self.cut.value / 100
            self._redraw()
            self._draw_cameras()

    # Controls

    def _build(self) -> None:
        gui, session = self.server.gui, self.session
        self.status = gui.add_html(text.lines(self._introduction()))
        if len(self.scenes) > 1:
            scene = gui.add_dropdown("scene", self.scenes, initial_value=session.scene.name)
            self._on(scene, lambda: self.show(scene.value))
        self.layer = gui.add_dropdown("colour by", session.layer_names(), initial_value=session.layer)
        self._on(self.layer, self._layer_chosen)
        self.cut = gui.add_slider("shown height, %", 5, 100, 1, round(100 * self.canvas.cut()))
        self._on(self.cut, self._cut_moved)
        with gui.add_folder("search by words", expand_by_default=True):
            self._build_search()
        self.facts = gui.add_html(text.lines(["Click a point for its label, confidence and images."]))
        with gui.add_folder("correct", expand_by_default=True):
            self._build_corrections()
        with gui.add_folder("images", expand_by_default=False):
            self._build_images()
        with gui.add_folder("classes", expand_by_default=False):
            self._build_classes()

    def _build_search(self) -> None:
        gui, names = self.server.gui, self.session.layers.feature_names()
        if not names:
            gui.add_html(text.lines(["A search needs a run whose labels come from a CLIP model."]))
            self.ranking = None
            return
        self.words = gui.add_text("words", "")
        self.source = gui.add_dropdown("features", names)
        self.threshold = gui.add_slider("threshold, %", 0, 100, 1, round(100 * self.session.threshold))
        self.ranking = gui.add_html("")
        for control in (self.words, self.source):
            control.on_update(lambda _: self._typed())
        self._on(self.threshold, self._threshold_moved)
        self._on_click(gui.add_button("select points above the threshold"), self._select_found)

    def _build_corrections(self) -> None:
        gui, session = self.server.gui, self.session
        self.edit_status = gui.add_html("")
        if session.sources.vocabulary is None:
            return
        self.click = gui.add_dropdown("a click selects", (NOTHING, SEGMENT, SPHERE))
        self.radius = gui.add_slider("radius, m", 0.02, 2.0, 0.01, 0.2)
        self.target = gui.add_dropdown("class", (*session.sources.vocabulary.names, ERASE))
        self._on_click(gui.add_button("assign class to selection"), self._assign)
        self._on_click(gui.add_button("undo"), self._undo)
        self._on_click(gui.add_button("save"), self._save)
        self._on_click(gui.add_button("next doubtful segment"), self._next_doubtful)
        self.doubtful = gui.add_html("")
        self._tell_edits()

    def _build_images(self) -> None:
        gui, session = self.server.gui, self.session
        kinds = picture_kinds(session.sources, session.scene.frames)
        self.cameras = gui.add_checkbox("show cameras", bool(session.scene.frames))
        self.overlay = gui.add_dropdown("overlay", kinds, initial_value=PLAIN)
        self._on(self.cameras, self._draw_cameras)
        self._on(self.overlay, self._draw_cameras)

    def _build_classes(self) -> None:
        gui, vocabulary = self.server.gui, self.session.sources.vocabulary
        if vocabulary is None:
            gui.add_html(text.lines(["No class names."]))
            return
        gui.add_html(text.legend(vocabulary))
        self.boxes = [
            gui.add_checkbox(name, label not in self.session.hidden) for label, name in enumerate(vocabulary.names)
        ]
        for label, box in enumerate(self.boxes):
            self._on(box, partial(self._toggled, label, box))

    def _on(self, control: Any, action: Callable[[], None]) -> None:
        """Carry out an action when a browser changes a control."""
        control.on_update(lambda event: self._guarded(action) if event.client is not None else None)

    def _on_click(self, button: Any, action: Callable[[], None]) -> None:
        button.on_click(lambda _: self._guarded(action))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Carry out one action at a time; an error of the input becomes a line of the page."""
        with self.lock:
            try:
                action()
            except InputError as error:
                self.status.content = text.lines([str(error)])

    # Layers and search

    def _introduction(self) -> list[str]:
        scene = self.session.scene
        told = [f"{scene.name}: {len(scene):,} points, {len(scene.frames)} images", *self.notes]
        if self.canvas.subsampled:
            told.append(f"{MOST_POINTS:,} random points are drawn; clicks and corrections use all points.")
        return told

    def _redraw(self) -> None:
        with self.server.atomic():
            self.canvas.draw()

    def _layer_chosen(self) -> None:
        self.session.layer, self.session.similarity = self.layer.value, None
        if self.ranking is not None:
            self.ranking.content = ""
        self._redraw()

    def _cut_moved(self) -> None:
        self.session.below = self.cut.value / 100
        self._redraw()

    def _toggled(self, label: int, box: Any) -> None:
        (self.session.hidden.discard if box.value else self.session.hidden.add)(label)
        self._redraw()

    def _typed(self) -> None:
        """Search after a pause in typing."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = threading.Timer(TYPING_SECONDS, lambda: self._guarded(self._search))
        self.timer.daemon = True
        self.timer.start()

    def _search(self) -> None:
        self.session.search(self.words.value, self.source.value)
        self._show_ranking()

    def _threshold_moved(self) -> None:
        self.session.threshold = self.threshold.value / 100
        self._show_ranking()

    def _show_ranking(self) -> None:
        session = self.session
        self._redraw()
        if self.ranking is None or session.similarity is None:
            return
        found = session.found()
        above = int(session.above_threshold().sum())
        listed = text.ranking(found, session.majority_names(found[:LISTED]), "similarity") if found else ""
        self.ranking.content = text.lines([f"{above:,} points above the threshold"]) + listed

    def _select_found(self) -> None:
        self.session.select(self.session.above_threshold())
        self._tell_edits()
        self._redraw()

    # Clicks

    def _clicked(self, event: Any) -> None:
        session = self.session
        point = session.pick(self.canvas.world(event.ray_origin), np.asarray(event.ray_direction, np.float64))
        if point is None:
            return
        facts = session.facts(point)
        if session.sources.vocabulary is not None:
            if self.click.value == SEGMENT and facts.segment is not None:
                session.select_segment(facts.segment)
            elif self.click.value == SPHERE:
                session.select_around(point, self.radius.value)
            self._tell_edits()
        self._tell_facts(facts)
        self._redraw()

    def _boxed(self, event: Any) -> None:
        camera = self.canvas.screen_camera(event.client.camera)
        self.session.select_box(camera, event.screen_min, event.screen_max)
        self._tell_edits()
        self._redraw()

    def _tell_facts(self, facts: PointFacts) -> None:
        where = ", ".join(f"{value:.3f}" for value in facts.position_m)
        rows = [("point", f"{facts.point:,} at {where} m"), *facts.labels]
        if facts.confidence is not None:
            rows.append(("confidence", f"{facts.confidence:.3f}"))
        if facts.segment is not None:
            rows.append(("segment", f"{facts.segment}"))
        agreeing = "" if facts.agreeing is None else f", {facts.agreeing} of them with this label"
        rows.append(("support", f"{len(facts.seen)} images{agreeing}"))
        names = [self.session.scene.frames[each.frame].name for each in facts.seen[:IMAGES_SHOWN]]
        if names:
            rows.append(("images", ", ".join(names)))
        self.facts.content = text.table(("clicked", ""), rows)
        for handle in self.images:
            handle.remove()
        frames = self.session.scene.frames
        shown = [
            marked_image(frames[each.frame].load_image(), each.row, each.column, IMAGE_HEIGHT)
            for each in facts.seen[:IMAGES_SHOWN]
        ]
        self.images = [self.server.gui.add_image(image, order=self.facts.order + 1e-4) for image in shown]

    # Corrections

    def _assign(self) -> None:
        vocabulary = self.session.sources.vocabulary
        if vocabulary is None:
            return
        chosen = self.target.value
        changed = self.session.assign(IGNORE_LABEL if chosen == ERASE else vocabulary.index(chosen))
        self._tell_edits(f"{changed:,} points changed")
        self._show_corrected()

    def _undo(self) -> None:
        self._tell_edits("the last edit was undone" if self.session.undo() else "there is nothing to undo")
        self._show_corrected()

    def _save(self) -> None:
        self._tell_edits(f"saved {self.session.save():,} corrected points")

    def _show_corrected(self) -> None:
        """Show the labels with corrections, so that the edit is visible."""
        self.session.similarity = None
        if CORRECTED in self.session.layer_names():
            self.session.layer = self.layer.value = CORRECTED
        self._redraw()

    def _tell_edits(self, first: str = "") -> None:
        session, edits = self.session, self.session.edits
        told = [first] if first else []
        told.append(f"{int(session.selected.sum()):,} points selected")
        told.append(f"{edits.corrected:,} points corrected, {'not saved' if edits.unsaved else 'saved'}")
        self.edit_status.content = text.lines(told)

    def _next_doubtful(self) -> None:
        """Select the most doubtful segment that was not offered yet, and look at it."""
        listed = self.session.doubtful()
        offered = {each.segment for each in self.listed}
        rest = [each for each in listed if each.segment not in offered]
        if not rest:
            self.listed = ()
            raise InputError("There is no further doubtful segment: it needs a 3D network and SAM's masks.")
        self.listed = (*self.listed, rest[0])
        self.doubtful.content = text.ranking(rest, self.session.majority_names(tuple(rest[:LISTED])), "confidence")
        self.session.select_segment(rest[0].segment)
        self.canvas.look_at(self.session.selected)
        self._tell_edits()
        self._redraw()

    # Images

    def _draw_cameras(self) -> None:
        session, kind = self.session, self.overlay.value
        chosen = self.canvas.camera_frames() if self.cameras.value else []
        pictures = {index: picture(session.sources, session.scene.frames[index], kind) for index in chosen}
        self.canvas.draw_cameras(self.cameras.value, pictures)
        for index, handle in self.canvas.frusta.items():
            self._on_click(handle, partial(self.canvas.look_through, index))
