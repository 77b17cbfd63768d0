"""Networks on disk: `config.json` and `model.safetensors` in one folder, local or on the Hugging Face hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from labelfree.atomic import temporary_name, write_text
from labelfree.errors import InputError
from labelfree.hub import folder_or_hub_name, hub_answers

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


def write_model(folder: str | Path, description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a model; each file appears whole, the description last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(folder / WEIGHTS_NAME)
    save_file({name: value.contiguous().cpu() for name, value in weights.items()}, temporary, {"format": "pt"})
    os.replace(temporary, folder / WEIGHTS_NAME)
    write_text(folder / CONFIG_NAME, json.dumps(description, indent=2) + "\n")


def read_model(folder_or_hub_id: str | Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return description, weights and the name for errors of a model written by `write_model`."""
    folder = fetch_folder(folder_or_hub_id, (CONFIG_NAME, WEIGHTS_NAME))
    path = folder / CONFIG_NAME
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a folder that save_pretrained wrote.") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON; copy the file again.") from error
    if not isinstance(description, dict):
        raise InputError(f"{path}: expected a JSON object; copy the file again.")
    return description, read_weights(folder / WEIGHTS_NAME), str(path)


def read_weights(file_folder_or_hub_id: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, of `model.safetensors` in a folder, or of a model on the hub."""
    path = Path(file_folder_or_hub_id).expanduser()
    if path.suffix != ".safetensors":
        path = fetch_folder(file_folder_or_hub_id, (WEIGHTS_NAME,)) / WEIGHTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a safetensors file, a folder with {WEIGHTS_NAME}, or a hub name.")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); copy it again.") from error


def fetch_folder(folder_or_hub_id: str | Path, files: tuple[str, ...]) -> Path:
    """Return the local folder that is meant; a hub name such as `owner/model` is downloaded first."""
    folder = folder_or_hub_name(folder_or_hub_id, " and ".join(files))
    if folder is not None:
        return folder
    text = str(folder_or_hub_id)
    answers = hub_answers(text)
    from huggingface_hub import snapshot_download  # costs half a second, and most runs never need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text, allow_patterns=list(files), local_files_only=not answers))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0] if answers else "no connection"
        raise InputError(
            f"{text}: no such folder, and the hub did not answer with it ({reason}); check the name and the network, "
            "or download the model and give its folder."
        ) from error
