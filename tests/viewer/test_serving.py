"""The address of the viewer: ports in use, wrong hosts, and a missing extra."""

from __future__ import annotations

import builtins
import socket
from pathlib import Path
from typing import Any

import pytest

from labelfree.cli.main import main
from labelfree.errors import InputError
from labelfree.viewer.serving import LOOPBACK, require_free, require_viser


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
