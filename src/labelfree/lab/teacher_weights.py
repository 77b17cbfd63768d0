"""Where the package keeps the weights of the lab's teachers: of rooms (`lab`) and of streets (`lab-street`)."""

from __future__ import annotations

from pathlib import Path

from labelfree.errors import InputError

FOLDER = Path(__file__).parent / "weights"
LAB, LAB_STREET = "lab", "lab-street"
"""What settings call them in the place of a hub name."""
PREFIXES = {LAB: "tiny", LAB_STREET: "street"}


def weights_folder(source: str, part: str) -> Path:
    """Return where the `clip`, `sam`, `backbone` or `backbone-3d` of `lab` or `lab-street` is, trained or not."""
    return FOLDER / f"{PREFIXES[source]}-{part}"


def shipped(source: str | None, part: str) -> Path | None:
    """Return the folder of the package's own weights where settings name those, else None."""
    if source not in PREFIXES:
        return None
    folder = weights_folder(source, part)
    if not (folder / "model.safetensors").is_file():
        raise InputError(
            f"'{source}' means {folder}, which is not in the package yet: train it (docs/lab.md) or name other weights."
        )
    return folder
