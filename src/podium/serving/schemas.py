"""The shapes of answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

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
    """Where in the image the network saw the class."""

    width: int
    height: int
    values: list[list[float]]


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
