"""Opens the viewer in headless Chromium: cloud, search, click, correction, restart; and what goes wrong there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.headless_browser import CHROMIUM

pytest.importorskip("viser", reason="viser is not installed: the viewer was not opened")
pytest.importorskip("playwright", reason="playwright is not installed: the viewer was not opened")

from helpers.viewed_run import make_run, served
from helpers.viewer_page import densest, opened, visible
from labelfree.vocabulary import Vocabulary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the viewer was not opened in a browser"),
]

SMALL = (900, 700)
"""Software draws a small window faster."""
EVIL = "<img src=x onerror=window.evil=1>"


@pytest.fixture
def folder(room: Path, tmp_path: Path) -> Path:
    """A run whose third class has markup in its name, on a room with such a name."""
    data = tmp_path / "<b onclick=alert(1)>{1+1}"
    shutil.copytree(room, data)
    return make_run(tmp_path / "run", data, Vocabulary.from_names(("wall", "floor", EVIL, "chair")))


def test_open_search_click_correct_and_restart(folder: Path) -> None:
    data = next(path for path in folder.parent.iterdir() if path.name.startswith("<b"))
    with served(folder, data) as served_page, opened(url_of(served_page.server.get_port()), SMALL) as seen:
        # The cloud is visible
        plain = seen.drawn()
        assert data.name in seen.text()
        # Words change the colours and the ranking
        seen.search("chair")
        found = seen.drawn()
        assert (found != plain).any(axis=-1).sum() > 0.2 * visible(plain)
        # A click shows label and confidence
        seen.choose("a click selects", "its segment")
        seen.click(*densest(found))
        seen.says("confidence", "support", "prediction")
        seen.until(lambda: "\n0 points selected" not in seen.text(), "the click selected nothing")
        # A correction, an undo and a save
        seen.choose("class", EVIL)
        seen.press("assign class to selection")
        seen.until(lambda: seen.corrected() > 0, "nothing was corrected")
        count = seen.corrected()
        seen.press("undo")
        seen.until(lambda: seen.corrected() == 0, "the edit was not undone")
        seen.press("next doubtful segment")
        seen.until(lambda: "\n0 points selected" not in seen.text(), "no doubtful segment was offered")
        seen.press("assign class to selection")
        seen.until(lambda: seen.corrected() > 0, "nothing was corrected")
        count = seen.corrected()
        seen.press("save")
        seen.says(f"saved {count:,} corrected points")
        check_clean(seen.errors, seen.requests, served_page.server.get_port())
        assert seen.page.evaluate("window.evil") is None
        check_other_sites_are_refused(served_page.server.get_port())
    # The browser is gone, the server is started again
    with served(folder, data) as again, opened(url_of(again.server.get_port()), SMALL) as seen:
        seen.drawn()
        assert seen.corrected() == count
        assert np.count_nonzero(again.session.edits.labels != 255) == count


def check_clean(errors: list[str], requests: list[str], port: int) -> None:
    assert errors == []
    assert all(url.startswith((url_of(port), f"blob:{url_of(port)}", "data:")) for url in requests)


def check_other_sites_are_refused(port: int) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect
    from websockets.typing import Origin

    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", origin=Origin("http://evil.example"))
    connect(f"ws://127.0.0.1:{port}", origin=Origin(url_of(port))).close()


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"
