"""The page of Podium's Python interface, which mkdocstrings fills from the docstrings."""

from __future__ import annotations

import inspect

import podium

HEAD = """# Python interface

These are all names of `import podium`, with what they take, return and raise. [In Python, and in a notebook](python.md) shows
them at work.

"""


def api_page() -> str:
    """Return the page: the functions in alphabetical order, then the classes."""
    found = {name: getattr(podium, name) for name in podium.__all__ if name != "__version__"}
    order = sorted(found, key=lambda name: (inspect.isclass(found[name]), name))
    return HEAD + "\n".join(f"::: {found[name].__module__}.{name}" for name in order) + "\n"
