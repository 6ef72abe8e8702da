"""The kinds of error, each with its exit code. Every other module may import this one."""

from collections.abc import Sequence

# Which extra of pyproject.toml brings a package that is not there.
EXTRAS = {
    **dict.fromkeys(
        (
            "torch",
            "safetensors",
            "simplejpeg",
            "sklearn",
            "scipy",
            "plotly",
            "jinja2",
            "tensorboardX",
            "huggingface_hub",
            "filelock",
            "tqdm",
        ),
        "train",
    ),
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    "onnxruntime": "runtime",
    "openvino": "openvino",
    "nncf": "openvino",
    "h5py": "keras",
    "fsspec": "shards",
    "pyarrow": "tables",
    "torch_pruning": "prune",
    "pi_heif": "heic",
    "pydicom": "dicom",
    "cleanlab": "check",
    "optuna": "tune",
    "matplotlib": "figures",
    "mlflow": "mlflow",
    **dict.fromkeys(("ray", "grpc", "submitit"), "cluster"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"), "serve"),
}


# The fix where too little memory, or too many open files, are left to read an image. The command line adds flags that help.
STARVED = "end other programs, and run the same again"
# The fix where the disk is full. The command line adds --resume where a verb needs it to go on.
ROOM = "free some space, and run the same again"


class PodiumError(Exception):
    """An error a person can fix: one line says what is wrong, one says how to fix it.

    Args:
        what: names the offending value, file or line.
        fix: what to do about it; shown on a line of its own.
        flags: words that mend it when they are added to the command line; the fix says the same for Python.
        data: what to give in place of the data then; None: the same.
    """

    exit_code = 1
    silent = False  # another process says what is wrong

    def __init__(self, what: str, fix: str | None = None, flags: tuple[str, ...] = (), data: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.flags, self.data = flags, data

    def __str__(self) -> str:
        return self.what if self.fix is None else f"{self.what}\nfix: {self.fix}"


class UsageError(PodiumError):
    """A flag, a name, a setting or an argument that is not valid."""

    exit_code = 2


class DataError(PodiumError):
    """Images or labels that cannot be used as they are."""

    exit_code = 3


class ImageError(DataError):
    """One image that cannot be read; what reads many may leave it out."""


class ImageTooLarge(ImageError):
    """An image of more pixels than are opened."""


class FormatNotRead(ImageError):
    """A file that is no image, or an image of a format or kind that is not read here."""


class ModelFileError(PodiumError):
    """A checkpoint, bundle or foreign weight file that is damaged or is not what it should be."""

    exit_code = 4


class NumericError(PodiumError):
    """A loss or a result that is not finite, or a gate on numbers that did not hold."""

    exit_code = 5


class MachineError(PodiumError):
    """The disk is full, the device is absent, a worker died, a run is locked by another process."""

    exit_code = 6


def no_answer(image: str) -> NumericError:
    """The error to raise where a network's output for an image is not a number."""
    what = f"{image}: the network's answer is not a number (NaN or infinite)"
    return NumericError(what, "train it again at a lower learning rate: its weights are too large for this image")


AS_LIKE = 0.2  # a name that is less like a word than the most alike one by this is not meant


def closest(word: str, known: Sequence[str], n: int = 3, cutoff: float = 0.6) -> str:
    """The names most like `word`, whatever their capitals, as the end of an error message; empty if none is close."""
    import difflib

    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=n, cutoff=cutoff)
    likeness = [difflib.SequenceMatcher(None, word.lower(), name).ratio() for name in near]
    names = [spelled[name] for name, like in zip(near, likeness, strict=True) if like > likeness[0] - AS_LIKE]
    return f"did you mean {', '.join(names)}?" if names else ""
