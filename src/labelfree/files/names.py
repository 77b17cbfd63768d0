"""Checks of scene and frame names, which become file names and must stay inside the output folder."""

from __future__ import annotations

import re

from labelfree.errors import InputError

LONGEST_PART = 210
"""Largest size in bytes of a name between two slashes; file systems allow 255, and suffixes need some of them."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OUTSIDE = re.compile(r"[/\\]|.*(^|[/\\])\.{0,2}([/\\]|$)", re.DOTALL)
"""An absolute path, or one with an empty part, `.` or `..`."""


def require_safe_name(name: str, what: str) -> str:
    """Return a name unchanged. Slashes may divide it: `CAM_FRONT/0001` is allowed.

    Raises an InputError if the name is empty or too long, holds control characters or leads out of its folder. `what`
    begins the message, such as "capture.yaml: name".
    """
    if not name.strip():
        raise InputError(f"{what} is empty; give a name.")
    if _CONTROL.search(name):
        raise InputError(f"{what} is {name!r}: it holds a control character; rename it.")
    if _OUTSIDE.match(name):
        raise InputError(f"{what} is {name!r}: a name must stay inside its folder, without '..' or a leading '/'.")
    if max(len(part.encode()) for part in name.split("/")) > LONGEST_PART:
        raise InputError(f"{what} is '{name[:40]}...': file names have at most {LONGEST_PART} bytes; shorten it.")
    return name
