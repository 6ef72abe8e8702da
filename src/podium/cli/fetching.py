"""Download official weights with a bar, before the operation that needs them begins."""

from __future__ import annotations

from pathlib import Path


def fetch(source: str, quiet: bool = False) -> Path:
    """The path of an official weight file; a bar shows the download where one is needed.

    Args:
        source: "LIBRARY:NAME" or "LIBRARY:NAME.TAG".
        quiet: show nothing.
    """
    from podium.cli.console import download_bar
    from podium.weights.download import cached, official
    from podium.weights.official import find_official

    record = find_official(source)
    if record is None or cached(record):
        return official(source)
    with download_bar(record.cached_as, quiet) as progress:
        return official(source, progress)


def fetch_ahead(name: str | None, quiet: bool = False) -> None:
    """Download the official weights that a person named, where that is what the name means.

    Args:
        name: of weights: a run, a bundle, LIBRARY:NAME with or without a file, or None.
        quiet: show nothing.
    """
    if name and ":" in name and "=" not in name and "@" not in name and not Path(name).exists():
        from podium.weights.peers import find_peer

        find_peer(name)
        fetch(name, quiet)
