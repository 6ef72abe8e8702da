"""Check calls from Python: an unknown keyword or a value of the wrong kind is a UsageError with a suggestion."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import numbers
import os
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from podium.errors import PodiumError, UsageError, closest
from podium.fixes import in_words_of_the_caller

EXACT = 2**53  # below this every float that is whole is the integer that was written
P = ParamSpec("P")
T = TypeVar("T")

# Our argument -> what other libraries call it.
_ALIASES = {
    "lr": "learning_rate learningrate rate base_lr max_lr lr0 eta",
    "epochs": "epoch n_epochs num_epochs nb_epoch max_epochs passes duration length",
    "steps": "step n_steps num_steps max_steps iterations iters max_iter",
    "budget": "time time_budget max_time",
    "duration": "epochs epoch n_epochs num_epochs steps budget length",
    "batch_size": "batch batchsize bs train_batch_size bsz",
    "weight_decay": "wd weightdecay decay l2 weight_decay_rate",
    "optimizer": "optim opt optimiser solver",
    "schedule": "scheduler lr_scheduler lr_schedule sched",
    "image_size": "size img_size input_size imgsz resolution image_shape input_shape",
    "channels": "in_channels in_chans num_channels",
    "in_chans": "channels in_channels num_channels",
    "num_classes": "classes n_classes nb_classes num_labels n_class",
    "jobs": "n_jobs parallel",
    "workers": "num_workers n_workers jobs n_jobs",
    "seed": "random_state random_seed manual_seed rng",
    "seeds": "n_seeds num_seeds repeats seed",
    "label_smoothing": "smoothing",
    "devices": "gpus num_gpus n_gpus gpu",
    "device": "gpu cuda",
    "amp": "fp16 bf16 precision mixed_precision half",
    "out": "output out_dir output_dir save_dir folder dest",
    "val": "val_split validation_split val_size val_fraction valid test_size",
    "test": "test_split test_size test_fraction",
    "clip": "grad_clip clip_grad gradient_clip max_grad_norm clipnorm",
    "patience": "early_stopping",
    "flip": "hflip horizontal_flip mirror fliplr",
    "erase": "random_erasing cutout reprob",
    "freeze": "frozen freeze_until",
    "temperature": "temp tau",
    "accumulate": "accumulation grad_accum gradient_accumulation_steps accumulate_grad_batches",
    "top": "topk top_k k",
    "limit": "n max_images n_images num_images",
    "images": "image img paths path files file",
    "tolerance": "tol",
    "width": "width_mult width_factor multiplier",
    "net": "model name network",
    "name": "model net",
    "models": "nets networks names model",
    "data": "dataset data_dir train_data images folder",
    "source": "data path folder dataset",
    "recipe": "preset",
    "config": "cfg config_file settings",
    "resume": "resume_from continue restart",
}
MEANT: dict[str, list[str]] = {}
for _ours, _theirs in _ALIASES.items():
    for _word in _theirs.split():
        MEANT.setdefault(_word, []).append(_ours)
SAID = {
    "pretrained": 'for official weights: weights="torchvision:NAME", such as weights="torchvision:resnet50"',
    "pretrain": 'for official weights: weights="torchvision:NAME", such as weights="torchvision:resnet50"',
}


_SETS = "give the name of a set such as 'digits', the path of a folder or archive"
_DATA = {"source": _SETS, "data": f"{_SETS}, or what load_data gave"}


def meant(word: str, known: Iterable[str], otherwise: str) -> str:
    """The fix to show for an unknown word: its name here if other libraries call it so, else names spelt like it; never empty.

    Args:
        word: as given, without dashes before it.
        known: the words there are.
        otherwise: the fix where nothing is close.
    """
    names, plain = list(known), word.lower().replace("-", "_")
    if plain in SAID:
        return SAID[plain]
    for ours in MEANT.get(plain, []):
        if ours in names:
            return f"did you mean {ours}?"
    return closest(plain, names) or otherwise


def public(function: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of a function against its signature: what does not fit is a `UsageError`, not a TypeError.

    The fixes of errors that it raises name keywords, where the caller is not the command line.
    """
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        own = {key: value for key, value in function.__annotations__.items() if key != "return"}
        bare = types.SimpleNamespace(__annotations__=own)
        return typing.get_type_hints(bare, getattr(function, "__globals__", {}))

    @functools.wraps(function)
    def called(*arguments: P.args, **keywords: P.kwargs) -> T:
        bound = _bound(function.__name__, signature, arguments, keywords)
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if name in hints() and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                check_kind(name, value, hints()[name])
        try:
            return function(*arguments, **keywords)
        except PodiumError as error:
            error.fix = in_words_of_the_caller(error.fix) if error.fix else error.fix
            raise

    called.__signature__ = _with_settings(function, signature)  # type: ignore[attr-defined]
    return called


