"""Bytes that were changed anywhere, cut or added to: read as what they now say, or refused in words.

Never a traceback, an exit code that is not documented, or a file that is written over: some 500 cases go through the command line,
of which `make test` tries a tenth.
"""

import gzip
import io
import json
import shutil
import struct
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

import podium
from command import inside, one_error
from command import podium as command
from podium.data.arrays import load_idx
from podium.data.decode import decode
from podium.errors import DataError, ModelFileError, UsageError
from podium.runs import checkpoint as state
from podium.settings import Settings, read_file, write_file
from test_formats import CT, HEIC, dicom, tiff

tried = examples(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def cases(count):
    """The number of mutations that a test tries: a tenth in `make test`, all in `make test-all`."""
    return pytest.mark.parametrize("count", [count // 10, pytest.param(count, marks=pytest.mark.slow)])


@st.composite
def mutations(draw):
    """A function that changes some bytes, or cuts the end off, or puts bytes in."""
    changes = draw(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4)), min_size=1, max_size=5))
    cut, inserted = draw(st.floats(0.05, 1.0)), draw(st.binary(max_size=6))

    def mutate(content):
        out = bytearray(content)
        for place, values in changes:
            at = int(place * len(out))
            out[at : at + len(values)] = values
        if inserted:
            at = int(cut * len(out))
            return bytes(out[:at] + inserted + out[at:])
        return bytes(out[: int(cut * len(out))])

    return mutate


def image_bytes(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    if kind == "HEIC":
        return (HEIC / "irot_6.heic").read_bytes()
    if kind == "DICOM":
        return dicom(CT, intercept=-1024, slope=1, center=40, width=400)
    if kind == "TIFF 16":
        return tiff(pixels.astype(np.uint16) * 16, compression=8, tile=16)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    image.save(buffer, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF") else more))
    return buffer.getvalue()


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "TIFF 16", "AVIF", "JPEG2000", "PPM", "HEIC", "DICOM")


@pytest.mark.parametrize("kind", FORMATS)
@cases(300)
def test_images(kind, count):
    content = image_bytes(kind)

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        with suppress(DataError):
            assert decode(mutate(content), "photo", 3, white=(0.0, 4095.0)).mode == "RGB"

    check()


@cases(300)
def test_settings(tmp_path, count):
    file = tmp_path / "mine.yaml"
    write_file(file, Settings())
    content = file.read_bytes()

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        file.write_bytes(mutate(content))
        with suppress(UsageError):
            Settings(**read_file(file))

    check()


@cases(300)
def test_checkpoints_are_never_read_wrong(tmp_path, count):
    state.save(tmp_path, {"a": torch.arange(50.0)}, {"step": 3})
    path = tmp_path / state.LAST
    content = path.read_bytes()

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        path.write_bytes(changed := mutate(content))
        assume(changed != content)
        with pytest.raises(ModelFileError, match=r"last\.ckpt"):
            state.read(path)

    check()


@cases(300)
def test_index_files(tmp_path, count):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 5, 5), dtype=np.uint8)
    labels = np.arange(8, dtype=np.uint8) % 2
    raw = {"images-idx3": struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes()}
    raw["labels-idx1"] = struct.pack(">4BI", 0, 0, 8, 1, 8) + labels.tobytes()

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        for part in ("train", "t10k"):
            for stem, content in raw.items():
                changed = mutate(content) if part == "train" else content
                (tmp_path / f"{part}-{stem}-ubyte.gz").write_bytes(gzip.compress(changed, 1))
        with suppress(DataError):
            train = load_idx(tmp_path).splits["train"]
            assert len(train.labels) == len(train.pixels)

    check()


def untouched(folder, *words):
    """The exit code of a command line that says why, if it refuses, and leaves every file in the folder as it is."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    done = inside(*words)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    if done.returncode:
        one_error(done, done.returncode)
    return done.returncode


@pytest.mark.parametrize("kind", FORMATS)
@cases(48)
def test_predicting_damaged_images(run, tmp_path, kind, count):
    content, photo = image_bytes(kind), tmp_path / "photo"

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        photo.write_bytes(mutate(content))
        assert untouched(tmp_path, "predict", run.path, photo, "--json") in (0, 3)

    check()


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
@cases(100)
def test_predicting_with_damaged_bundles(run, picture, tmp_path, name, count):
    for part in ("model.safetensors", "card.json"):
        shutil.copy(run / part, tmp_path)
    photo, content = picture(), (run / name).read_bytes()

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        (tmp_path / name).write_bytes(mutate(content))
        assert untouched(tmp_path, "predict", tmp_path, photo, "--json") in (0, 4)

    check()


@cases(60)
def test_resuming_from_damaged_checkpoints(small_set, tmp_path, count):
    out = tmp_path / "run"
    words = ["--steps", "4", "--checkpoint-every", "0.001s", "-o", out]
    assert command("train", "lenet5_modern", small_set, *words, fault="kill@step:3").returncode < 0
    contents = {path: path.read_bytes() for path in state.newest(out)}
    assert len(contents) == 2

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        for path, content in contents.items():
            path.write_bytes(changed := mutate(content))
            assume(changed != content)
        assert untouched(out, "train", "--resume", "-o", out) == 4

    check()


@pytest.mark.parametrize("name", ["model.safetensors", "card.json", "a card without its digest"])
@cases(100)
def test_bundles(run, tmp_path, name, count):
    contents = {part: (run / part).read_bytes() for part in ("model.safetensors", "card.json")}
    if sealed := name in contents:
        part = name
    else:
        part, card = "card.json", json.loads(contents["card.json"])
        del card["card_sha256"]
        contents[part] = json.dumps(card, indent=1).encode()
    for each, content in contents.items():
        (tmp_path / each).write_bytes(content)
    original = podium.load(tmp_path)

    @examples(tried, max_examples=count)
    @given(mutations())
    def check(mutate):
        (tmp_path / part).write_bytes(mutate(contents[part]))
        with suppress(ModelFileError, UsageError):
            bundle = podium.load(tmp_path)
            assert len(bundle.classes) == bundle.model.spec["num_classes"]
            assert not sealed or bundle.card == original.card
            for weights, expected in zip(bundle.model.parameters(), original.model.parameters(), strict=True):
                assert torch.equal(weights, expected)

    check()
