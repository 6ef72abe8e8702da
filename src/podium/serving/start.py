"""Starts a server: loads its networks, and only then opens its port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.deployment.runtime import Engine
from podium.platform import cores
from podium.serving.admission import MOST_INSIDE, Admission
from podium.serving.answering import Answering
from podium.serving.app import FREE, make_app
from podium.serving.metrics import Metrics
from podium.serving.models import Models, load_model
from podium.web.access import is_loopback
from podium.web.server import Server, Stopping, guarded


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Args:
        host: the address that it listens at.
        token: that requests need; None: none.
        engine: that runs the networks; None: the one that is installed.
        threads: that compute one batch.
        workers: processes.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    engine: Engine | None = None
    threads: int = 1
    workers: int = 1


def load_models(places: Sequence[tuple[str, Path]], options: Options) -> Models:
    """Load the networks of a server.

    Raises:
        PodiumError: as `load_model`.
    """
    return Models([load_model(name, place, options.engine, options.threads) for name, place in places])


def make_server(models: Models, options: Options) -> Server:
    """A server of these networks, which answers once it is given a port."""
    stopping, metrics, own = Stopping(), Metrics(), max(1, cores() // options.workers)
    answering = Answering(models, own, max(1, own // options.threads), metrics)
    app = Admission(make_app(answering, stopping), metrics, stopping, max(4, MOST_INSIDE // options.workers))
    return Server(guarded(app, stopping, options.token, FREE, is_loopback(options.host)), stopping)
