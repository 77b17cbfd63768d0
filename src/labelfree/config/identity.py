"""The identity of a run folder: everything that determines its weights or labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labelfree.config.reading import plain_data
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.documents import read_json
from labelfree.files.presence import is_there

IDENTITY = "identity.json"
LARGEST_IDENTITY = 1 << 28
"""Limit in bytes of the file, which has a line per scene."""
NAMED = 3
"""Number of differences that a message names; it counts the others."""
DIGEST_LENGTH = 16

FORMER_VALUES: Mapping[str, Any] = {"teachers.sam_options.mode": "fast"}
"""Settings that came with another default than the behaviour before them: the value that finished runs stand for."""

Value = Any
"""Plain data, as JSON holds it."""


@dataclass(frozen=True)
class Identity:
    """A set of names of settings and data, each with its value or a digest of its content."""

    entries: Mapping[str, Value]

    def digest(self) -> str:
        """Return one digest of all entries."""
        return hashlib.sha256(json.dumps(self.entries, sort_keys=True).encode()).hexdigest()

    def differences(self, earlier: Identity) -> list[str]:
        """Return one phrase for each entry that differs from an earlier identity."""
        names = [*earlier.entries, *(name for name in self.entries if name not in earlier.entries)]
        return [
            _difference(name, earlier.entries.get(name), self.entries.get(name))
            for name in names
            if earlier.entries.get(name) != self.entries.get(name)
        ]


def write_identity(folder: Path, identity: Identity) -> None:
    """Write the identity of a run into a folder."""
    write_text(folder / IDENTITY, json.dumps(identity.entries, indent=1) + "\n")


def require_same(folder: Path, identity: Identity, owner: Path) -> None:
    """Raise an InputError that names the differences if a folder holds another identity.

    A folder without an identity passes. `owner` is the folder that the user gave; the message names it.
    """
    earlier = _read(folder / IDENTITY)
    if earlier is not None and (changed := identity.differences(earlier)):
        if all(phrase.startswith("corrections of ") for phrase in changed):
            raise InputError(
                f"{owner}: its corrections changed after it was trained ({changed[0]}); train again with another --out "
                f"and --corrections {owner}."
            )
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise InputError(
            f"{owner}: holds a run of another configuration ({'; '.join(changed[:NAMED])}{more}); choose another "
            "--out, or delete this folder to start again."
        )


def settings_entries(config: RunConfig) -> dict[str, Value]:
    """Return the settings that determine weights or labels and differ from their defaults, by dotted name.

    Defaults are left out, so that a new setting that is off by default does not change the identity of finished runs;
    `FORMER_VALUES` take the place of such a default.
    Files and models are left out; the identity holds digests of their content instead.
    """
    train = replace(config.train, workers=None, tensorboard=False, checkpoint_seconds=0.0)
    networks = replace(config.networks, backbone_weights=None, backbone_weights_3d=None)
    labels = replace(config.labels, keep_frames=None)
    plain = RunConfig()
    same = replace(
        config,
        train=train,
        networks=networks,
        labels=labels,
        predict=plain.predict,
        memory_gb=plain.memory_gb,
    )
    defaults = _flat(asdict(plain)) | dict(FORMER_VALUES)
    left_out = {"teachers.clip", "teachers.sam", "train.checkpoint_seconds"}
    return {
        name: value
        for name, value in _flat(asdict(same)).items()
        if name not in left_out and value != defaults.get(name)
    }


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Return nested settings as plain data, by dotted name."""
    flat: dict[str, Value] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = plain_data(value)
    return flat


def text_digest(text: str) -> str:
    """Return the first hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _difference(name: str, before: Value, now: Value) -> str:
    if name.startswith("scene '"):
        return f"{name} is new" if before is None else f"{name} is missing" if now is None else f"{name} changed"
    return f"{name} was {_shown(name, before)}, is now {_shown(name, now)}"


def _shown(name: str, value: Value) -> str:
    defaults = _flat(asdict(RunConfig())) | dict(FORMER_VALUES)
    return str(defaults.get(name, "not set") if value is None else value)


def _read(path: Path) -> Identity | None:
    if not is_there(path):
        return None
    entries = read_json(path, LARGEST_IDENTITY, "delete the run folder to start again, or choose another --out")
    if not isinstance(entries, dict):
        raise InputError(f"{path}: damaged; delete the folder to start again, or choose another --out.")
    return Identity(entries)
