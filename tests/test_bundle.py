"""A bundle gives the same answers where it is copied to, and one that was changed, cut or is foreign is refused by name."""

import hashlib
import json
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save as serialize

import podium
from command import inside
from podium.data.preprocessing import Preprocessing
from podium.errors import DataError, MachineError, ModelFileError, PodiumError, UsageError
from podium.runs import bundle

CLASSES = ("a", "b", "ç", "日本", "<i>")
WEIGHTS, CARD, SEAL = "model.safetensors", "card.json", "card_sha256"


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = podium.create_model("resnet20", num_classes=len(CLASSES))
    with torch.no_grad():
        net(torch.randn(8, 3, 32, 32))  # the running means are no longer 0
    return net.eval()


@pytest.fixture
def folder(net, tmp_path):
    """A bundle of five classes."""
    p = Preprocessing(32, 3, "crop", 0.9, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    bundle.save(tmp_path / "bundle", net, CLASSES, p, {"scores": {"top1": 0.5}})
    return tmp_path / "bundle"


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.Generator(np.random.PCG64(2)).integers(0, 256, (50, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_what_is_saved_is_what_is_loaded(net, folder):
    again = podium.load(folder)
    assert again.classes == CLASSES
    assert again.preprocessing == Preprocessing(32, 3, "crop", 0.9, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert again.card["scores"] == {"top1": 0.5}
    assert again.card["sha256"] == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert again.model.spec == net.spec
    assert not any(module.training for module in again.model.modules())
    state = again.model.state_dict()
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(net(x), again.model(x))
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]


@pytest.mark.parametrize("name", ["", WEIGHTS, CARD])
def test_folder_or_either_file_names_a_bundle(folder, name):
    assert podium.load(folder / name).classes == CLASSES
    assert podium.load(str(folder / name)).classes == CLASSES


def test_a_prediction_is_softmax_of_the_normalised_crop(net, folder, photo):
    """By hand: the centred square of 0.9 of the short side, resized, (pixel / 255 - mean) / std."""
    side = 40 * 0.9
    box = ((40 - side) / 2, (50 - side) / 2, (40 + side) / 2, (50 + side) / 2)
    square = np.asarray(Image.open(photo).resize((32, 32), Image.Resampling.BILINEAR, box=box)) / 255
    x = (square - (0.4, 0.5, 0.6)) / (0.2, 0.25, 0.3)
    with torch.no_grad():
        logits = net(torch.tensor(x, dtype=torch.float32).permute(2, 0, 1)[None])[0].numpy()
    expected = np.exp(logits) / np.exp(logits).sum()
    (answer,) = podium.load(folder).predict(photo, top=5)
    assert answer["file"] == str(photo)
    got = {row["class"]: row["probability"] for row in answer["top"]}
    assert [row["class"] for row in answer["top"]] == [CLASSES[i] for i in np.argsort(-expected)]
    np.testing.assert_allclose([got[name] for name in CLASSES], expected, atol=1e-5)


def test_a_network_from_caffe_gets_its_channels_backwards_and_its_interpolation(net, photo, tmp_path):
    """As above by hand, for blue, green, red in the range of a byte, their means taken off."""
    means = 103.939, 116.779, 123.68  # of ImageNet's blue, green and red
    p = Preprocessing(32, 3, "stretch", 1.0, tuple(m / 255 for m in means), (1 / 255,), "bicubic", "bgr")
    bundle.save(tmp_path / "caffe", net, CLASSES, p, {})
    square = np.asarray(Image.open(photo).resize((32, 32), Image.Resampling.BICUBIC)).astype(np.float32)
    blue, green, red = square[..., 2] - means[0], square[..., 1] - means[1], square[..., 0] - means[2]
    with torch.no_grad():
        logits = (
            net(torch.tensor(np.stack([blue, green, red])[None], dtype=torch.float32))[0].numpy().astype(np.float64)
        )
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    (answer,) = podium.load(tmp_path / "caffe").predict(photo)
    got = {row["class"]: row["probability"] for row in answer["top"]}
    np.testing.assert_allclose([got[name] for name in CLASSES], expected, atol=1e-4)


def test_a_card_from_before_these_fields_is_read(folder, photo):
    before = podium.load(folder).predict(photo)
    rewrite_card(folder, lambda card: [card["preprocessing"].pop(name) for name in ("interpolation", "channel_order")])
    assert podium.load(folder).predict(photo) == before


def test_predictions_are_the_same_after_a_copy(net, folder, photo, tmp_path):
    before = podium.load(folder).predict([photo])
    shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.rmtree(folder)
    assert podium.load(tmp_path / "elsewhere").predict([photo]) == before


def test_every_kind_of_image_can_be_predicted(folder, photo, tmp_path):
    image = Image.open(photo)
    kinds = {
        "grey.png": image.convert("L"),
        "palette.gif": image.convert("P"),
        "alpha.png": image.convert("RGBA"),
        "cmyk.jpg": image.convert("CMYK"),
        "bits.png": image.convert("1"),
        "deep.png": Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
        "one pixel.bmp": image.crop((0, 0, 1, 1)),
    }
    for name, one in kinds.items():
        one.save(tmp_path / name)
    answers = podium.load(folder).predict([tmp_path / name for name in kinds], top=99)
    assert [Path(answer["file"]).name for answer in answers] == list(kinds)
    by_name = {Path(a["file"]).name: {t["class"]: t["probability"] for t in a["top"]} for a in answers}
    for answer in by_name.values():
        assert sorted(answer) == sorted(CLASSES)
        assert sum(answer.values()) == pytest.approx(1, abs=1e-5)
    (opaque,) = podium.load(folder).predict(photo)
    assert by_name["alpha.png"] == pytest.approx({t["class"]: t["probability"] for t in opaque["top"]}, abs=1e-6)
    assert by_name["deep.png"] == pytest.approx(by_name["grey.png"], abs=1e-6)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), (b"", "empty"), (b"hello", "not an image"), ("folder", "a folder")]
)
def test_predict_names_a_bad_file(folder, tmp_path, content, says):
    path = tmp_path / "bad.jpg"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.jpg: .*{says}"):
        podium.load(folder).predict(path)


