"""Who may use a server: a bearer token, and without one only pages of this machine's own address."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Collection
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from podium.errors import UsageError
from podium.web.problems import Problem, send_problem

VARIABLE = "PODIUM_TOKEN"
SHORTEST = 16  # characters of a token
MAKE_ONE = """python -c "import secrets; print(secrets.token_urlsafe())" > token.txt"""


def read_token(file: Path | None) -> str | None:
    """The token of a server: the content of a file, else $PODIUM_TOKEN; None where neither is given.

    Raises:
        UsageError: the file cannot be read, or what is given is no token.
    """
    if file is not None:
        try:
            token, where = file.read_text(encoding="ascii").strip(), str(file)
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else "not ASCII text"
            raise UsageError(f"--token-file {file}: cannot be read ({what})", f"make one: {MAKE_ONE}") from None
    elif VARIABLE in os.environ:
        token, where = os.environ[VARIABLE].strip(), VARIABLE
    else:
        return None
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        what = f"{where}: a token is one word of at least {SHORTEST} ASCII characters"
        raise UsageError(what, f"make one: {MAKE_ONE}")
    return token


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Refuses requests without the token.

    A server without a token that this machine alone reaches answers only requests that were sent to this machine by name or
    number: the name of a foreign page that was made to lead here (DNS rebinding) is refused, and so is what a page of another
    site has a browser send, which would otherwise have the network compute.

    Args:
        app: what answers.
        token: the token; None: none is needed.
        free: paths that need no token; one that ends in "/" stands for all below it.
        local: whether this machine alone reaches the server.
    """

    def __init__(self, app: ASGIApp, token: str | None, free: Collection[str] = (), local: bool = True) -> None:
        self.app, self.free, self.local = app, frozenset(free), local
        self.token = None if token is None else token.encode()
        self.below = tuple(path for path in self.free if path.endswith("/") and path != "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] == "http" and (problem := self.refusal(scope)) is not None:
            await send_problem(problem, scope, send)
            return
        await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request is refused; None where it is not."""
        headers = dict(scope["headers"])
        if self.token is None:
            host = headers.get(b"host", b"").decode("latin-1").rpartition(":")
            name = host[0] if host[0] and host[2].isdecimal() else "".join(host)
            if self.local and name and not is_loopback(name):
                fix = "open it as http://127.0.0.1 with its port, or start the server with a token"
                return Problem(421, "wrong_host", "this server answers requests of its own machine only", fix)
            if scope["method"] not in ("GET", "HEAD") and headers.get(b"sec-fetch-site") == b"cross-site":
                fix = "open the server's own page, or give the server a token and send it"
                return Problem(403, "cross_site", "a page of another site sent this request", fix)
            return None
        if scope["path"] in self.free or scope["path"].startswith(self.below):
            return None
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and has_token(
            given[0], self.token
        ):  # of two, what stands before us may have checked the other
            return None
        fix = "send the header Authorization: Bearer TOKEN with the token that the server was started with"
        return Problem(401, "unauthorized", "the token is missing or wrong", fix, {"WWW-Authenticate": "Bearer"})


def has_token(header: bytes, token: bytes) -> bool:
    """Whether a header Authorization has the token, compared in a time that does not depend on where they differ."""
    scheme, _, given = header.partition(b" ")
    return hmac.compare_digest(given.strip(), token) and scheme.lower() == b"bearer"
