from __future__ import annotations

import numpy as np
import pytest

from labelfree.errors import InputError
from labelfree.files.names import require_safe_name
from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene

UNSAFE = (
    "",
    " ",
    "..",
    "../x",
    "a/../b",
    "/etc/x",
    "a//b",
    "a/",
    "./a",
    "a\nb",
    "a\x1b[31m",
    "a\x00",
    "a\\..\\b",
    "é" * 120,
)
SAFE = ("a", "room?1", "CAM_FRONT/0001", "a..b", ".hidden", "scene-0061-007", "1.25", "a b", "Küche")


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe(name: str) -> None:
    with pytest.raises(InputError, match=r"^capture\.yaml: name is") as caught:
        require_safe_name(name, "capture.yaml: name")
    assert str(caught.value).isprintable()
    pixels = ImageArray(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError):
        Frame(name, pixels, np.diag([4.0, 4, 1]), np.eye(4), (4, 4))
    with pytest.raises(InputError):
        Scene(name, np.zeros((1, 3), np.float32), ())


def test_too_long() -> None:
    with pytest.raises(InputError, match="shorten it"):
        require_safe_name("é" * 120, "name")


@pytest.mark.parametrize("name", SAFE)
def test_safe(name: str) -> None:
    assert require_safe_name(name, "name") == name