def test_top_must_be_at_least_one(folder, photo):
    with pytest.raises(UsageError, match="top: 0"):
        podium.load(folder).predict(photo, top=0)


def test_a_run_folder_is_a_bundle(run, photo):
    model = podium.load(run.path)
    assert model.classes == tuple("0123456789")
    assert model.preprocessing.channels == 1
    assert model.predict(photo)[0]["top"][0]["class"] in model.classes
    said = inside("predict", run.path, photo, "--json", "--top", 2)
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout) == model.predict([photo], top=2)
    scores = podium.evaluate(run.path, "digits")
    assert scores["top1"] == pytest.approx(run.result["top1"])


# --- what is not as it was saved


def rewrite_card(folder, change, seal=False):
    """Change a card as a person may, who takes its digest out."""
    card = json.loads((folder / CARD).read_text())
    change(card)
    if not seal:
        card.pop(SEAL, None)
    (folder / CARD).write_text(json.dumps(card))


def rewrite_weights(folder, content):
    """Other weights, with a card that vouches for them."""
    (folder / WEIGHTS).write_bytes(content)
    rewrite_card(folder, lambda card: card.update(sha256=hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize("place", [0.001, 0.5, 0.999])
def test_a_changed_bit_is_found(folder, place):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[int(place * len(content))] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: damaged \(sha256 [0-9a-f]{12}, the card says"):
        podium.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["preprocessing"]["mean"].reverse(),
        lambda card: card["classes"].reverse(),
        lambda card: card.update(scores={"top1": 1.0}),
    ],
    ids=["mean", "classes", "scores"],
)
def test_a_changed_card_is_found_unless_its_digest_is_taken_out(folder, change):
    original = (folder / CARD).read_text()
    rewrite_card(folder, change, seal=True)
    with pytest.raises(ModelFileError, match=r"card\.json: changed since it was written") as refused:
        podium.load(folder)
    assert SEAL in refused.value.fix
    (folder / CARD).write_text(original)
    rewrite_card(folder, change)
    assert SEAL not in podium.load(folder).card


@pytest.mark.parametrize("size", [0, 7, 1000, -1])
def test_a_cut_file_is_found(folder, size):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size])
    with pytest.raises(ModelFileError, match=r"model\.safetensors: damaged"):
        podium.load(folder)


class Hostile:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


