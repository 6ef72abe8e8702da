"""The networks that a server has, by name: which they are, and what is known of each."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from podium.data.names import show
from podium.deployment.described import files_of
from podium.deployment.runtime import Engine, Exported, file_of, is_exported, load_exported
from podium.errors import ModelFileError, NumericError, UsageError, closest
from podium.files import content_digest
from podium.serving.exporting import exported_run
from podium.web.problems import Problem

ENDINGS = (".onnx", ".xml")
LONGEST = 200  # characters of a name, which addresses take
CHANNELS = (1, 3)  # of image files


@dataclass(frozen=True)
class Model:
    """A network that a server answers with.

    Args:
        name: by which requests name it.
        exported: the file, loaded.
        digest: SHA-256 of the file.
        megabytes: its size.
    """

    name: str
    exported: Exported
    digest: str
    megabytes: float

    @property
    def files(self) -> list[Path]:
        """The files that it was loaded from."""
        return files_of(self.exported.source.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""
        return self.exported.classes

    @property
    def engine(self) -> str:
        """What runs it, for people: "onnxruntime, int8"."""
        how = self.exported.engine
        return f"{how['engine']}, {how['dtype']}"

    def described(self) -> dict[str, Any]:
        """What a list of networks says about it."""
        size = self.exported.preprocessing.image_size
        return {
            "name": self.name,
            "classes": list(self.classes),
            "input": {"width": size, "height": size},
            "heat_map": self.exported.has_heat_maps,
            "engine": self.engine,
            "megabytes": self.megabytes,
        }

    def card(self) -> dict[str, Any]:
        """The card, and what the server adds to it."""
        served = {"name": self.name, "engine": self.engine, "megabytes": self.megabytes, "sha256": self.digest}
        return {**self.exported.card, "served": served}


def parse_models(words: Sequence[str]) -> list[tuple[str, Path]]:
    """The names and places of networks, from words such as "runs/rose" or "small=runs/rose-int8".

    Raises:
        UsageError: two have the same name, or a name is empty, too long, or has a slash or a question mark.
    """
    found: list[tuple[str, Path]] = []
    for word in words:
        given, equals, place = word.partition("=")
        if not equals or Path(word).exists() or not Path(place).exists():
            given, place = "", word
        path = Path(place)
        own = path.stem if path.suffix.lower() in ENDINGS else path.resolve().name
        name = given or own
        if len(name) > LONGEST:
            fix = f"give it a shorter name: NAME={show(place)}"
            raise UsageError(f"{show(name[:40])}...: a name of {len(name)} characters, more than {LONGEST}", fix)
        if not name or any(c in name for c in "/?#%") or not name.isprintable():
            fix = f"give it a name: NAME={show(place)}"
            raise UsageError(f"{show(name)}: no name that an address can have", fix)
        if any(name == other for other, _ in found):
            fix = f"give each a name of its own: {name}-2={show(place)}"
            raise UsageError(f"two networks are called {show(name)}", fix)
        found.append((name, path))
    return found


def load_model(name: str, place: Path, engine: Engine | None, threads: int) -> Model:
    """Load a network; a run or bundle is exported first, once.

    Args:
        name: by which requests name it.
        place: a run, a comparison (for the run it recommends), a bundle, or an exported file.
        engine: None: the one that is installed.
        threads: that compute one answer.

    Raises:
        ModelFileError: it is none of these, or damaged.
        NumericError: its answer to a black image is not a number.
        UsageError: it takes neither grey nor colour images.
    """
    file = file_of(place) if is_exported(place) else exported_run(place)
    exported = load_exported(file, engine=engine, threads=threads)
    exported.preprocessing.check_channels()
    _try(name, exported)
    files = files_of(file)
    size = sum(path.stat().st_size for path in files) / 1e6
    return Model(name, exported, content_digest(*files), round(size, 2))


def _try(name: str, exported: Exported) -> None:
    """Have a network answer an image file, so that one that cannot is refused, and the first client waits for no import."""
    p, file = exported.preprocessing, io.BytesIO()
    Image.new("RGB", (p.image_size, p.image_size)).save(file, "JPEG")
    try:
        outputs = exported.outputs_of(p.square(p.decode(file.getvalue(), "black"))[None])
    except Exception as error:
        what = f"{show(name)}: the engine fails on it ({type(error).__name__})"
        raise ModelFileError(what, "export it again with `podium export`") from None
    if not all(np.isfinite(output).all() for output in outputs):
        raise NumericError(f"{show(name)}: its answer is not a number", "train it again at a lower learning rate")


class Models:
    """The networks of a server.

    Args:
        models: at least one; requests that name none get the first.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.by_name = {model.name: model for model in models}
        self.first = models[0]

    def __iter__(self) -> Iterator[Model]:
        return iter(self.by_name.values())

    def find(self, name: str | None) -> Model:
        """The network of a name, or the first if None.

        Raises:
            Problem: there is none of that name.
        """
        if name is None:
            return self.first
        if name not in self.by_name:
            names = list(self.by_name)
            fix = closest(name, names) or f"one of {', '.join(names)}"
            raise Problem(404, "model_unknown", "no network of this server has this name", fix)
        return self.by_name[name]
