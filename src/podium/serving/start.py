"""Starts a server: loads its networks, and only then opens its port."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.deployment.runtime import Engine
from podium.platform import cores
from podium.serving.answering import Answering
from podium.serving.app import FREE, make_app
from podium.serving.metrics import Metrics
from podium.serving.models import Models, load_model
from podium.web.access import is_loopback
from podium.web.server import Stopping, guarded, run


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Args:
        host: the address that it listens at.
        token: that requests need; None: none.
        engine: that runs the networks; None: the one that is installed.
        threads: that compute one batch.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    engine: Engine | None = None
    threads: int = 1


def load_models(places: Sequence[tuple[str, Path]], options: Options) -> Models:
    """Load the networks of a server.

    Raises:
        PodiumError: as `load_model`.
    """
    return Models([load_model(name, place, options.engine, options.threads) for name, place in places])


def serve(models: Models, taken: socket.socket, options: Options) -> None:
    """Answer requests until a signal."""
    stopping = Stopping()
    answering = Answering(models, cores(), max(1, cores() // options.threads), Metrics())
    app = make_app(answering, stopping)
    run(guarded(app, stopping, options.token, FREE, is_loopback(options.host)), taken, stopping)
