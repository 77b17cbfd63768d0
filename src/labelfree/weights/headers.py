"""Compare the length of a safetensors file with its header before the file is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from labelfree.errors import InputError
from labelfree.files.documents import open_file

LENGTH_BYTES = 8
"""Bytes at the beginning that hold the header's length."""
LARGEST_HEADER = 16 << 20
"""Bytes of a header, of about 100 for each tensor."""


def require_whole(path: Path, fix: str = "copy it again") -> None:
    """Raise an `InputError` unless a safetensors file is exactly as long as its header states.

    The library maps a file of any length into memory before it looks at the header.
    """
    with open_file(path, fix) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 0 < length <= min(LARGEST_HEADER, size - LENGTH_BYTES):
            raise InputError(
                f"{path}: not a readable safetensors file (a header of {length:,} bytes in a file of {size:,}); {fix}."
            )
        text = file.read(length)
    try:
        entries = json.loads(text).items()
        ends = [entry["data_offsets"][1] for name, entry in entries if name != "__metadata__"]
        promised = LENGTH_BYTES + length + max(ends, default=0)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file (its header lists no tensors); {fix}.") from error
    if size != promised:
        raise InputError(
            f"{path}: not a readable safetensors file ({size:,} bytes, its header promises {promised:,}); {fix}."
        )
