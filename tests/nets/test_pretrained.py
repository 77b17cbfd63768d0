"""Networks on disk: damage, malformed files and values that are no numbers are refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.damage import single_bit_flips
from labelfree.config.networks import Segmenter3DConfig
from labelfree.errors import InputError
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter3D
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import CONFIG_NAME, WEIGHTS_NAME, read_weights, write_model


def network() -> Segmenter3D:
    torch.manual_seed(0)
    config = Segmenter3DConfig(
        "MinkUNet14A", planes=(8,) * 8, first_width=8, in_channels=3, voxel_m=0.2, text_width=8, latent_width=4
    )
    return Segmenter3D(config, random_orthogonal(8, 3).T.contiguous(), Vocabulary(("wall", "floor", "chair")))


@pytest.mark.parametrize("name", [WEIGHTS_NAME, CONFIG_NAME])
def test_a_flipped_bit_never_gives_another_network(tmp_path: Path, name: str) -> None:
    intact = network()
    intact.save_pretrained(tmp_path)
    refused = 0
    for damage in single_bit_flips(tmp_path / name):
        try:
            found = Segmenter3D.from_pretrained(tmp_path)
        except InputError:
            refused += 1
            continue
        assert (found.config, found.vocabulary) == (intact.config, intact.vocabulary), damage
        same = zip(found.state_dict().values(), intact.state_dict().values(), strict=True)
        assert all(torch.equal(mine, its) for mine, its in same), damage
    assert refused > 40


def test_a_published_network_without_checksums_is_read(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path)
    description = json.loads((tmp_path / CONFIG_NAME).read_text())
    del description["sha256"]
    (tmp_path / CONFIG_NAME).write_text(json.dumps(description))
    assert Segmenter3D.from_pretrained(tmp_path).vocabulary.names == ("wall", "floor", "chair")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    bad = network()
    bad.save_pretrained(tmp_path)
    weights = load_file(tmp_path / WEIGHTS_NAME)
    weights["varphi_s.bias"][1] = value
    save_file(weights, tmp_path / WEIGHTS_NAME)
    for read in (Segmenter3D.from_pretrained, read_weights):
        with pytest.raises(InputError, match=r"model\.safetensors: 'varphi_s\.bias' holds NaN or infinite values"):
            read(tmp_path)
    bad.load_state_dict(weights)
    with pytest.raises(InputError, match=r"not written, since 'varphi_s\.bias' holds NaN"):
        bad.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def stored(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str, shape: list[int], *offsets: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


MALFORMED = {
    "empty": b"",
    "length": stored({}, length=2**63),
    "not JSON": stored(b"nonsense"),
    "a list": stored([1]),
    "deep": stored(b'{"a":' * 100_000),
    "unknown type": stored({"a": tensor("F99", [2], 0, 8)}, b"12345678"),
    "type without a torch type": stored({"a": tensor("F4", [4], 0, 2)}, b"12"),
    "overlapping": stored({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}, b"123456789012"),
    "past the end": stored({"a": tensor("F32", [2**40, 2**40], 0, 8)}, b"12345678"),
    "negative": stored({"a": tensor("F32", [-2], 0, 8)}, b"12345678"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(MALFORMED[name])
    with pytest.raises(InputError, match=r"model\.safetensors: not a readable safetensors file \(.*\); copy it again"):
        read_weights(path)


def test_eight_bit_numbers_are_looked_into(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_NAME
    path.write_bytes(stored({"a": tensor("F8_E5M2", [2], 0, 2)}, b"\x00\x7f"))
    with pytest.raises(InputError, match="'a' holds NaN"):
        read_weights(path)


def test_the_same_network_is_the_same_file(tmp_path: Path) -> None:
    for name in "abc":
        write_model(tmp_path / name, {"b": 1, "a": 2}, network().state_dict())
    assert len({(tmp_path / name / WEIGHTS_NAME).read_bytes() for name in "abc"}) == 1
