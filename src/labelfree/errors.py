"""What a user is told: the one exception that a mistake raises, and the warning about data that is left out."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a user: one sentence with the file, the value found and what to do."""


class DataWarning(UserWarning):
    """Something about the data that a user should know although the work goes on, in one sentence."""
