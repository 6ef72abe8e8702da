"""Settings files: one `key: value` a line in YAML, which a person can edit and which runs the same training again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podium.calls import meant
from podium.errors import UsageError
from podium.files import write_text
from podium.settings.fields import FIELDS, UNKNOWN, Settings, base_type, check_value

_END = "...\n"  # what YAML puts after a bare value


def read_file(path: Path, check: Callable[[str, Any], None] = check_value) -> dict[str, Any]:
    """The settings in a YAML file: one `key: value` a line, nothing nested.

    Args:
        path: of the file.
        check: of each value.

    Raises:
        UsageError: no such file, not YAML, an unknown, doubled or mistyped key; names the line.
    """
    import yaml

    if not path.is_file():
        raise UsageError(f"{path}: no such settings file", "give the path of a .yaml file")
    if path.stat().st_size > 1 << 20:
        raise UsageError(f"{path}: larger than 1 MB", "a settings file has some lines")
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})", "write `key: value` lines") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}: not a list of settings", "write `key: value` lines")
    out: dict[str, Any] = {}
    for key_node, value_node in root.value:
        where = f"{path}, line {key_node.start_mark.line + 1}"
        key = str(key_node.value)
        if key not in FIELDS:
            raise UsageError(f"{where}: no setting is called {key!r}", meant(key, FIELDS, UNKNOWN))
        if key in out:
            raise UsageError(f"{where}: {key!r} stands here a second time", "keep one of the two")
        nodes = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        if not all(isinstance(node, yaml.ScalarNode) for node in nodes):
            raise UsageError(f"{where}: {key!r} holds something nested", "give one value, or a list of numbers")
        try:
            value = yaml.constructor.SafeConstructor().construct_document(value_node)
        except yaml.YAMLError:
            raise UsageError(f"{where}: {key!r} has a value that cannot be read", "give a plain value") from None
        value = tuple(value) if isinstance(value, list) else value
        if base_type(key)[0] is float and isinstance(value, str):
            with contextlib.suppress(ValueError):  # YAML 1.1 takes 1e-3, without a point, for a text
                value = float(value)
        try:
            check(key, value)
        except UsageError as error:
            raise UsageError(f"{where}: {error.what}", error.fix) from None
        out[key] = value
    return out


def write_file(path: Path, settings: Settings, comments: Mapping[str, str] | None = None) -> None:
    """Write settings to a file that `read_file` reads back to the same values.

    Args:
        path: of the file.
        settings: all of them are written.
        comments: setting -> a comment behind its value, such as where it came from.
    """
    import yaml

    lines = []
    for key, value in settings.to_dict().items():
        plain = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
        text = f"{key}: {plain.removesuffix(_END).strip()}"
        comment = " ".join((comments or {}).get(key, "").split())
        lines.append(f"{text}  # {comment}" if comment else text)
    write_text(path, "\n".join(lines) + "\n")
