"""All settings as dataclasses, their reading and their checks; importable without torch."""
