"""Files of pages: styles, scripts and phrases, from the folders of the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

COMMON = Path(__file__).with_name("static")  # what all pages share
TYPES = {  # not every system has these on record
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
FRESH = "no-cache"  # a browser keeps the file, and each time compares it with the server's


class WholeFile(FileResponse):
    """A file, all of it: a request for a range gets the whole too, as RFC 9110 (14.2) allows, and no error of another form."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        await super().__call__(_without_range(scope), receive, send)


def _without_range(scope: Scope) -> Scope:
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}


class Static(StaticFiles):
    """The files of one folder, each as a whole.

    Args:
        folder: of a page's own files; None: of what all pages share.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(directory=folder or COMMON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        await super().__call__(_without_range(scope), receive, send)

    def file_response(self, full_path: Any, *arguments: Any, **more: Any) -> Response:  # noqa: D102
        response = super().file_response(full_path, *arguments, **more)
        _describe(response, os.fspath(full_path))
        return response


def page(file: Path) -> Response:
    """The answer with a page."""
    response = WholeFile(file)
    _describe(response, os.fspath(file))
    return response


def _describe(response: Response, path: str) -> None:
    kind = TYPES.get(os.path.splitext(path)[1].lower())
    if kind is not None and "content-type" in response.headers:
        response.headers["content-type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    response.headers["cache-control"] = FRESH
