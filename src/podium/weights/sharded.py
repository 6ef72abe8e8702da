"""Weight files in several parts, as Hugging Face saves large ones: an index that says which part has which tensor."""

from __future__ import annotations

import json
import re
from pathlib import Path

from podium.errors import ModelFileError

INDEX = ".index.json"  # model.safetensors.index.json, pytorch_model.bin.index.json
WHOLE = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pt")  # what a folder of the hub may hold in one file
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")


def files_of(path: Path) -> tuple[Path, dict[Path, set[str]] | None]:
    """The files that a path stands for.

    Args:
        path: a weight file, the index of one in parts, or the folder of either.

    Returns:
        The file or the index. Then, for an index, the names of the tensors in each part; None for a file.

    Raises:
        ModelFileError: a folder without weights, a damaged index, a part that is missing, or one part alone.
    """
    main = _in_folder(path) if path.is_dir() else path
    if main.name.endswith(INDEX):
        return main, _parts(main)
    if found := _PART.fullmatch(main.name):
        index = main.with_name(f"{found[1]}{found[4]}{INDEX}")
        what = f"{main}: part {int(found[2])} of {int(found[3])} of a file"
        raise ModelFileError(
            what, f"give the index {index.name}" + ("" if index.is_file() else ", with all parts beside it")
        )
    return main, None


def _in_folder(folder: Path) -> Path:
    """The index or the file in a folder."""
    found = [*sorted(folder.glob(f"*{INDEX}")), *(folder / name for name in WHOLE if (folder / name).is_file())]
    if not found:
        raise ModelFileError(f"{folder}: a folder without {WHOLE[0]} or its index", "give the weight file itself")
    return next((path for path in found if ".safetensors" in path.name), found[0])


def _parts(index: Path) -> dict[Path, set[str]]:
    """The parts that an index names, all beside it."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        named = {str(tensor): str(part) for tensor, part in places.items()}
    except FileNotFoundError:
        raise ModelFileError(f"{index}: no such file", "give the path of a downloaded checkpoint") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        what = f"{index}: not an index of a weight file in parts ({type(error).__name__}: {error})"
        raise ModelFileError(what, "download it again") from None
    parts: dict[Path, set[str]] = {}
    for tensor, part in named.items():
        if Path(part).name != part or part.endswith(INDEX):
            raise ModelFileError(f"{index}: names the part {part!r}, which is no file beside it", "download it again")
        parts.setdefault(index.with_name(part), set()).add(tensor)
    if not parts:
        raise ModelFileError(f"{index}: names no tensors", "download it again")
    if lacking := [part.name for part in parts if not part.is_file()]:
        what = f"{index.parent}: {len(lacking)} of {len(parts)} parts are missing: {', '.join(lacking[:5])}"
        raise ModelFileError(what, f"download them to {index.parent}")
    return parts
