"""The addresses of a server: predictions, the networks and their cards, health, metrics, and the page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from podium import __version__
from podium.serving import schemas
from podium.serving.admission import stopped
from podium.serving.answering import Answering, answer_of
from podium.serving.bodies import read_images
from podium.serving.metrics import TYPE
from podium.serving.models import LONGEST
from podium.serving.protocol_v2 import open_inference
from podium.serving.reference import describe
from podium.serving.waiting import in_time
from podium.web.logs import facts_of
from podium.web.problems import Problem, answer_problems, json_bytes
from podium.web.server import Stopping
from podium.web.static import Static, page

PAGE = Path(__file__).with_name("page")
PREDICT = "/v1/predict"
FREE = (
    "/",
    "/static/",
    "/page/",
    "/healthz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/docs",
    "/openapi.json",
)
MOST_CLASSES = 1000  # that one answer lists

ModelName = Annotated[
    str | None, Query(description="the network's name; the first one if none is given", max_length=LONGEST)
]
Top = Annotated[int, Query(ge=1, le=MOST_CLASSES, description="how many classes the answer lists")]
Heat = Annotated[bool, Query(description="whether the answer has a heat map, where the network has one")]
BODY = {
    "requestBody": {
        "required": True,
        "description": "an image, as the body or as the files of a form",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    }
}


def make_app(answering: Answering, stopping: Stopping) -> FastAPI:
    """The application.

    Args:
        answering: what answers.
        stopping: whether the server was told to stop.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answering.begin()
        yield
        await answering.end()

    app = FastAPI(
        title="Podium",
        version=__version__,
        description="Classes of images, by exported networks.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    answer_problems(app)
    _add_predictions(app, answering)
    _add_health(app, answering, stopping)
    app.include_router(open_inference(answering, stopping))
    _add_page(app)
    describe(app)
    return app


def _add_predictions(app: FastAPI, answering: Answering) -> None:
    """Add what answers images, and says which networks there are."""

    @app.post(
        PREDICT,
        response_model=schemas.Prediction,
        responses=schemas.failures(400, 401, 404, 413, 415, 422, 503, 504),
        openapi_extra=BODY,
        summary="The classes of images",
    )
    async def predict(request: Request, model: ModelName = None, top: Top = 5, heat_map: Heat = False) -> Response:
        chosen = answering.models.find(model)
        if heat_map and not chosen.exported.has_heat_maps:
            fix = "leave heat_map out, or serve a file of `podium export --heatmap`"
            raise Problem(422, "heat_map_unavailable", "the file of this network gives no heat maps", fix)
        files = await read_images(request)
        facts_of(request.scope).update(model=chosen.name, images=len(files))
        answered = await in_time(request, answering.answer(chosen, files))
        return Response(json_bytes(answer_of(chosen, answered, top, heat_map)), media_type="application/json")

    @app.get(
        "/v1/models",
        response_model=schemas.ModelList,
        responses=schemas.failures(401),
        summary="The networks of this server",
    )
    async def models() -> Response:
        content = {"models": [model.described() for model in answering.models]}
        return Response(json_bytes(content), media_type="application/json")

    @app.get(
        "/v1/model", response_model=schemas.Card, responses=schemas.failures(401, 404, 422), summary="A network's card"
    )
    async def model(model: ModelName = None) -> Response:
        return Response(json_bytes(answering.models.find(model).card()), media_type="application/json")


def _add_health(app: FastAPI, answering: Answering, stopping: Stopping) -> None:
    """Add what says whether the server lives, whether it takes requests, and what it has done."""

    @app.get("/healthz", summary="Whether the server lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", responses=schemas.failures(503), summary="Whether the server takes requests")
    async def readyz() -> dict[str, str]:
        if stopping:
            raise stopped()
        return {"status": "ready"}

    @app.get("/metrics", responses=schemas.failures(401), summary="Counts for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(answering.metrics.text(), media_type=TYPE)


def _add_page(app: FastAPI) -> None:
    """Add the page and its files."""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return page(PAGE / "index.html")

    app.mount("/static", Static())
    app.mount("/page", Static(PAGE))
