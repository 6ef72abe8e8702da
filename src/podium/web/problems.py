"""Errors as JSON: a code for programs, a message and a fix for people. Never a traceback, a path or a file's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope, Send

# What is wrong with a value of a request, by the kind of the error that pydantic finds, with the limits that it names.
WRONG = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
}
OPEN_PROTOCOL = "/v2"  # the paths of the Open Inference Protocol, whose errors have the key "error"


class Problem(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        code: a word for programs, such as "image_unreadable".
        message: what is wrong.
        fix: what to do about it.
        headers: more of the answer, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, fix: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fix = status, code, message, fix
        self.headers = dict(headers or {})

    def content(self, path: str) -> dict[str, str]:
        """The body of the answer to a request of this path."""
        said = {"code": self.code, "message": self.message, "fix": self.fix}
        return {"error": f"{self.message}; {self.fix}", **said} if path.startswith(OPEN_PROTOCOL) else said

    def response(self, path: str) -> Response:
        """The answer, for a request of this path."""
        return Response(json_bytes(self.content(path)), self.status, self.headers, "application/json")


def json_bytes(content: Any) -> bytes:
    r"""JSON as UTF-8, without spaces; names that are not UTF-8 have their odd bytes as `\udce9`."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


async def send_problem(problem: Problem, scope: Scope, send: Send, last: bool = True) -> None:
    """Answer a request with an error, without the framework.

    Args:
        problem: the error.
        scope, send: of the request.
        last: False leaves the answer open, though all of its bytes are sent, so that the rest of the body can be read.
    """
    body = json_bytes(problem.content(scope["path"]))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(key.lower().encode(), value.encode()) for key, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": not last})


def fault() -> Problem:
    """The error for a fault of our own, whose traceback is in the log."""
    return Problem(500, "fault", "a fault of the server's own", "look into its log, and report what stands there")


def answer_problems(app: FastAPI) -> None:
    """Have an application answer every error as JSON."""

    async def ours(request: Request, error: Exception) -> Response:
        problem = error if isinstance(error, Problem) else fault()
        return problem.response(request.url.path)

    async def of_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        kinds = {
            404: ("not_found", "there is nothing at this address", "see /docs for those that there are"),
            405: ("method_not_allowed", "this address takes another method", "see /docs for the method it takes"),
        }
        code, message, fix = kinds.get(status, ("refused", "the request is refused", "see /docs for what it may be"))
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return Problem(status, code, message, fix, headers).response(request.url.path)

    async def of_values(request: Request, error: Exception) -> Response:
        found: dict[str, Any] = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        where = found.get("loc", ("request",))[-1]
        what = WRONG.get(found.get("type", ""), "cannot be used").format(**found.get("ctx", {}))
        problem = Problem(422, "value_refused", f"{where} {what}", "see /docs for the values that it takes")
        return problem.response(request.url.path)

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_values)
    app.add_exception_handler(Exception, ours)
