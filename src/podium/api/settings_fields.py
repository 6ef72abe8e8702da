"""The keyword arguments of `podium.train` and its siblings as a type, so that editors complete and check them."""

from __future__ import annotations

from typing import TypedDict

from podium.settings.fields import (
    Amp,
    ClassWeights,
    Crop,
    LrScale,
    MemoryFormat,
    OnBad,
    Optimizer,
    Resize,
    Sampler,
    Schedule,
)


class DistillFields(TypedDict, total=False):
    """The settings that every operation takes as keywords, and three words for the length of training.

    `podium train --help` says what each one means. The fields `model`, `data` and `recipe` of `Settings` are missing here
    because operations have arguments of their own for them, as `distill` has for `teacher`. A test holds the names and types
    to those of `Settings`.
    """

    # The length of training: one of these at most
    epochs: float
    steps: int
    budget: str
    duration: str

    seed: int

    # Where the labels of images stand
    image_column: str | None
    label_column: str | None
    split_column: str | None
    class_from: str | None

    # Where the weights start
    weights: str | None
    freeze: str | None
    unfreeze: str | None
    alpha: float
    temperature: float
    qat: bool

    # What the network sees
    image_size: int | None
    small: bool | None
    channels: int | None
    resize: Resize
    val: float | None
    test: float | None
    split_seed: int | None
    group_from: str | None
    group_column: str | None
    slice: str | None
    folds: int | None
    fold: int | None
    on_bad: OnBad
    max_pixels: int
    workers: int | None

    # Augmentation
    crop: Crop
    crop_padding: float
    crop_range: tuple[float, ...]
    flip: bool | None
    erase: float
    colour: float
    mixup: float
    cutmix: float

    # Optimisation
    batch_size: int | str | None
    accumulate: int
    optimizer: Optimizer
    lr: float | None
    lr_scale: LrScale
    lr_batch: int | None
    momentum: float
    nesterov: bool
    eps: float
    weight_decay: float
    decay_all: bool
    layer_decay: float
    clip: float
    schedule: Schedule
    warmup: str
    milestones: tuple[float, ...]
    gamma: float
    decay_every: str
    label_smoothing: float
    ema: float
    class_weights: ClassWeights
    sampler: Sampler
    patience: int

    # What the trained network answers
    recall: str | None

    # The machine
    device: str
    amp: Amp
    deterministic: bool
    devices: int | None
    threads: int | None
    sync_batch_norm: bool
    memory_format: MemoryFormat
    grad_checkpointing: bool
    on_nan: str
    checkpoint_every: str | None
    keep_checkpoint: bool
    grace: str


class SettingsFields(DistillFields, total=False):
    """The settings as keywords of all other operations, which have no argument `teacher` of their own."""

    teacher: str | None
