"""The viewer's page in headless Chromium, driven by playwright: what a person does with it, and what is seen."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from helpers.headless_browser import CHROMIUM, SOFTWARE_GL

PATIENCE_MS = 400_000
"""For machines that are shared with other work; nothing waits that long where the page answers."""
SIZE = (1280, 1000)
PANEL = 400
"""Width of the panel of controls at the right, and a margin, in pixels."""
BENIGN = ("THREE.Clock", "GL Driver Message", "GPU stall")


class ViewerPage:
    """One browser with the page of the viewer."""

    def __init__(self, page: Page, url: str, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        self.page, self.errors, self.requests = page, list[str](), list[str]()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url, wait_until="commit")
        page.get_by_text("Click a point", exact=False).wait_for()
        close = page.get_by_text("Software WebGL rendering detected")
        if close.count():
            page.evaluate("document.querySelectorAll('.mantine-Notification-root').forEach(n => n.remove())")

    def text(self) -> str:
        """Return the text of the panel."""
        return str(self.page.inner_text("body"))

    def pixels(self) -> NDArray[np.uint8]:  # [H, W, 3]
        """Return the picture of the cloud, without the panel."""
        clip = {"x": 0, "y": 0, "width": self.size[0] - PANEL, "height": self.size[1]}
        with Image.open(io.BytesIO(self.page.screenshot(clip=clip, timeout=PATIENCE_MS))) as picture:
            return np.asarray(picture.convert("RGB"))

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; raise an AssertionError that names it otherwise."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < end, f"{what} (load of the machine: {os.getloadavg()[0]:.1f})\n{self.text()}"
            self.page.wait_for_timeout(200)

    def says(self, *words: str) -> None:
        """Wait until the panel contains each of these words."""
        self.until(lambda: all(word in self.text() for word in words), f"the panel never said {words}")

    def drawn(self) -> NDArray[np.uint8]:
        """Return the picture once a cloud is drawn in it and stands still."""
        last = [self.pixels()]

        def still() -> bool:
            now = self.pixels()
            same, last[0] = np.array_equal(now, last[0]), now
            return same and visible(now) > 5000

        self.until(still, "no cloud is drawn")
        return last[0]

    def choose(self, control: str, option: str) -> None:
        """Choose an option of a dropdown."""
        row = self.page.get_by_text(control, exact=True)
        box = row.locator("xpath=following::input[1]")
        box.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def search(self, words: str) -> None:
        """Type words into the search and wait for the ranking."""
        box = self.page.get_by_text("words", exact=True).locator("xpath=following::input[1]")
        box.fill(words)
        self.says("points above the threshold", "similarity")

    def press(self, button: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=button, exact=True).click()

    def click(self, column: int, row: int) -> None:
        """Click into the picture."""
        self.page.mouse.click(column, row)

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drag a rectangle with the shift key."""
        self.page.keyboard.down("Shift")
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)
        self.page.mouse.up()
        self.page.keyboard.up("Shift")

    def corrected(self) -> int:
        """Return the number of corrected points that the panel tells."""
        found = re.search(r"([\d,]+) points corrected", self.text())
        return int(found.group(1).replace(",", "")) if found else -1

    def screenshot(self, path: Path) -> None:
        """Save what is seen as PNG."""
        self.page.screenshot(path=str(path), timeout=PATIENCE_MS)


def visible(pixels: NDArray[np.uint8]) -> int:
    """Return the number of pixels that are not white, the background."""
    return int((pixels.min(axis=-1) < 240).sum())


def densest(pixels: NDArray[np.uint8], half: int = 12) -> tuple[int, int]:
    """Return column and row of a place in the middle of the drawn cloud, all of whose neighbours are drawn."""
    drawn = (pixels.min(axis=-1) < 240).astype(np.int64)
    sums = np.pad(drawn.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    size = 2 * half + 1
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(column) + half, int(row) + half


@contextmanager
def opened(url: str, size: tuple[int, int] = SIZE) -> Iterator[ViewerPage]:
    """Open the page in a new browser."""
    flags = ["--no-sandbox", "--hide-scrollbars", *SOFTWARE_GL]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, timeout=PATIENCE_MS)
        try:
            yield ViewerPage(browser.new_page(viewport={"width": size[0], "height": size[1]}), url, size)
        finally:
            browser.close()
