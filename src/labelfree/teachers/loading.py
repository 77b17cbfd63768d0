"""Load a frozen teacher from a folder in the hub's layout or from the hub, in a chosen precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, get_args

import torch
from torch import nn

from labelfree.config.teachers import TeacherPrecision
from labelfree.errors import InputError, shown
from labelfree.files.documents import read_json
from labelfree.runtime.precision import autocast_dtype
from labelfree.runtime.products import use_fast_linear
from labelfree.weights.headers import require_whole
from labelfree.weights.hub import folder_or_hub_name, hub_answers
from labelfree.weights.stored import first_not_finite

_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def local_folder(name_or_folder: str | Path) -> Path | None:
    """Return the folder that is meant, or None for a name on the hub such as `openai/clip-vit-base-patch16`."""
    return folder_or_hub_name(name_or_folder, "config.json and model.safetensors")


def load_pretrained(
    model_class: Any,
    name_or_folder: str | Path,
    model_type: str,
    device: torch.device,
    config_changes: dict[str, Any] | None = None,
) -> Any:
    """Load a transformers model in float32, frozen, in evaluation mode; refuse what would leave weights at random."""
    folder = local_folder(name_or_folder)
    if folder is not None:
        _check_folder(folder, model_type)
    source = str(name_or_folder if folder is None else folder)
    local = folder is not None or not hub_answers(source)
    try:
        with _quiet_transformers():
            config = model_class.config_class.from_pretrained(source, local_files_only=local)
            for path, value in (config_changes or {}).items():
                part, _, key = path.rpartition(".")
                setattr(getattr(config, part) if part else config, key, value)
            model, report = model_class.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
                local_files_only=local,
            )
    except Exception as error:  # transformers raises errors of any kind about a damaged config.json
        remedy = (
            "check the name and the network, or download the model and give its folder"
            if folder is None
            else "check that config.json and the weights belong together and that the files are whole"
        )
        raise InputError(f"{source}: cannot load {model_class.__name__} ({_reason(error)}); {remedy}.") from error
    _require_whole_numbers(source, model_class.config_class().to_dict(), model.config.to_dict())
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{source}: {len(missing)} weights of {model_class.__name__} are missing, first '{missing[0]}'; "
            f"give weights of the whole model, saved by {model_class.__name__}.save_pretrained."
        )
    if (name := first_not_finite(model.state_dict())) is not None:
        raise InputError(f"{source}: weight '{name}' holds NaN or infinite values; download the model again.")
    model = model.to(device).eval().requires_grad_(False)
    use_fast_linear(model)
    return model


def _reason(error: Exception) -> str:
    """Return an error's first line; torch's unpickler advises unsafe loading, so its message is replaced."""
    if isinstance(error, UnpicklingError) or "weights_only" in str(error) or "Weights only" in str(error):
        return "pytorch_model.bin is damaged or holds more than tensors, which is never loaded"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_folder(folder: Path, model_type: str) -> None:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(f"{folder}: config.json is missing; use save_pretrained or copy the hub files.")
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        raise InputError(f"{folder}: model.safetensors is missing; use save_pretrained or copy the hub files.")
    whole = folder / "model.safetensors"
    for path in [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors")):
        require_whole(path)
    config = read_json(config_file, fix="copy the file again")
    if not isinstance(config, dict):
        raise InputError(f"{config_file}: not a JSON object; copy the file again.")
    found = config.get("model_type")
    if found != model_type:
        raise InputError(f"{config_file}: model_type is {found!r} but a '{model_type}' model is needed here.")


def _require_whole_numbers(source: str, usual: Mapping[str, Any], stated: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse a configuration with another value where the model's class has a whole number; `null` passes."""
    for name, value in usual.items():
        found = stated.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            _require_whole_numbers(source, value, found, f"{prefix}{name}.")
        elif _is_whole(value) and not (found is None or _is_whole(found)):
            raise InputError(
                f"{source}/config.json: {prefix}{name} is {shown(found)}, expected a whole number; copy the file again."
            )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence progress bars and loading notes: what matters is checked and raised as an InputError."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def weights_digest(model: nn.Module) -> str:
    """Return a hex digest of names, shapes and values of all weights, however they are stored on disk."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
        digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def combined_digest(*parts: object) -> str:
    """Return a short hex digest of plain values (strings, numbers, tuples, dicts)."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn `auto` into the fastest safe type of this machine."""
    if precision not in get_args(TeacherPrecision):
        raise InputError(f"precision is '{precision}': choose one of {', '.join(get_args(TeacherPrecision))}.")
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return autocast_dtype(device) or torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a teacher's matrix products run in `dtype`."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
