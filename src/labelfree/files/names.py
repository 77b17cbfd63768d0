"""Names of scenes and frames, which become names of files: they stay inside the folder they are written to."""

from __future__ import annotations

import re

from labelfree.errors import InputError

LONGEST_PART = 210
"""Bytes of a name between two slashes; file systems allow 255, of which endings take some."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OUTSIDE = re.compile(r"[/\\]|.*(^|[/\\])\.{0,2}([/\\]|$)", re.DOTALL)
"""An absolute path, or one with an empty part, `.` or `..`."""


def require_safe_name(name: str, what: str) -> str:
    """Return a name; one that is empty, has control characters or leads out of a folder is an `InputError`.

    `what` begins the sentence, such as "capture.yaml: name". Slashes may divide a name: `CAM_FRONT/0001` is allowed.
    """
    if not name.strip():
        raise InputError(f"{what} is empty; give a name.")
    if _CONTROL.search(name):
        raise InputError(f"{what} is {name!r}: it holds a control character; rename it.")
    if _OUTSIDE.match(name):
        raise InputError(f"{what} is {name!r}: a name must stay inside its folder, without '..' or a leading '/'.")
    if max(len(part.encode()) for part in name.split("/")) > LONGEST_PART:
        raise InputError(f"{what} is '{name[:40]}...': names of files can be {LONGEST_PART} bytes long; shorten it.")
    return name
