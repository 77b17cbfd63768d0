from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelfree.errors import InputError
from labelfree.lab import corpus as corpus_module
from labelfree.lab.corpus import open_corpus, write_corpus

SIZE = (12, 16)


def test_corpus_round_trip(tmp_path: Path) -> None:
    write_corpus(tmp_path, 2, 2, 1, first_seed=1_000_000, size=SIZE)
    corpus = open_corpus(tmp_path)
    assert len(corpus) == 6
    assert corpus.images.shape == (6, 12, 16, 3)
    assert corpus.instances.dtype == np.uint16
    assert corpus.room.tolist() == [1_000_000] * 3 + [1_000_001] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.npy",
        "corpus.json",
        "images.npy",
        "instances.npy",
        "room.npy",
    ]


def test_an_interrupted_corpus_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path / "whole", 3, 1, 1, first_seed=7, size=SIZE)
    real = corpus_module.build_room

    def failing(seed: int) -> object:
        if seed == 8:
            raise KeyboardInterrupt
        return real(seed)

    monkeypatch.setattr(corpus_module, "build_room", failing)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "broken", 3, 1, 1, first_seed=7, size=SIZE)
    with pytest.raises(InputError, match=r"corpus\.json"):
        open_corpus(tmp_path / "broken")
    built = []
    monkeypatch.setattr(corpus_module, "build_room", lambda seed: built.append(seed) or real(seed))
    write_corpus(tmp_path / "broken", 3, 1, 1, first_seed=7, size=SIZE)
    assert built == [8, 9]
    assert np.array_equal(open_corpus(tmp_path / "whole").images, open_corpus(tmp_path / "broken").images)


def test_another_corpus_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path, 1, 1, 0, first_seed=7, size=SIZE)
    with pytest.raises(InputError, match="another corpus"):
        write_corpus(tmp_path, 1, 1, 0, first_seed=8, size=SIZE)
