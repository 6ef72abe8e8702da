"""The OpenAPI document of a server, and a page that shows it: plain HTML, without a script and without any other server."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from podium.serving.protocol_v2 import inference_schemas

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Podium: addresses</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/look.css">
<script src="static/theme.js"></script>
</head>
<body>
<header class="top">
<a class="brand" href="./">Podium</a>
<button type="button" id="theme">Dark</button>
</header>
<main id="main">
<h1>What this server answers</h1>
<p class="lead">{lead} <a href="openapi.json">openapi.json</a> has the same for programs, and <a href="./">the page</a> tries it.</p>
<h2>Addresses</h2>
{operations}
<h2>Shapes</h2>
{shapes}
</main>
</body>
</html>
"""


def describe(app: FastAPI) -> None:
    """Add /openapi.json and /docs to an application that has all its other addresses."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(document_of(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page_of(openapi()), media_type="text/html")


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's, without its own errors, which are never sent, and with what only bodies name."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    shapes = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        shapes.pop(unused, None)
    shapes.update(inference_schemas())
    document["components"]["schemas"] = dict(sorted(shapes.items()))
    for operation in (each for path in document["paths"].values() for each in path.values()):
        operation["responses"]["200"]["description"] = "the answer"
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}, {}]
    return document


def page_of(document: dict[str, Any]) -> str:
    """The document as a page."""
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [_shape(name, shape) for name, shape in document["components"]["schemas"].items()]
    lead = escape(document["info"]["description"])
    return PAGE.format(lead=lead, operations="\n".join(operations), shapes="\n".join(shapes))


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    """One address: what it takes and what it answers."""
    rows = [
        (f"{each['in']} {each['name']}", _kind(each.get("schema", {})), each.get("description", ""))
        for each in operation.get("parameters", [])
    ]
    content = operation.get("requestBody", {}).get("content", {})
    rows += [("body", kind, _kind(each.get("schema", {}))) for kind, each in content.items()]
    for status, answer in operation["responses"].items():
        found = answer.get("content", {}).get("application/json", {}).get("schema", {})
        rows.append((f"answer {status}", _kind(found) if found else "text", answer.get("description", "")))
    title = (
        f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3><p>{escape(operation.get('summary', ''))}.</p>"
    )
    return title + _list(rows)


def _shape(name: str, shape: dict[str, Any]) -> str:
    """One shape: its fields."""
    needed = set(shape.get("required", []))
    rows = [
        (key, _kind(field) + ("" if key in needed else ", or left out"), field.get("description", ""))
        for key, field in shape.get("properties", {}).items()
    ]
    return f"<h3><code>{escape(name)}</code></h3><p>{escape(shape.get('description', ''))}</p>{_list(rows)}"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in some words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("const") or schema.get("type") or "anything")


def _list(rows: list[tuple[str, str, str]]) -> str:
    """Names, each with its kind and what it is for."""
    body = "".join(
        f"<dt>{escape(name)}</dt><dd><code>{escape(kind)}</code> {escape(text)}</dd>" for name, kind, text in rows
    )
    return f"<dl>{body}</dl>" if rows else ""
