"""The settings of a training run: their defaults, reading and merging, and where each value came from. Imports nothing heavy."""

from podium.settings.checks import parse_recall, skips
from podium.settings.fields import FIELDS, PRECISION, TYPES, Settings, base_type
from podium.settings.file import read_file, write_file
from podium.settings.merging import Origins, merge, moved
from podium.settings.origin import DEFAULT, FLAG, Origin

__all__ = [
    "DEFAULT",
    "FIELDS",
    "FLAG",
    "PRECISION",
    "TYPES",
    "Origin",
    "Origins",
    "Settings",
    "base_type",
    "merge",
    "moved",
    "parse_recall",
    "read_file",
    "skips",
    "write_file",
]
