"""A line of JSON for each request on standard error, without addresses, names of files, or what was sent."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from podium.web.problems import fault, send_problem

FACTS = "podium"  # the key of a request's scope under which what answers it adds facts for the log

logger = logging.getLogger("podium.web")


class Lines(logging.Handler):
    """Writes each record as a line of JSON on standard error."""

    def emit(self, record: logging.LogRecord) -> None:  # noqa: D102
        facts: dict[str, Any] = getattr(record, "facts", {})
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage(), **facts}
        try:
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()
        except OSError:  # nobody reads it any more
            return


def log(event: str, level: int = logging.INFO, **facts: Any) -> None:
    """Write one line: what happened, and facts about it."""
    logger.log(level, event, extra={"facts": facts})


def write_lines(least: int = logging.INFO) -> None:
    """Have this process write its lines on standard error.

    Args:
        least: the level from which on lines are written; requests have INFO.
    """
    logger.handlers[:], logger.propagate = [Lines()], False
    logger.setLevel(least)
    for library in ("uvicorn", "python_multipart"):  # which would write lines of their own, with bytes that were sent
        quiet = logging.getLogger(library)
        quiet.handlers[:], quiet.propagate = [logging.NullHandler()], False


def facts_of(scope: Scope) -> dict[str, Any]:
    """The facts that the log has about a request; what answers it adds to them."""
    facts: dict[str, Any] = scope.setdefault(FACTS, {})
    return facts


class Noted:
    """`send` of a request, which notes the status of the answer.

    Args:
        send: of the request.
    """

    def __init__(self, send: Send) -> None:
        self.send, self.status = send, 0  # 0: there was no answer

    async def __call__(self, message: Message) -> None:  # noqa: D102
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)


class Logged:
    """Logs each request, and answers it where its application fails.

    The path stands in the log as the application's route, such as "/v1/predict", and never as it was sent.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, noted, facts = time.perf_counter(), Noted(send), facts_of(scope)
        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            log_fault(error)
            if not noted.status:
                await send_problem(fault(), scope, noted)
        finally:
            spent = round(1000 * (time.perf_counter() - began), 1)
            route = getattr(scope.get("route"), "path", facts.pop("route", "other"))
            log("request", method=scope["method"], path=route, status=noted.status, milliseconds=spent, **facts)


def log_fault(error: BaseException) -> None:
    """Log an error of our own: its kind and the lines it went through, without its text, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log("fault", logging.ERROR, kind=type(error).__name__, lines=lines)
