"""How many requests for predictions are let in: those beyond the limit are refused before their bodies are read.

Every POST is one of them, as a path may be written in ways that only the router takes for the same.
A request whose body is slow to arrive gives its place up until the body is there, so that slow clients keep nobody out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from podium.serving.bodies import MOST_BYTES, declared_length, too_large
from podium.serving.metrics import Metrics
from podium.web.connections import LINGER
from podium.web.logs import Noted, facts_of
from podium.web.problems import Problem, send_problem
from podium.web.server import Stopping

MOST_INSIDE = 32  # requests that are let in at once
MOST_HELD = 256 << 20  # bytes of bodies that are held at once
SLOW = 1.0  # seconds after which a body that has not arrived gives its place up
SPARE = 64 << 10  # bytes beyond the limit that are read of a body that is too large
RETRY = {"Retry-After": "1"}


def busy() -> Problem:
    """The error where too many requests are inside."""
    return Problem(503, "busy", "the server has as many requests as it can take", "send it again, in a second", RETRY)


def stopped() -> Problem:
    """The error while the server ends."""
    return Problem(503, "stopping", "the server is ending", "send it again, to the next one", RETRY)


@dataclass
class _Place:
    """The place of one request among those that are inside.

    Args:
        read: bytes of its body.
        is_parked: whether it gave its place up, since its body is slow.
        is_whole: whether all of its body has arrived.
    """

    read: int = 0
    is_parked: bool = False
    is_whole: bool = False


class Admission:
    """Lets requests for predictions in, and counts them.

    Args:
        app: what answers them.
        metrics: that count.
        stopping: whether the server was told to stop.
        most: requests inside at once.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, stopping: Stopping, most: int = MOST_INSIDE) -> None:
        self.app, self.metrics, self.stopping, self.most = app, metrics, stopping, most
        self.inside, self.held = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        began, noted, facts = time.perf_counter(), Noted(send), facts_of(scope)
        try:
            if (problem := self.refusal(scope)) is not None:
                facts["route"] = "/v1/predict" if scope["path"] == "/v1/predict" else "/v2/models/{model}/infer"
                self.metrics.refused(problem.code)
                await _refuse(problem, scope, receive, noted)
            else:
                await self._let_in(scope, receive, noted)
        finally:
            self.metrics.request(facts.get("model", ""), noted.status, time.perf_counter() - began)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request is refused before its body is read; None where it is let in."""
        if self.stopping:
            return stopped()
        if (declared_length(dict(scope["headers"])) or 0) > MOST_BYTES:
            return too_large()
        return busy() if self.inside >= self.most or self.held >= MOST_HELD else None

    async def _let_in(self, scope: Scope, receive: Receive, send: Noted) -> None:
        place = _Place()
        self._enter()
        timer = asyncio.get_running_loop().call_later(SLOW, self._park, place)

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not place.is_whole:
                self._count(place, len(message.get("body", b"")))
                if not message.get("more_body", False):
                    place.is_whole = True
                    self._return(place)
            return message

        try:
            await self.app(scope, counted, _lingering(receive, send, place))
        finally:
            timer.cancel()
            self.held -= place.read
            if not place.is_parked:
                self._leave()

    def _count(self, place: _Place, size: int) -> None:
        place.read += size
        self.held += size
        if place.read > MOST_BYTES:
            self.metrics.refused("body_too_large")
            raise too_large()
        if self.held > MOST_HELD:
            self.metrics.refused("busy")
            raise busy()

    def _park(self, place: _Place) -> None:
        if not place.is_whole:
            place.is_parked = True
            self._leave()

    def _return(self, place: _Place) -> None:
        """Take the place again that a slow body gave up.

        Raises:
            Problem: there is none.
        """
        if not place.is_parked:
            return
        if self.inside >= self.most:
            self.metrics.refused("busy")
            raise busy()
        place.is_parked = False
        self._enter()

    def _enter(self) -> None:
        self.inside += 1
        self.metrics.inside.set(self.inside)

    def _leave(self) -> None:
        self.inside -= 1
        self.metrics.inside.set(self.inside)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal; of a body that is too large some is read first, so that the client reads the answer."""
    if problem.status != 413:
        await send_problem(problem, scope, send)
        return
    await send_problem(problem, scope, send, last=False)
    await _drop(receive, MOST_BYTES + SPARE)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _lingering(receive: Receive, send: Noted, place: _Place) -> Callable[[Message], Awaitable[None]]:
    """`send`, which reads a little of what is still coming before it ends an answer to a body that is too large."""

    async def sending(message: Message) -> None:
        ends = message["type"] == "http.response.body" and not message.get("more_body", False)
        if send.status == 413 and ends and not place.is_whole:
            await send({**message, "more_body": True})
            await _drop(receive, MOST_BYTES + SPARE - place.read)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return sending


async def _drop(receive: Receive, most: int) -> None:
    """Read and drop what a client still sends: at most so many bytes, for a few seconds."""
    try:
        async with asyncio.timeout(LINGER):
            while most > 0:
                message: dict[str, Any] = dict(await receive())
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                most -= len(message.get("body", b""))
    except TimeoutError:
        return
