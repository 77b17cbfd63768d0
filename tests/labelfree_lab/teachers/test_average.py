"""The mean of two stages of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from labelfree.errors import InputError
from labelfree_lab.teachers.average import average_weights, main


def stage(folder: Path, value: float, width: int = 3) -> Path:
    folder.mkdir()
    save_file({"layer.weight": torch.full((2, width), value)}, folder / "model.safetensors")
    (folder / "config.json").write_text(f'{{"stage": {value}}}')
    return folder


def test_each_weight_is_the_weighted_mean(tmp_path: Path) -> None:
    first, second = stage(tmp_path / "a", 1.0), stage(tmp_path / "b", 5.0)
    main([str(first), str(second), "--share", "0.25", "--out", str(tmp_path / "mean")])
    mean = load_file(tmp_path / "mean" / "model.safetensors")["layer.weight"]
    assert mean.dtype == torch.float16
    assert torch.equal(mean, torch.full((2, 3), 2.0, dtype=torch.float16))
    assert (tmp_path / "mean" / "config.json").read_text() == '{"stage": 5.0}'


def test_networks_that_differ_and_impossible_shares_are_refused(tmp_path: Path) -> None:
    first, second = stage(tmp_path / "a", 1.0), stage(tmp_path / "b", 5.0, width=4)
    with pytest.raises(InputError, match="different networks"):
        average_weights(first, second, 0.5, tmp_path / "mean")
    with pytest.raises(InputError, match=r"share is 1\.5"):
        average_weights(first, first, 1.5, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
