"""Networks on disk: `config.json` and `model.safetensors` in one folder, local or on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, write_text
from labelfree.files.documents import read_json
from labelfree.weights.headers import require_whole
from labelfree.weights.hub import divided, folder_or_hub_name, hub_answers

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CHECKPOINT = "checkpoint.pt"

CHECKSUMS = "sha256"
"""Entry of config.json with checksums of both files; it may be missing, as in files by other programs."""


def write_model(folder: str | Path, description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a model; each file appears whole, the description last. Weights that are not finite are not written."""
    path = Path(folder) / WEIGHTS_NAME
    if (name := first_not_finite(weights)) is not None:
        raise InputError(
            f"{path}: not written, since '{name}' holds NaN or infinite values; lower train.learning_rate, or check "
            "the data, and train again."
        )
    content = save({name: value.contiguous().cpu() for name, value in weights.items()}, {"format": "pt"})
    with atomic_file(path) as file:
        file.write(content)
    checksums = {WEIGHTS_NAME: hashlib.sha256(content).hexdigest(), CONFIG_NAME: _checksum(description)}
    write_text(path.with_name(CONFIG_NAME), json.dumps({**description, CHECKSUMS: checksums}, indent=2) + "\n")


def read_model(folder_or_hub_id: str | Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return description, weights and the name for errors of a model written by `write_model`."""
    folder = fetch_folder(folder_or_hub_id, (CONFIG_NAME, WEIGHTS_NAME))
    path = folder / CONFIG_NAME
    description = read_json(path, fix="give a folder that save_pretrained wrote, or copy the file again")
    if not isinstance(description, dict):
        raise InputError(f"{path}: expected a JSON object; copy the file again.")
    weights = read_weights(folder / WEIGHTS_NAME)
    checksums = description.pop(CHECKSUMS, {})
    found = {WEIGHTS_NAME: _file_checksum(folder / WEIGHTS_NAME), CONFIG_NAME: _checksum(description)}
    for name in sorted(found.keys() & checksums if isinstance(checksums, dict) else ()):
        if checksums[name] != found[name]:
            raise InputError(f"{folder / name}: damaged or changed since it was written; copy both files again.")
    return description, weights, str(path)


def read_weights(file_folder_or_hub_id: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, of `model.safetensors` in a folder, or of a model on the hub."""
    path = Path(file_folder_or_hub_id).expanduser()
    if path.suffix != ".safetensors":
        path = fetch_folder(file_folder_or_hub_id, (WEIGHTS_NAME,)) / WEIGHTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a safetensors file, a folder with {WEIGHTS_NAME}, or a hub name.")
    require_whole(path)
    try:
        with safe_open(path, framework="pt") as stored:
            weights: dict[str, Tensor] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        broken = first_not_finite(weights)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable safetensors file ({reason}); copy it again.") from error
    if broken is not None:
        raise InputError(f"{path}: '{broken}' holds NaN or infinite values; train again or give other weights.")
    return weights


def weights_digest(file_folder_or_hub_id: str | Path) -> str:
    """Return the SHA-256 of a model's tensors: names, shapes, types and values, not the file that holds them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(read_weights(file_folder_or_hub_id).items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def first_not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinite values."""
    for name, value in weights.items():
        if value.is_floating_point() or value.is_complex():
            known = value.float() if value.element_size() == 1 else value  # torch cannot look into 8-bit numbers
            if not torch.isfinite(known).all():
                return name
    return None


def _checksum(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_folder(folder_or_hub_id: str | Path, files: tuple[str, ...]) -> Path:
    """Return the local folder that is meant; a hub name, `owner/model` or `owner/model/2d`, is downloaded first."""
    folder = folder_or_hub_name(folder_or_hub_id, " and ".join(files))
    if folder is not None:
        return folder
    text = str(folder_or_hub_id)
    name, part = divided(text)
    wanted = [f"{part}/{file}" if part else file for file in files]
    answers = hub_answers(name)
    from huggingface_hub import snapshot_download  # costs half a second, and most runs never need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not answers)) / part
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0] if answers else "no connection"
        raise InputError(
            f"{text}: no such folder, and the hub did not answer with it ({reason}); check the name and the network, "
            "or download the model and give its folder."
        ) from error
