"""The shapes of answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Failure(BaseModel):
    """Why a request was not answered."""

    code: str = Field(description="a word for programs", examples=["image_unreadable"])
    message: str = Field(description="what is wrong")
    fix: str = Field(description="what to do about it")


class Class(BaseModel):
    """A class with its probability."""

    class_: str = Field(alias="class", examples=["rose"])
    probability: float = Field(ge=0, le=1, examples=[0.93])


class HeatMap(BaseModel):
    """Where in the square that the network sees its most probable class comes from."""

    width: int = Field(description="of the map, in values")
    height: int
    span: float = Field(
        gt=0, description="the map's side as a share of the square's, in whose middle it lies", examples=[1.0, 0.85]
    )
    values: list[list[float]] = Field(description="from 0 to 1, row by row from the top")


class Answer(BaseModel):
    """What the network says of one image."""

    classes: list[Class] = Field(description="the most probable classes, most probable first")
    answer: str | None = Field(description="the class that the image is answered with; null where it is unknown")
    unknown: bool = Field(description="whether no class is probable enough, by the threshold of the network's card")
    width: int = Field(description="of the image, upright, in pixels")
    height: int
    heat_map: HeatMap | None


class Milliseconds(BaseModel):
    """Where the time went."""

    decode: float
    queue: float
    compute: float


class Prediction(BaseModel):
    """The answers to the images of a request, in order."""

    model: str
    answers: list[Answer]
    milliseconds: Milliseconds


class Size(BaseModel):
    """Of the square that a network sees, in pixels."""

    width: int
    height: int


class ModelRow(BaseModel):
    """A network of this server."""

    name: str
    classes: list[str]
    input: Size
    heat_map: bool = Field(description="whether it has heat maps")
    engine: str
    megabytes: float


class ModelList(BaseModel):
    """The networks of this server; the first answers requests that name none."""

    models: list[ModelRow]


Card = dict[str, Any]


class Refused(Failure):
    """Why a request of the Open Inference Protocol was not answered."""

    error: str = Field(description="message and fix")


class ServerMetadata(BaseModel):
    """Which server this is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output of a network; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A network's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Ready(BaseModel):
    """Whether a network takes requests."""

    name: str
    ready: bool


class InputTensor(BaseModel):
    """The images: in base64 here, or binary behind the JSON, where `parameters.binary_data_size` says how long they are."""

    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[int] = Field(description="[N], the number of images", min_length=1, max_length=2)
    data: list[str] | None = Field(default=None, description="images in base64")
    parameters: dict[str, Any] | None = None


class WantedTensor(BaseModel):
    """An output that is wanted: `parameters.binary_data` puts it behind the JSON, `parameters.classification` ranks classes."""

    name: Literal["probabilities", "answer", "known"]
    parameters: dict[str, Any] | None = None


class InferenceRequest(BaseModel):
    """A request of the Open Inference Protocol."""

    id: str | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedTensor] | None = Field(default=None, description="all of them if none is named")
    parameters: dict[str, Any] | None = None


class OutputTensor(BaseModel):
    """An output, with its values here or behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferenceAnswer(BaseModel):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


REASONS = {
    400: "no image, or a body that cannot be read",
    401: "the token is missing or wrong",
    404: "no network has this name",
    413: "too many bytes, images or pixels",
    415: "no image, or one of a format that is not read",
    422: "a damaged image, or a value that cannot be used",
    503: "too many requests, or the server is ending; see Retry-After",
    504: "no answer in time",
}


def failures(*statuses: int, of: type[BaseModel] = Failure) -> dict[int | str, dict[str, Any]]:
    """The errors of some statuses, as routes take them.

    Args:
        statuses: of HTTP.
        of: their body.
    """
    return {status: {"model": of, "description": REASONS[status]} for status in statuses}