@pytest.mark.parametrize("vouched", [False, True])
def test_a_pickle_in_its_place_is_never_opened(folder, tmp_path, vouched):
    canary = tmp_path / "canary"
    content = pickle.dumps(Hostile(canary))
    if vouched:
        rewrite_weights(folder, content)
    else:
        (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: "):
        podium.load(folder)
    assert not canary.exists()


def lying_header(claim):
    header = json.dumps(claim).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


FLOAT = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"<html>404 not found</html>",
        struct.pack("<Q", 1 << 62) + b"{}",
        lying_header({"w": FLOAT | {"data_offsets": [0, 1 << 40]}}),
        lying_header({"w": FLOAT, "v": FLOAT}),
        lying_header({"w": FLOAT | {"shape": [-2, -2]}}),
        lying_header({}),
    ],
)
def test_a_file_that_is_no_weights_is_refused_though_the_card_vouches_for_it(folder, content):
    rewrite_weights(folder, content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: ") as caught:
        podium.load(folder)
    assert len(str(caught.value).splitlines()) <= 2


def test_weights_of_another_network_are_refused_and_listed(folder, net):
    other = podium.create_model("resnet32", num_classes=5)
    rewrite_weights(folder, serialize(other.state_dict()))
    with pytest.raises(ModelFileError, match=r"model\.safetensors: not the weights of resnet20 .*unexpected: stages"):
        podium.load(folder)
    state = net.state_dict()
    gone = next(iter(state))
    rewrite_weights(folder, serialize({k: v for k, v in state.items() if k != gone}))
    with pytest.raises(ModelFileError, match=f"1 missing: {gone}"):
        podium.load(folder)
    state["head.classifier.weight"] = torch.zeros(7, 64)
    rewrite_weights(folder, serialize(state))
    with pytest.raises(ModelFileError, match=r"head\.classifier\.weight is \(7, 64\), not \(5, 64\)"):
        podium.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"card"', "{}", "\x00"])
def test_a_card_that_is_none_is_named(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(ModelFileError, match=r"card\.json: not a card of Podium"):
        podium.load(folder)


@pytest.mark.parametrize("key", ["format", "spec", "classes", "preprocessing", "sha256"])
@pytest.mark.parametrize("value", ["gone", None, 5, "text", [], {}, [[]], {"x": 1}])
def test_a_card_with_a_part_missing_or_mistyped_is_refused(folder, key, value):
    rewrite_card(folder, lambda card: card.pop(key) if value == "gone" else card.update({key: value}))
    with pytest.raises(ModelFileError, match=r"card\.json|the card says") as caught:
        podium.load(folder)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("spec", {"model": None}),
        ("spec", {"num_classes": "five"}),
        ("spec", {"image_size": 0}),
        ("spec", {"no_such_argument": 1}),
        ("spec", {"model": "resnet19"}),
        ("preprocessing", {"image_size": 0}),
        ("preprocessing", {"image_size": "large"}),
        ("preprocessing", {"image_size": 32.5}),
        ("preprocessing", {"channels": 2}),
        ("preprocessing", {"channels": 1}),
        ("preprocessing", {"resize": "squeeze"}),
        ("preprocessing", {"interpolation": "cubic"}),
        ("preprocessing", {"channel_order": {"bgr": 1}}),
        ("preprocessing", {"mean": [0.5, 0.5]}),
        ("preprocessing", {"std": [0.2, 0.2, 0.0]}),
        ("preprocessing", {"crop_pct": -1}),
        ("preprocessing", {"unknown": 1}),
    ],
)
def test_a_card_that_asks_for_what_cannot_be_is_refused(folder, part, values):
    rewrite_card(folder, lambda card: card[part].update(values))
    with pytest.raises(PodiumError) as caught:
        podium.load(folder)
    assert caught.value.exit_code in (2, 4)


@pytest.mark.parametrize("classes", [["a"], ["a"] * 4, [*"abcdef"], [1, 2, 3, 4, 5]])
def test_classes_must_be_as_many_names_as_there_are_logits(folder, classes):
    rewrite_card(folder, lambda card: card.update(classes=classes))
    with pytest.raises(ModelFileError, match=r"card\.json"):
        podium.load(folder)


def test_a_newer_format_says_so(folder):
    rewrite_card(folder, lambda card: card.update(format=2))
    with pytest.raises(ModelFileError, match=r"newer Podium \(format 2\)"):
        podium.load(folder)


@pytest.mark.parametrize("missing", [WEIGHTS, CARD, None])
def test_half_a_bundle_or_none_is_no_bundle(folder, photo, missing):
    if missing is None:
        shutil.rmtree(folder)
    else:
        (folder / missing).unlink()
    what = f"no run or bundle \\({missing} is missing" if missing else "no such file or folder"
    with pytest.raises(ModelFileError, match=what):
        podium.load(folder)
    said = inside("predict", folder, photo)
    assert said.returncode == 4
    assert said.stderr.startswith("error: ")


def test_a_bundle_that_cannot_be_written_leaves_the_one_before(folder, net, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with torch.no_grad():
        next(net.parameters()).zero_()
    with pytest.raises(MachineError, match="No space left"):
        bundle.save(folder, net, CLASSES, Preprocessing(32, 3), {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
