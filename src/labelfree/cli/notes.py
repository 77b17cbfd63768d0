"""Printing of the library's warnings about data."""

from __future__ import annotations

import warnings
from typing import Any

from labelfree.cli.terminal import say
from labelfree.errors import DataWarning

_SHOW_OTHERS = warnings.showwarning


def tell_data_warnings() -> None:
    """Print each `DataWarning` once as `labelfree: ...`; other warnings keep Python's form."""
    warnings.showwarning = _show
    # Pillow warns about large images; labelfree refuses those above `decoding.MAX_PIXELS` with an error of its own.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")


def _show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    if issubclass(category, DataWarning):
        say(str(message))
    else:
        _SHOW_OTHERS(message, category, *where, **more)
