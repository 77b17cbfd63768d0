"""The one exception that a user's mistake raises."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a user: one sentence with the file, the value found and what to do."""
