"""Opens a report in headless Chromium, where that is installed, and reads the console and the picture."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_room import TABLE, VOCABULARY, room_view

from labelfree.results import ReportContent, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the report was not opened in a browser"),
]

SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")

# Chromium's log does not tell errors from remarks, so only these known remarks of Plotly's drawing are let through.
REMARKS = re.compile(r"ReadPixels|willReadFrequently")

PRESS_EVERYTHING = """<script>
  window.addEventListener("load", () => {
    const seen = [];
    const plot = document.getElementById("cloud-plot");
    const note = (what) => seen.push([what, (plot.data || []).reduce((sum, trace) => sum + trace.x.length, 0)]);
    const scene = document.getElementById("cloud-scene");
    for (const index of [1, 0]) {
      scene.value = String(index); scene.dispatchEvent(new Event("change"));
      for (let i = 0; i < 5; i++) { const b = document.querySelectorAll("#cloud-modes button")[i]; b && b.click(); note(b ? b.textContent : "-"); }
    }
    const cut = document.getElementById("cloud-cut");
    cut.value = "10"; cut.dispatchEvent(new Event("input")); note("cut");
    cut.value = "100"; cut.dispatchEvent(new Event("input")); note("uncut");
    document.body.insertAdjacentHTML("beforeend", "<pre id='probe'>" + JSON.stringify(seen) + "</pre>");
  });
</script>"""


def browse(page: Path, *flags: str) -> tuple[str, list[str]]:
    """Return the document after its scripts ran and what the page wrote to the console."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={page.parent / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=1500",
            "--enable-logging=stderr",
            "--v=0",
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line and f"source: {page.as_uri()}" in line]
    return done.stdout, [line for line in lines if not REMARKS.search(line)]


def report(folder: Path, probe: str = "") -> Path:
    path = folder / "report.html"
    views = (room_view(8, name="first"), room_view(8, ceiling=True, name="second"))
    write_report(path, ReportContent("A room", ("Lines.",), ("Notice.",), "labelfree demo", VOCABULARY, clouds=views))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</body>", probe + "</body>"), encoding="utf-8")
    return path


def test_the_cloud_is_visible_and_the_console_silent(tmp_path):
    page, shot = report(tmp_path), tmp_path / "shot.png"
    _, console = browse(page, *SOFTWARE_GL, "--window-size=900,1500", f"--screenshot={shot}")
    assert console == []
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The interactive view is far larger than a still picture, so most of the table's pixels are its own.
    table = np.abs(pixels - np.array(VOCABULARY.colours[TABLE])).max(axis=-1) < 12
    assert table.sum() > 4000


def test_every_control_works(tmp_path):
    page = report(tmp_path, PRESS_EVERYTHING)
    document, console = browse(page, *SOFTWARE_GL, "--dump-dom")
    assert console == []
    found = re.search(r"<pre id=\"probe\">(.*?)</pre>", document)
    assert found is not None
    seen = json.loads(found.group(1))
    titles = [layer.title for layer in room_view().layers]
    assert [what for what, _ in seen] == [*titles, *titles, "cut", "uncut"]
    counts = [count for _, count in seen]
    everything = len(room_view().points_world)
    # The second room starts with its ceiling cut off; the cut that follows leaves little of the first.
    assert counts[:5] == [counts[0]] * 5
    assert counts[0] <= everything
    assert counts[5:10] == [everything] * 5
    assert 0 < counts[10] < 0.6 * everything
    assert counts[11] == everything


def test_without_webgl_the_still_pictures_remain(tmp_path):
    document, console = browse(report(tmp_path), "--disable-3d-apis", "--dump-dom")
    assert console == []
    assert "This browser offers no WebGL" in document
    assert 'id="cloud-plot" hidden' in document
