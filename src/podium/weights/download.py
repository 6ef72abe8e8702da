"""Download official weight files by name; each file's name ends with the first digits of its SHA-256, which are checked."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from podium.errors import MachineError, ModelFileError, UsageError
from podium.files import FULL, cache_folder, disk_error

HOST = "https://download.pytorch.org/models/"
# torchvision's first weights of each network, of its original recipe: papers compare with these.
FILES = {
    "torchvision:alexnet": "alexnet-owt-7be5be79.pth",
    "torchvision:densenet121": "densenet121-a639ec97.pth",
    "torchvision:densenet169": "densenet169-b2777c0a.pth",
    "torchvision:densenet201": "densenet201-c1103571.pth",
    "torchvision:googlenet": "googlenet-1378be20.pth",
    "torchvision:inception_v3": "inception_v3_google-0cc3c7bd.pth",
    "torchvision:resnet18": "resnet18-f37072fd.pth",
    "torchvision:resnet34": "resnet34-b627a593.pth",
    "torchvision:resnet50": "resnet50-0676ba61.pth",
    "torchvision:resnet101": "resnet101-63fe2227.pth",
    "torchvision:resnet152": "resnet152-394f9c45.pth",
    "torchvision:resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "torchvision:resnext101_32x8d": "resnext101_32x8d-8ba56ff5.pth",
    "torchvision:resnext101_64x4d": "resnext101_64x4d-173b62eb.pth",
    "torchvision:vgg11": "vgg11-8a719046.pth",
    "torchvision:vgg11_bn": "vgg11_bn-6002323d.pth",
    "torchvision:vgg13": "vgg13-19584684.pth",
    "torchvision:vgg13_bn": "vgg13_bn-abd245e5.pth",
    "torchvision:vgg16": "vgg16-397923af.pth",
    "torchvision:vgg16_bn": "vgg16_bn-6c64b313.pth",
    "torchvision:vgg19": "vgg19-dcbb9e9d.pth",
    "torchvision:vgg19_bn": "vgg19_bn-c79401a0.pth",
    "torchvision:wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
    "torchvision:wide_resnet101_2": "wide_resnet101_2-32ee1156.pth",
}
CHUNK = 1 << 20


def official(source: str) -> Path:
    """The path of the official file of "torchvision:NAME", downloaded into the cache where it is not there yet.

    Raises:
        UsageError: no official file is known by this name.
        MachineError: the download fails; says where to put the file.
        ModelFileError: the file in the cache is not the official one.
    """
    if source not in FILES:
        raise UsageError(
            f"no official file of {source} is known here", "download it yourself, and give its path after the name"
        )
    name = FILES[source]
    path = cache_folder() / name
    if not path.is_file():
        _fetch(HOST + name, path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    wanted = re.split(r"[-.]", name)[-2]
    if not digest.hexdigest().startswith(wanted):
        what = f"{path}: not the official file (its sha256 starts with {digest.hexdigest()[:8]}, not {wanted})"
        raise ModelFileError(what, "delete it, and run the same again")
    return path


def _fetch(address: str, path: Path) -> None:
    """Download a file to a path, completely or not at all."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=30) as answer, temporary.open("wb") as file:  # noqa: S310 - HOST is https
            while chunk := answer.read(CHUNK):
                file.write(chunk)
        temporary.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        what = f"{address}: cannot be downloaded ({getattr(error, 'reason', error)})"
        raise MachineError(what, f"download it on another machine and put it at {path}") from None
    except OSError as error:
        if error.errno in FULL:
            raise disk_error(error, path, 0) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
