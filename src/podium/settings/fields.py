"""The settings of a training run: what each is for, its default, and what values it may have."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from podium.devices import HELP as DEVICES
from podium.errors import UsageError
from podium.settings.checks import check, check_sense

# The words that a setting may have.
Resize = Literal["crop", "pad", "stretch"]
OnBad = Literal["error", "skip"]
Crop = Literal["none", "pad", "scale", "area"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop", "muon"]
LrScale = Literal["none", "linear", "sqrt"]
Schedule = Literal["constant", "step", "cosine", "one-cycle", "exponential"]
ClassWeights = Literal["none", "inverse", "sqrt", "effective"]
Sampler = Literal["shuffle", "balanced"]
Amp = Literal["auto", "bf16", "fp16", "tf32", "off"]
PRECISION = {"bf16": "bfloat16", "fp16": "float16", "tf32": "TF32"}  # what a value of `amp` is called; others: float32
MemoryFormat = Literal["auto", "channels_last", "contiguous"]


def option(
    default: Any,
    help: str,
    *,
    choices: Any = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    word: str | None = None,
) -> Any:
    """Make a field of the settings with its help text and the values it may have.

    Args:
        default: of the setting.
        help: what `--help` says of it.
        choices: the Literal of all values that a text may have.
        at_least, below: bounds of a number.
        at_most: a bound for values that are given now; a run of an older version may have a larger one on record.
        word: a text that may stand in place of a number, such as "auto".
    """
    bounds = {
        "choices": typing.get_args(choices),
        "at_least": at_least,
        "below": below,
        "at_most": at_most,
        "word": word,
    }
    return field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True)
class Settings:
    """All settings of a training run. Every field is a flag of `podium train` and a key of a settings file."""

    model: str = option("", "name of the network (`podium models`)")
    data: str = option("", "a named set, a folder, an archive, or a table")
    recipe: str = option("quick", "named settings to start from (`podium recipes`)")
    seed: int = option(0, "seed of all randomness", at_least=0, at_most=2**63 - 1)
    duration: str = option("20ep", "how long to train: 30ep, 5000it, or a time budget such as 90s, 10m, 2h")

    # Where the labels of images stand
    image_column: str | None = option(None, "a table: the column that names the images (default: found by its content)")
    label_column: str | None = option(
        None, "a table: the column of classes, or their 0/1 columns as A,B,C (default: found by its name)"
    )
    split_column: str | None = option(None, "a table: its column of splits, or 0/1 columns A,B (default: by its name)")
    class_from: str | None = option(
        None, "a regular expression whose group is the class in each image's path below the data (default: its folder)"
    )

    # Where the weights start
    weights: str | None = option(
        None, "start from these: a run or bundle, LIBRARY:NAME, or LIBRARY:NAME=FILE (default: fresh ones)"
    )
    freeze: str | None = option(None, "train only what follows this part: stem, a stage's name, or features")
    unfreeze: str | None = option(
        None,
        "when frozen parts begin to thaw, the top one first: 20%%, 2ep or 400it; at twice that time all is trained (default: never)",
    )
    teacher: str | None = option(
        None, "a run or bundle whose probabilities are learned too (knowledge distillation, Hinton et al. 2015)"
    )
    alpha: float = option(0.9, "teacher: its share of the loss; the labels have the rest", at_least=0.0)
    temperature: float = option(
        4.0, "teacher: what logits are divided by before they are compared", at_least=0.01, at_most=1000
    )
    qat: bool = option(
        False, "quantisation-aware training: round weights and activations as int8 will (Jacob et al. 2018)"
    )

    # What the network sees
    image_size: int | None = option(
        None,
        "side of the square input in pixels (default: the data's own, or the network's for photos)",
        at_least=1,
        at_most=16384,
    )
    small: bool | None = option(
        None, "the network's form for small images (default: for images that are stored with up to 64 px)"
    )
    channels: int | None = option(None, "1 for grey, 3 for colour (default: the data's own)", at_least=1, at_most=3)
    resize: Resize = option("crop", "how an image becomes square", choices=Resize)
    val: float | None = option(
        None, "fraction of the training images held out to choose the best weights", at_least=0.0, below=1.0
    )
    test: float | None = option(
        None,
        "fraction of the training images held out to report on once, after all choices (default: none; podium compare makes "
        "test images where there are none)",
        at_least=0.0,
        below=1.0,
    )
    split_seed: int | None = option(None, "seed of the choice of held-out images (default: seed)", at_least=0)
    group_from: str | None = option(
        None,
        "regular expression whose group finds the patient, video or burst in an image's path: its images are never in two "
        "splits",
    )
    group_column: str | None = option(
        None, "column of the table that names the patient, video or burst, in place of --group-from"
    )
    slice: str | None = option(
        None,
        "also report the accuracy for each value of this column, or of what a regular expression finds in the path",
    )
    folds: int | None = option(
        None,
        "cross-validation: parts of the train and validation images, each of which tests networks trained on the others",
        at_least=2,
        at_most=1000,
    )
    fold: int | None = option(
        None, "the part that tests this run, from 1 (default: none; all train but a tenth for validation)", at_least=1
    )
    on_bad: OnBad = option("error", "an unreadable image stops the run, or is left out and listed", choices=OnBad)
    max_pixels: int = option(
        50_000_000,
        "the largest image that is opened, as width times height; a larger one is unreadable",
        at_least=1,
        at_most=2**31 - 1,
    )
    workers: int | None = option(
        None,
        "threads that decode images (default: 2 where a CPU trains; as many as there are cores, at most 16, for each GPU)",
        at_least=0,
        at_most=256,
    )

    # Augmentation
    crop: Crop = option(
        "none",
        "random crops: shifted by padding, by scale (VGG), or by area and aspect (Inception)",
        choices=Crop,
    )
    crop_padding: float = option(0.125, "pad: largest shift, as a fraction of the side", at_least=0.0, below=1.0)
    crop_range: tuple[float, ...] = option(
        (0.25, 1.0),
        "area: fraction of the image, from-to; scale: short side over crop side, from-to (default there: VGG's 1.14,2.29)",
    )
    flip: bool | None = option(None, "mirror half of the images (default: where the data allows it)")
    erase: float = option(
        0.0, "side of a square erased at random, as a fraction of the image's", at_least=0.0, below=1.0
    )
    colour: float = option(
        0.0,
        "standard deviation of the colour noise along the principal components (AlexNet: 0.1)",
        at_least=0.0,
        at_most=10,
    )
    mixup: float = option(0.0, "Beta parameter of mixup; 0 is off", at_least=0.0, at_most=1000)
    cutmix: float = option(0.0, "Beta parameter of CutMix; 0 is off", at_least=0.0, at_most=1000)

    # Optimisation
    batch_size: int | str | None = option(
        None,
        "images a step (default: 128, fewer where the images are few: 40 steps an epoch); auto: the largest power of two "
        "that fits into memory",
        at_least=2,
        at_most=10**9,
        word="auto",
    )
    accumulate: int = option(
        1,
        "parts that the images of a step are split into, one after the other, for less memory: the gradient is that of all "
        "of them, but batch norms see one part at a time",
        at_least=1,
        at_most=10**9,
    )
    optimizer: Optimizer = option("sgd", "optimiser", choices=Optimizer)
    lr: float | None = option(
        None, "learning rate at its highest (default: by optimiser; a tenth for deep nets without norms)", at_least=0.0
    )
    lr_scale: LrScale = option(
        "none",
        "how lr follows the batch size: in proportion to it (Goyal et al. 2017), to its square root, or not",
        choices=LrScale,
    )
    lr_batch: int | None = option(
        None, "images a step that lr is meant for (default: the recipe's, or 128)", at_least=1, at_most=10**9
    )
    momentum: float = option(0.9, "momentum of SGD and RMSProp", at_least=0.0, below=1.0)
    nesterov: bool = option(True, "Nesterov momentum, for SGD")
    eps: float = option(1e-8, "epsilon of Adam and RMSProp", at_least=0.0, at_most=1000)
    weight_decay: float = option(5e-4, "weight decay", at_least=0.0, at_most=1000)
    decay_all: bool = option(False, "let norms and biases decay too, as the papers did")
    layer_decay: float = option(
        1.0,
        "factor of the learning rate from each stage to the one before it, for fine-tuning",
        at_least=0.0,
        at_most=1,
    )
    clip: float = option(0.0, "largest norm of the gradient; 0 is off", at_least=0.0)
    schedule: Schedule = option("cosine", "schedule of the learning rate", choices=Schedule)
    warmup: str = option("0it", "linear rise of the learning rate: 5ep, 400it or 10%%")
    milestones: tuple[float, ...] = option((0.5, 0.75), "step: where the rate falls, as fractions of the run")
    gamma: float = option(0.1, "step, exponential: factor by which the rate falls", at_least=0.0, at_most=1)
    decay_every: str = option("2ep", "exponential: time between falls")
    label_smoothing: float = option(0.0, "share of the target spread over all classes", at_least=0.0, below=1.0)
    ema: float = option(
        0.0,
        "decay of the exponential moving average (EMA) of the weights, which is evaluated and kept; 0 is off",
        at_least=0.0,
        below=1.0,
    )
    class_weights: ClassWeights = option(
        "none",
        "weight of each class in the loss: one over its number of images, over the root of it, or over its effective number "
        "(Cui et al. 2019)",
        choices=ClassWeights,
    )
    sampler: Sampler = option(
        "shuffle", "images of an epoch: each once (shuffle), or equally many of each class (balanced)", choices=Sampler
    )
    patience: int = option(
        0, "stop after so many epochs without a better validation score; 0 is off", at_least=0, at_most=10**9
    )

    # What the trained network answers
    recall: str | None = option(
        None,
        "CLASS=SHARE,...: give each of these classes a threshold of its own, fitted on validation images, at which this share "
        "of the class is found: defect=0.99",
    )

    # The machine
    device: str = option("auto", DEVICES)
    amp: Amp = option(
        "auto",
        "precision of training: bfloat16, float16 (for GPUs without bfloat16), TF32 (float32 whose factors are rounded, on NVIDIA's "
        "GPUs), or float32 (off); auto takes the fastest that the hardware has",
        choices=Amp,
    )
    deterministic: bool = option(
        True,
        "on an NVIDIA GPU, compute with kernels that give the same bits each time, so that a run that was stopped and resumed "
        "ends as one that was not; --no-deterministic may be faster",
    )
    devices: int | None = option(
        None,
        "processes that share each batch, one a GPU, or else dividing the cores (default: 1)",
        at_least=1,
        at_most=4096,
    )
    threads: int | None = option(
        None,
        "threads that compute, in each process; a resume takes as many (default: as many as there are, or fewer where other "
        "programs hold cores and fewer are measured to be faster)",
        at_least=1,
    )
    sync_batch_norm: bool = option(False, "batch norm over all of a step's images, not over those of each device")
    memory_format: MemoryFormat = option(
        "auto",
        "memory format of the feature maps: auto takes the faster one",
        choices=MemoryFormat,
    )
    grad_checkpointing: bool = option(
        False,
        "do not keep the activations inside a stage, compute them again in the backward pass: less memory, a third more time",
    )
    on_nan: str = option(
        "error",
        "a loss or gradient that is not finite stops the run; skip:N leaves out up to N such steps, and says so",
    )
    checkpoint_every: str | None = option(
        None, "time between checkpoints (default: 60s, longer where saving takes over 3 %% of it)"
    )
    keep_checkpoint: bool = option(
        False, "keep the last checkpoint of a finished run, with the optimiser's state, though no run resumes from it"
    )
    grace: str = option("30s", "time that the current step and saving may take after Ctrl-C or SIGTERM")

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            check_value(spec.name, getattr(self, spec.name))

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed, checked again."""
        return dataclasses.replace(self, **changes)

    @property
    def peak(self) -> float:
        """The learning rate at its highest, once all that it follows is decided."""
        if self.lr is None:
            raise UsageError("lr: not decided yet", "give one")
        if self.lr_scale == "none":
            return self.lr
        if not isinstance(self.batch_size, int) or self.lr_batch is None:
            raise UsageError("lr_scale: batch_size and lr_batch are not decided yet", "give both")
        return self.lr * (self.batch_size / self.lr_batch) ** {"linear": 1, "sqrt": 0.5}[self.lr_scale]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a settings file has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


FIELDS = {spec.name: spec for spec in dataclasses.fields(Settings)}
TYPES = typing.get_type_hints(Settings)
UNKNOWN = "`podium train --help` lists them"  # the fix for a name that no setting has


def base_type(name: str) -> tuple[type, bool]:
    """The type of a setting, the first where it has several, and whether it may be None."""
    hint = TYPES[name]
    if isinstance(hint, types.UnionType):
        return next(t for t in typing.get_args(hint) if t is not type(None)), True
    if typing.get_origin(hint) is Literal:
        return str, False
    return typing.get_origin(hint) or hint, False


def check_value(name: str, value: Any) -> None:
    """Raise a UsageError that names the setting, the value and what it may be."""
    kind, optional = base_type(name)
    if value is not None or not optional:
        check(name, value, kind, FIELDS[name].metadata)


def check_given(name: str, value: Any) -> None:
    """Check a value that a person gives now: as `check_value`, and refuse what makes no sense, which older runs may have on record."""
    check_value(name, value)
    check_sense(name, value, FIELDS[name].metadata)
