"""Natural order, in which a person counts: resnet20 before resnet110. Standard library only."""

from __future__ import annotations

import re


def natural(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts 2 before 10, and differs between any two texts."""
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    numbers = [part.lstrip("0") if part[0] in "0123456789" else None for part in parts]
    key = [(1, 0, part) if n is None else (0, len(n), n) for part, n in zip(parts, numbers, strict=True)]
    return key, text
