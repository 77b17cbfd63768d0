"""The address of the viewer: ports in use, wrong hosts, and a missing extra."""

from __future__ import annotations

import builtins
import socket
from pathlib import Path
from typing import Any

import pytest

from helpers.viewed_run import served
from labelfree.cli.main import main
from labelfree.errors import InputError
from labelfree.viewer.serving import LOOPBACK, OWN_PAGES, require_free, require_viser


def test_a_port_in_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("viser")
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=r"give another --port, or 0"):
            require_free(LOOPBACK, port)
        assert main(["view", str(tmp_path), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"--port {port}" in error
    assert error.count("\n") == 1
    require_free(LOOPBACK, port)


@pytest.mark.parametrize(("host", "port"), [("no host", 0), (LOOPBACK, 70000), (LOOPBACK, -1), ("203.0.113.7", 0)])
def test_addresses_that_cannot_be_used(host: str, port: int) -> None:
    with pytest.raises(InputError, match="--port"):
        require_free(host, port)


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_viser(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "viser":
            raise ImportError(name)
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without_viser)
    with pytest.raises(InputError, match=r"pip install 'labelfree\[viewer\]'"):
        require_viser()


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:8080", True),
        (None, True),
        ("http://evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("https://evil.example/http://localhost", False),
        ("null", False),
    ],
)
def test_pages_of_other_sites_are_refused(origin: str | None, accepted: bool) -> None:
    websockets = pytest.importorskip("websockets")
    found = websockets.server.ServerProtocol(origins=[None, OWN_PAGES])
    headers = websockets.Headers([] if origin is None else [("Origin", origin)])
    if accepted:
        assert found.process_origin(headers) == origin
    else:
        with pytest.raises(websockets.exceptions.InvalidOrigin):
            found.process_origin(headers)


def test_a_browser_that_disconnects_loses_nothing(viewed: Path, room: Path) -> None:
    viser, client = pytest.importorskip("viser"), pytest.importorskip("websockets.sync.client")
    with served(viewed, room) as page:
        url = f"ws://{LOOPBACK}:{page.server.get_port()}"
        for _ in range(2):
            connection = client.connect(url, subprotocols=[f"viser-v{viser.__version__}"], max_size=None)
            assert connection.recv()
            page.session.select_around(10, 0.4)
            page.session.assign(page.session.edits.corrected % 2 + 1)
            connection.socket.shutdown(socket.SHUT_RDWR)  # as when a laptop closes
        assert page.session.edits.corrected > 0
        assert page.session.edits.unsaved
        page.session.undo()
        page.session.undo()
        assert not page.session.edits.unsaved
