"""Every setting of a run as dataclasses; a recipe is their YAML, `--a.b=c` overrides a field."""

from __future__ import annotations

from dataclasses import dataclass, field

from labelfree.errors import InputError
from labelfree.method.label_switching import ALL_SOURCES, Granularity, Source
from labelfree.nets.segmenters import Segmenter2DConfig, Segmenter3DConfig
from labelfree.teachers.clip import ClipOptions
from labelfree.teachers.sam import SamOptions
