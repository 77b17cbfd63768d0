"""Whether something lies at a path."""

from __future__ import annotations

import os
from pathlib import Path


def is_there(path: str | Path) -> bool:
    """Return whether a file, a folder or a link lies at a path, even a link that leads nowhere.

    `os.path.lexists` answers False for a folder that cannot be read, so that its files would count as missing.
    Raises an `OSError` where the system does not say.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
