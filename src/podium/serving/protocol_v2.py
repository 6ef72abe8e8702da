"""The addresses of the Open Inference Protocol, version 2, which clients of Triton and KServe speak."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Request
from fastapi import Path as InPath
from starlette.responses import Response

from podium import __version__
from podium.serving import schemas
from podium.serving.admission import stopped
from podium.serving.answering import Answering
from podium.serving.bodies import apart, read_body
from podium.serving.models import LONGEST, Model
from podium.serving.tensors import HEADER, INPUT, encode, outputs_of, parse_inference
from podium.serving.waiting import in_time
from podium.web.logs import facts_of
from podium.web.problems import Problem
from podium.web.server import Stopping

VERSION = "1"  # a network of a server has one
Name = Annotated[str, InPath(description="of the network", max_length=LONGEST)]
Version = Annotated[str, InPath(description="of the network: there is 1", max_length=20)]
Length = Annotated[str | None, Header(alias=HEADER, description="where binary values begin in the body", max_length=20)]
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}},
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
            },
        },
    }
}


def open_inference(answering: Answering, stopping: Stopping) -> APIRouter:
    """The addresses.

    Args:
        answering: what answers.
        stopping: whether the server was told to stop.
    """
    routes = APIRouter(tags=["Open Inference Protocol"])
    _add_health(routes, stopping)
    _add_models(routes, answering, stopping)
    return routes


def _add_health(routes: APIRouter, stopping: Stopping) -> None:
    @routes.get("/v2", summary="Which server this is", responses=schemas.failures(401, of=schemas.Refused))
    async def server() -> schemas.ServerMetadata:
        extensions = ["binary_tensor_data", "classification"]
        return schemas.ServerMetadata(name="podium", version=__version__, extensions=extensions)

    @routes.get("/v2/health/live", summary="Whether the server lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get(
        "/v2/health/ready",
        summary="Whether the server takes requests",
        responses=schemas.failures(503, of=schemas.Refused),
    )
    async def ready() -> dict[str, bool]:
        if stopping:
            raise stopped()
        return {"ready": True}


def _add_models(routes: APIRouter, answering: Answering, stopping: Stopping) -> None:
    """Add the addresses of networks, with and without a version."""

    def named(name: Name) -> Model:
        return answering.models.find(name)

    def of_version(name: Name, version: Version) -> Model:
        if version != VERSION:
            raise Problem(404, "version_unknown", "no network of this server has this version", f"take {VERSION}")
        return answering.models.find(name)

    _add_model(routes, "/v2/models/{name}", named, answering, stopping)
    _add_model(routes, "/v2/models/{name}/versions/{version}", of_version, answering, stopping)


def _add_model(
    routes: APIRouter, path: str, find: Callable[..., Model], answering: Answering, stopping: Stopping
) -> None:
    """Add the addresses below one path, whose network `find` finds by the path's own words."""
    Found = Annotated[Model, Depends(find)]
    known = schemas.failures(401, 404, 422, of=schemas.Refused)
    unready = schemas.failures(401, 404, 422, 503, of=schemas.Refused)
    more = schemas.failures(400, 401, 404, 413, 415, 422, 503, 504, of=schemas.Refused)

    @routes.get(path, summary="A network's inputs and outputs", responses=known)
    async def metadata(model: Found) -> schemas.ModelMetadata:
        return schemas.ModelMetadata(
            name=model.name,
            versions=[VERSION],
            platform=f"podium_{model.exported.engine['engine']}",
            inputs=[schemas.TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1])],
            outputs=[schemas.TensorMetadata(**each) for each in outputs_of(model.exported)],
        )

    @routes.get(f"{path}/ready", summary="Whether a network takes requests", responses=unready)
    async def ready(model: Found) -> schemas.Ready:
        if stopping:
            raise stopped()
        return schemas.Ready(name=model.name, ready=True)

    @routes.post(
        f"{path}/infer",
        summary="The classes of images",
        response_model=schemas.InferenceAnswer,
        responses=more,
        openapi_extra=BODY,
    )
    async def infer(request: Request, model: Found, length: Length = None) -> Response:
        body = await read_body(request)
        names = [each["name"] for each in outputs_of(model.exported)]
        wanted = await apart(parse_inference, body, length, names)
        facts_of(request.scope).update(model=model.name, images=len(wanted.images))
        answered = await in_time(request, answering.answer(model, wanted.images))
        probabilities = np.stack([one.probabilities for one in answered.outputs])
        maps = [one.heat_map for one in answered.outputs if one.heat_map is not None]
        given = probabilities, answered.chosen, np.stack(maps) if maps else None
        content, headers = encode(model.name, model.classes, wanted, *given)
        return Response(content, headers=headers, media_type=None if headers else "application/json")


def inference_schemas() -> dict[str, Any]:
    """The schemas that only bodies of requests name, for the OpenAPI document."""
    schema = schemas.InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    inner = schema.pop("$defs", {})
    return {**inner, "InferenceRequest": schema}
