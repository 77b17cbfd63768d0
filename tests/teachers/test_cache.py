"""The teachers' cache: a damaged entry counts as missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.damage import single_bit_flips
from labelfree.teachers.cache import TeacherCache

DIGEST = "0123456789abcdef0123"


def test_a_damaged_entry_counts_as_missing(tmp_path: Path) -> None:
    shelf = TeacherCache(tmp_path).shelf("clip", model="m")
    random = np.random.default_rng(0)
    features = random.normal(size=(7, 9, 4)).astype(np.float16)
    arrays: dict[str, NDArray[Any]] = {"features": features, "owners": np.arange(5)}
    picture = random.integers(0, 9, (20, 30)).astype(np.uint16)
    shelf.put_arrays(DIGEST, arrays)
    shelf.put_picture(DIGEST, picture)
    for damage in single_bit_flips(shelf.folder / f"{DIGEST[:16]}.safetensors"):
        assert shelf.arrays(DIGEST) is None, damage
    for damage in single_bit_flips(shelf.folder / f"{DIGEST[:16]}.png"):
        assert shelf.picture(DIGEST) is None, damage
    stored = shelf.arrays(DIGEST)
    assert stored is not None
    assert {name: array.tolist() for name, array in stored.items()} == {n: a.tolist() for n, a in arrays.items()}
    assert np.array_equal(shelf.picture(DIGEST), picture)  # type: ignore[arg-type]
    (shelf.folder / f"{DIGEST[:16]}.png").unlink()
    (shelf.folder / f"{DIGEST[:16]}.png").mkdir()
    assert shelf.picture(DIGEST) is None
