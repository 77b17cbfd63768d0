"""Opens a report in headless Chromium, where that is installed, uses its controls and looks at the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.headless_browser import CHROMIUM, SOFTWARE_GL, browser
from helpers.results_room import TABLE, VOCABULARY, room_view
from labelfree.results.report import ReportContent, write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the report was not opened in a browser"),
]

PRESS_EVERYTHING = """(() => {
  const seen = [];
  const plot = document.getElementById("cloud-plot");
  const note = (what) => seen.push([what, plot.data.reduce((sum, trace) => sum + trace.x.length, 0)]);
  const set = (id, value, event) => {
    const control = document.getElementById(id);
    control.value = value;
    control.dispatchEvent(new Event(event));
  };
  for (const scene of ["1", "0"]) {
    set("cloud-scene", scene, "change");
    for (let i = 0; i < 5; i++) {
      const button = document.querySelectorAll("#cloud-modes button")[i];
      button.click();
      note(button.textContent);
    }
  }
  set("cloud-cut", "10", "input");
  note("cut");
  set("cloud-cut", "100", "input");
  note("uncut");
  return seen;
})()"""

NEXT_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


def report(folder: Path) -> Path:
    path = folder / "report.html"
    views = (room_view(8, name="first"), room_view(8, ceiling=True, name="second"))
    write_report(path, ReportContent("A room", ("Lines.",), ("Notice.",), "labelfree demo", VOCABULARY, clouds=views))
    return path


def test_the_cloud_is_visible_and_every_control_works_offline_without_an_error(tmp_path: Path) -> None:
    path, shot = report(tmp_path), tmp_path / "shot.png"
    with browser(tmp_path / "profile", *SOFTWARE_GL) as page:
        page.open(path.as_uri())
        check_controls(page.evaluate(PRESS_EVERYTHING))
        page.evaluate("document.getElementById('cloud').scrollIntoView()")
        page.evaluate(NEXT_FRAMES)
        page.screenshot(shot)
        sent = [url for url in page.requests if not url.startswith(("data:", "blob:"))]
        assert sent == [path.as_uri()]
        assert page.errors == []
    check_picture(shot)


def check_controls(seen: list[tuple[str, int]]) -> None:
    titles = [layer.title for layer in room_view().layers]
    assert [what for what, _ in seen] == [*titles, *titles, "cut", "uncut"]
    counts = [count for _, count in seen]
    everything = len(room_view().points_world)
    with_ceiling = len(room_view(ceiling=True).points_world)
    # The second room starts with its ceiling cut off; the low cut that follows leaves little of the first.
    assert counts[:5] == [counts[0]] * 5
    assert 0.8 * everything < counts[0] < with_ceiling
    assert counts[5:10] == [everything] * 5
    assert 0 < counts[10] < 0.6 * everything
    assert counts[11] == everything


def check_picture(shot: Path) -> None:
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)[:640]
    # This far up there is only the interactive view, whose legend's dots cover some 100 pixels of the table's colour.
    table = np.abs(pixels - np.array(VOCABULARY.colours[TABLE])).max(axis=-1) < 12
    assert table.sum() > 2000


def test_without_webgl_the_still_pictures_remain(tmp_path: Path) -> None:
    path = report(tmp_path)
    with browser(tmp_path / "profile", "--disable-3d-apis") as page:
        page.open(path.as_uri())
        assert "This browser offers no WebGL" in page.evaluate("document.getElementById('cloud').textContent")
        assert page.evaluate("document.getElementById('cloud-plot').hidden")
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
        assert page.errors == []


def test_errors_and_requests_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        "<script>console.error('one')</script><script>throw Error('two')</script><img src='http://x.invalid/'>"
    )
    with browser(tmp_path / "profile") as page:
        page.open(path.as_uri())
        errors = " ".join(page.errors)
        assert "one" in errors
        assert "two" in errors
        assert "http://x.invalid/" in page.requests
