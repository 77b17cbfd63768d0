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

SECONDS = 300
"""Far more than the few seconds needed, for machines whose cores are busy with training."""

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--proxy-server=127.0.0.1:9",
    "--enable-logging=stderr",
    "--v=0",
)

# Chromium's log does not tell errors from remarks, so only these known remarks of Plotly's drawing are let through.
REMARKS = re.compile(r"ReadPixels|willReadFrequently")

PRESS_EVERYTHING = """<script>
  window.addEventListener("load", () => {
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
    document.body.insertAdjacentHTML("beforeend", "<pre id='probe'>" + JSON.stringify(seen) + "</pre>");
  });
</script>"""


def browse(page: Path, *flags: str) -> tuple[str, list[str]]:
    """Return the document after its scripts ran and what the page wrote to the console."""
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={page.parent / 'profile'}", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line and f"source: {page.as_uri()}" in line]
    return done.stdout, [line for line in lines if not REMARKS.search(line)]


def report(folder: Path, probe: str = "") -> Path:
    path = folder / "report.html"
    views = (room_view(8, name="first"), room_view(8, ceiling=True, name="second"))
    write_report(path, ReportContent("A room", ("Lines.",), ("Notice.",), "labelfree demo", VOCABULARY, clouds=views))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</body>", probe + "</body>"), encoding="utf-8")
    return path


def test_the_cloud_is_visible_every_control_works_and_the_console_stays_silent(tmp_path):
    page, shot = report(tmp_path, PRESS_EVERYTHING), tmp_path / "shot.png"
    software_gl = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--virtual-time-budget=1000")
    document, console = browse(page, *software_gl, "--window-size=900,1300", f"--screenshot={shot}")
    assert console == []
    check_controls(document)
    check_picture(shot)


def check_controls(document: str) -> None:
    found = re.search(r"<pre id=\"probe\">(.*?)</pre>", document)
    assert found is not None
    seen = json.loads(found.group(1))
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
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The still pictures lie below the window's edge, and the legend's dots cover some 300 pixels.
    table = np.abs(pixels - np.array(VOCABULARY.colours[TABLE])).max(axis=-1) < 12
    assert table.sum() > 3000


def test_without_webgl_the_still_pictures_remain(tmp_path):
    document, console = browse(report(tmp_path), "--disable-3d-apis")
    assert console == []
    assert "This browser offers no WebGL" in document
    assert 'id="cloud-plot" hidden' in document
