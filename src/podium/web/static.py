"""Files of pages: styles, scripts and phrases, from the folders of the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

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


class Static(StaticFiles):
    """The files of one folder.

    Args:
        folder: of a page's own files; None: of what all pages share.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(directory=folder or COMMON)

    def file_response(self, full_path: Any, *arguments: Any, **more: Any) -> Response:  # noqa: D102
        response = super().file_response(full_path, *arguments, **more)
        _describe(response, os.fspath(full_path))
        return response


def page(file: Path) -> Response:
    """The answer with a page."""
    response = FileResponse(file)
    _describe(response, os.fspath(file))
    return response


def _describe(response: Response, path: str) -> None:
    kind = TYPES.get(os.path.splitext(path)[1].lower())
    if kind is not None and "content-type" in response.headers:
        response.headers["content-type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    response.headers["cache-control"] = FRESH
