"""All settings as dataclasses, with their reading and checks; importable without torch."""
