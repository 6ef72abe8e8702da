"""Waits for an answer as long as it makes sense: until it is there, the client has gone, or its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from podium.web.problems import Problem

SECONDS = 30.0  # that an answer may take from the moment its request has arrived

Result = TypeVar("Result")


def gone() -> Problem:
    """What the log has of a request whose client has gone; the answer reaches nobody."""
    return Problem(499, "client_gone", "the client has closed the connection", "send it again")


async def in_time(request: Request, work: Coroutine[Any, Any, Result], seconds: float | None = None) -> Result:
    """The result of work for a request; the work is cancelled where nobody waits for it any more.

    Args:
        request: whose body has been read.
        work: what answers it.
        seconds: that it may take; `SECONDS` if None.

    Raises:
        Problem: the client has gone, or the time is over.
    """
    answer, leaving = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        limit = SECONDS if seconds is None else seconds
        done, _ = await asyncio.wait({answer, leaving}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if answer in done:
            return answer.result()
        if leaving in done:
            raise gone()
        what = f"there was no answer within {limit:g} s"
        raise Problem(504, "too_slow", what, "send it again later, or fewer images at once", {"Retry-After": "5"})
    finally:
        for task in (answer, leaving):
            task.cancel()
        await asyncio.gather(answer, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Return when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