def _with_settings(function: Callable[..., Any], signature: inspect.Signature) -> inspect.Signature:
    """A signature with each keyword that `**settings: Unpack[...]` stands for, as notebooks read it to complete and to show it."""
    own, parameters = getattr(function, "__globals__", {}), list(signature.parameters.values())
    if not parameters or parameters[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return signature
    hint = typing.get_type_hints(types.SimpleNamespace(__annotations__={"all": parameters[-1].annotation}), own)["all"]
    if typing.get_origin(hint) is not typing.Unpack:
        return signature
    fields = typing.get_args(hint)[0]
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=kind.__forward_arg__)
        for name, kind in fields.__annotations__.items()
    ]
    return signature.replace(parameters=[*parameters[:-1], *named])


def from_keywords(kind: Callable[..., T], caller: str, keywords: Mapping[str, Any]) -> T:
    """Make a dataclass of options from a function's keywords; what does not fit is named as an argument of that function.

    Args:
        kind: the dataclass.
        caller: the function's name.
        keywords: as the function got them.

    Raises:
        UsageError: a keyword is unknown or missing, or a value is of another kind than the field's.
    """
    bound, hints = _bound(caller, inspect.signature(kind), (), dict(keywords)), typing.get_type_hints(kind)
    for name, value in bound.arguments.items():
        check_kind(name, value, hints[name])
    return kind(**keywords)


def _bound(
    name: str, signature: inspect.Signature, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> inspect.BoundArguments:
    """The arguments of a call by name.

    Raises:
        UsageError: one is unknown, missing, doubled or too many.
    """
    accepted = [p for p in signature.parameters.values() if p.name != "self"]
    named = [p.name for p in accepted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in accepted if p.default is p.empty and p.name in named]
    takes = f"it takes {', '.join(named)}"
    if not any(p.kind is p.VAR_KEYWORD for p in accepted):
        for key in keywords:
            if key not in named:
                raise UsageError(f"{name}: no argument is called {key!r}", meant(key, named, takes))
    try:
        return signature.bind(*arguments, **keywords)
    except TypeError as error:
        whole = ", ".join([*needed, *(["..."] if len(named) > len(needed) else [])])
        raise UsageError(f"{name}: {error}", f"call it as {name}({whole}); {takes}") from None


def check_kind(name: str, value: Any, hint: Any) -> None:
    """Raise a UsageError unless a value is of the kinds that an annotation names."""
    if fits(value, hint):
        return
    kinds = [kind for kind in _kinds(hint) if kind is not type(None)]
    what = f"{name}: {reprlib.repr(value)}"
    numeric = int in kinds or float in kinds
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and not _finite(value):
        raise UsageError(what, "give a finite number")
    if isinstance(value, str) and numeric and (number := number_of(value, whole=float not in kinds)) is not None:
        raise UsageError(f"{what} is a text", f"give the number: {name}={number}")
    if name in _DATA:
        raise UsageError(what, _DATA[name])
    if isinstance(value, str) and any(typing.get_origin(kind) in _LISTS for kind in kinds):
        raise UsageError(f"{what} is a text", f"give a list: {name}=[{value!r}]")
    names = list(dict.fromkeys(_format_kind(kind) for kind in kinds))
    wanted = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    optional = ", or leave it out" if type(None) in _kinds(hint) else ""
    raise UsageError(what, f"give {wanted}{optional}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a kind that an annotation names; numbers that are not finite fit nothing."""
    return any(_is(value, kind) for kind in _kinds(hint))


_LISTS = (list, tuple, collections.abc.Sequence)


def _kinds(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:  # which of the words are known is told by the function itself
        return list(dict.fromkeys(map(type, typing.get_args(hint))))
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return [kind for part in typing.get_args(hint) for kind in _kinds(part)] if union else [hint]


def _is(value: Any, kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if origin is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and _finite(value)
    if isinstance(origin, type) and issubclass(origin, os.PathLike):
        return isinstance(value, os.PathLike)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin in _LISTS:
        inner = [part for part in typing.get_args(kind) if part is not Ellipsis] or [Any]
        listed = isinstance(value, collections.abc.Sequence) and not isinstance(value, str | bytes)
        return listed and all(fits(each, inner[0]) for each in value)
    return not isinstance(origin, type) or isinstance(value, origin)


def _finite(value: numbers.Real) -> bool:
    """Whether a float can hold a number; a whole number of 400 digits is as good as infinite."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _format_kind(kind: Any) -> str:
    """A kind of value in words."""
    origin = typing.get_origin(kind) or kind
    plain = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", dict: "a dictionary"}
    if origin in plain:
        return plain[origin]
    if isinstance(origin, type) and issubclass(origin, os.PathLike):
        return "a path"
    if origin is collections.abc.Callable:
        return "a function"
    if origin in _LISTS:
        inner = [part for part in typing.get_args(kind) if part is not Ellipsis] or [Any]
        words = {int: "whole numbers", float: "numbers"}
        return f"a list of {words.get(_kinds(inner[0])[0], 'texts')}"
    return f"a {getattr(origin, '__name__', origin)}"


def number_of(text: str, whole: bool) -> int | float | None:
    """Read a number from a text, a percentage as a fraction; None where it holds none. A whole number is an int: "3" is 3."""
    try:
        number = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        return None
    if not math.isfinite(number) or (whole and number != int(number)):
        return None
    return int(number) if whole or (number.is_integer() and abs(number) < EXACT) else number
