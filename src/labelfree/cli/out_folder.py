"""Check the folders that a command writes to."""

from __future__ import annotations

import os
from pathlib import Path

from labelfree.errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".ply", ".las", ".laz", ".pcd", ".sens", ".bin")


def check_out(out: Path, data: Path | None = None, what: str = "--out") -> None:
    """Refuse a folder to write to that is a file, cannot be written, or lies among the images of DATA."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{what} {out} is a file: give a folder.")
    place = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not place.exists():
        raise InputError(f"{what} {out}: {place} is a link that leads nowhere; remove it or give another folder.")
    if not place.is_dir():
        raise InputError(
            f"{what} {out}: {place} is a file where a folder is expected; rename it or give another folder."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{what} {out}: {place} cannot be written to; change its permissions or give another folder.")
    if data is None or not data.is_dir():
        return
    inside, root = Path(os.path.realpath(out)), Path(os.path.realpath(data))
    if inside == root:
        raise InputError(f"{what} {out} is the folder of the data: give another folder, such as {out / 'labelfree'}.")
    for folder in (inside, *inside.parents):
        if root not in folder.parents:
            break
        if folder.is_dir() and (found := _picture_in(folder)) is not None:
            raise InputError(f"{what} {out} lies among the data's own files, such as {found}: give another folder.")


def _picture_in(folder: Path) -> Path | None:
    """Return an image or a cloud in a folder that contains no run."""
    if (folder / "settings.yaml").is_file():
        return None
    return next((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), None)
