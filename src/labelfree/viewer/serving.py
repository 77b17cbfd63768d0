"""The server of the viewer: the extra it needs, its address, and the end of its work."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING

from labelfree.errors import InputError
from labelfree.viewer.session import SceneSession

if TYPE_CHECKING:
    from labelfree.viewer.page import Page

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost", "::1")
OWN_PAGES = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
"""Origins of pages that this machine serves; an SSH tunnel may change the port."""
PORT = 8080
LAST_PORT = 65535


def require_viser() -> None:
    """Raise an `InputError` if viser is not installed."""
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise InputError("'labelfree view' needs viser: install it with pip install 'labelfree[viewer]'.") from error


def require_free(host: str, port: int) -> None:
    """Raise an `InputError` if the server cannot listen at an address; port 0 is any free port."""
    if not 0 <= port <= LAST_PORT:
        raise InputError(f"--port is {port}: give a number from 0 to {LAST_PORT}; 0 takes any free port.")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--host {host} --port {port}: cannot be used ({reason}); give another --port, or 0 for any free one."
        ) from error


def start(
    host: str,
    port: int,
    scenes: Sequence[str],
    first: str,
    open_scene: Callable[[str], SceneSession],
    notes: Sequence[str] = (),
) -> Page:
    """Start the server with a page that shows the first scene; return the page."""
    require_viser()
    require_free(host, port)
    import viser

    from labelfree.viewer.page import Page

    with redirect_stdout(io.StringIO()), _own_pages_only(host):  # viser prints a banner
        server = viser.ViserServer(host=host, port=port, label="labelfree view", verbose=False)
    return Page(server, scenes, first, open_scene, notes)


@contextmanager
def _own_pages_only(host: str) -> Iterator[None]:
    """Let a server that is started in this block refuse the pages of other sites, if it serves this machine only.

    A page of any site may open a WebSocket to this machine, and viser does not look at where it comes from.
    """
    if host not in LOOPBACK_NAMES:
        yield
        return
    from websockets.asyncio import server

    original = server.serve
    vars(server)["serve"] = partial(original, origins=[None, OWN_PAGES])
    try:
        yield
    finally:
        vars(server)["serve"] = original


def serve(page: Page, told: Callable[[str], None]) -> None:
    """Wait until a signal ends the command; unsaved corrections are written then."""
    try:
        threading.Event().wait()
    finally:
        saved = page.save_all()
        if saved:
            told(f"saved the corrections of {saved} scene(s)")
        with redirect_stdout(io.StringIO()):
            page.server.stop()
