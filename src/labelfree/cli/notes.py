"""The library's warnings about data, as lines on the terminal."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from labelfree.errors import DataWarning


def tell_data_warnings() -> None:
    """Print each `DataWarning` once as `labelfree: ...`; other warnings keep Python's form."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            print(f"labelfree: {message}", file=sys.stderr)
        else:
            others(message, category, *where, **more)

    warnings.showwarning = show
