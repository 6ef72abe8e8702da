"""Files that are not what they are said to be: named and refused with exit code 4; and none tells of the machine it was made on."""

import getpass
import json
import shutil
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import podium as library
from conftest import sampled
from podium.data.preprocessing import Preprocessing
from podium.errors import ModelFileError, NumericError
from podium.evaluation.layers import summary
from podium.files import without_folders
from podium.runs import bundle
from podium.runs import checkpoint as checkpoints
from podium.runs.bundle import Bundle
from podium.verification import verify
from podium.weights.create import create_model
from podium.weights.load import import_weights
from podium.weights.match import fitting

# Our names of ResNet-20's layers, back to akamaster's and, of ResNet-18's, to torchvision's.
BACK = (("stem.", ""), ("stages.stage", "layer"), (".shortcut.conv1.", ".downsample.0."), (".shortcut.bn1.", ".downsample.1."), (".residual.", "."))  # fmt: skip


def theirs(net, head):
    out = {}
    for key, value in net.state_dict().items():
        for ours, other in (*BACK, ("head.classifier.", head)):
            key = key.replace(ours, other)
        out[key] = value.clone()
    return out


@pytest.fixture(scope="module")
def resnet20():
    torch.manual_seed(0)
    return theirs(create_model("resnet20", shortcut="A-split"), "linear.")


def saved(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    return tmp_path / "w.pth"


# --- memory


BOMBS = {
    "a tensor of 400 GB in one number": lambda: torch.zeros(1).expand(10**11),
    "a tensor of 3 GB in one number": lambda: torch.zeros(1).expand(3 * 10**8),
}


@pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="memory is limited where Linux says how much there is"
)
@pytest.mark.parametrize("what", sampled(BOMBS, 1))
def test_a_small_pickle_gets_no_gigabytes(tmp_path, what):
    path = saved({"stem.conv.weight": BOMBS[what]()}, tmp_path)
    assert path.stat().st_size < 2_000
    with pytest.raises(ModelFileError, match=rf"{path.name}: asks for more than 1\.1 GB of memory, with 1,\d+ bytes"):
        import_weights("akamaster:resnet20", path)


@pytest.mark.skipif(
    not Path("/proc/self/statm").is_file(), reason="memory is limited where Linux says how much there is"
)
def test_a_pickle_that_numbers_its_objects_from_two_milliards_gets_no_gigabytes(tmp_path):
    """The reader keeps a list as long as the largest number that an object is remembered by."""
    (tmp_path / "x.pth").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(ModelFileError, match=r"x\.pth: asks for more than 1\.1 GB of memory, with 9 bytes"):
        import_weights("akamaster:resnet20", tmp_path / "x.pth")


# --- weights of another network


@pytest.mark.slow
def test_another_networks_weights_are_refused_with_the_network_they_are_of(podium, tmp_path):
    file = saved(theirs(create_model("resnet18"), "fc."), tmp_path)
    said = podium("import", "torchvision:resnet50", file, "-o", tmp_path / "out")
    said.refused(4, "not the weights of resnet50", "missing", "these are the weights of torchvision:resnet18")
    assert not (tmp_path / "out").exists()
    assert podium("import", "torchvision:resnet18", file, "-o", tmp_path / "out").code == 0


@pytest.mark.slow
def test_weights_of_another_depth_or_library_are_recognised(resnet20, tmp_path):
    for said in ("akamaster:resnet32", "keras:ResNet50"):
        with pytest.raises(ModelFileError) as caught:
            import_weights(said, saved(resnet20, tmp_path))
        assert "these are the weights of akamaster:resnet20" in caught.value.fix, said


def test_what_fits_no_known_network_is_refused_all_the_same(tmp_path):
    assert fitting("torchvision:resnet18", {"a.weight": torch.zeros(3)}) is None
    with pytest.raises(ModelFileError, match="name the network that they belong to"):
        import_weights("torchvision:resnet18", saved({"a.weight": torch.zeros(3)}, tmp_path))


WRONG = {
    "a counter of shape (1,)": lambda s: s | {"bn1.num_batches_tracked": torch.zeros(1, dtype=torch.long)},
    "no layers": lambda s: {},
    "a head that is a number": lambda s: s | {"linear.weight": torch.tensor(1.0)},
    "a head that is a row": lambda s: s | {"linear.weight": torch.zeros(64)},
    "a head of one class": lambda s: s | {"linear.weight": torch.zeros(1, 64), "linear.bias": torch.zeros(1)},
    "a head of too many classes": lambda s: s | {"linear.weight": torch.zeros(2**40, 0)},
    "no channels": lambda s: s | {"conv1.weight": torch.zeros(16, 0, 3, 3)},
    "a first layer that is a number": lambda s: s | {"conv1.weight": torch.tensor(1.0)},
    "transposed kernels": lambda s: {k: v.permute(2, 3, 1, 0) if v.ndim == 4 else v for k, v in s.items()},
    "one tensor transposed": lambda s: s | {"linear.weight": s["linear.weight"].t()},
    "a layer that is not there": lambda s: s | {"layer1.99999999999999999999.conv1.weight": torch.zeros(2)},
    "two names of one layer": lambda s: s | {"module.conv1.weight": s["conv1.weight"]},
    "whole numbers": lambda s: s | {"conv1.weight": s["conv1.weight"].mul(100).to(torch.int8)},
    "complex numbers": lambda s: s | {"conv1.weight": s["conv1.weight"].to(torch.complex64)},
    "every tensor a number": lambda s: {k: torch.tensor(0.0) for k in s},
    "every tensor empty": lambda s: {k: torch.zeros(0) for k in s},
}


@pytest.mark.parametrize("what", sampled(WRONG, [*WRONG][::5]))
@pytest.mark.parametrize("source", sampled(["akamaster:resnet20", "keras:MobileNet"], 1))
def test_any_tensors_are_these_weights_or_refused(resnet20, tmp_path, source, what):
    file = tmp_path / "w.safetensors"
    save_file({k: v.contiguous().clone() for k, v in WRONG[what](resnet20).items()}, file)
    with pytest.raises(ModelFileError, match=r"w\.safetensors: not the weights of"):
        import_weights(source, file)


def test_counters_of_another_shape_are_refused_with_a_mend_that_works(resnet20, tmp_path):
    counters = {key: value.reshape(1) for key, value in resnet20.items() if key.endswith("num_batches_tracked")}
    assert counters
    with pytest.raises(ModelFileError, match=r"num_batches_tracked is \(1,\), not \(\)") as caught:
        import_weights("akamaster:resnet20", saved(resnet20 | counters, tmp_path))
    assert "take out all tensors called num_batches_tracked" in caught.value.fix
    import_weights("akamaster:resnet20", saved({k: v for k, v in resnet20.items() if k not in counters}, tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.zeros(2)},
        *(pytest.param(c, marks=pytest.mark.slow) for c in ([1, 2], torch.zeros(3), {"a": 1}, {"state_dict": {}}, 7)),
    ],
)
def test_a_pickle_of_anything_is_refused(tmp_path, content):
    with pytest.raises(ModelFileError):
        import_weights("akamaster:resnet20", saved(content, tmp_path))


def test_names_of_every_librarys_kind_with_numbers_that_no_layer_has():
    """A rule that counts layers, or looks a number up, meets numbers beyond its own."""
    from podium.weights.match import match
    from podium.weights.peers import peers

    keys = [
        "layer9.77.conv1.weight", "conv_dw_99.weight", "conv_pw_0_bn.bias", "conv9_block0_9_conv.weight", "features.999.weight",
        "features.denseblock9.denselayer0.conv.2.weight", "block99_sepconv9_bn.bias", "conv2d_999.weight", "block35_0_conv.bias",
        "stages.9.blocks.77.norm1.weight", "mixed_9x.branch.weight", "inception9z.branch1.conv.weight", "repeat.99.branch.weight",
    ]  # fmt: skip
    state = {key: torch.zeros(2, 3) for key in keys}
    small = [
        known for (_, name), known in peers().items() if "1202" not in name and "15" not in name and "101" not in name
    ]
    for rules in {id(known.rules): known for known in small}.values():
        assert match(rules, state).wrong


# --- what is not a number


@pytest.mark.parametrize("value", sampled([float("nan"), float("inf"), float("-inf"), 1e300], 1))
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_checkpoint_with_a_value_that_is_not_finite_is_refused_by_the_tensors_name(resnet20, tmp_path, suffix, value):
    state = {k: v.double() if v.is_floating_point() else v for k, v in resnet20.items()}
    state["layer2.1.conv1.weight"].view(-1)[7] = value
    file = tmp_path / f"w{suffix}"
    (torch.save if suffix == ".pth" else save_file)(state, file)
    with pytest.raises(ModelFileError, match=r"stages\.stage2\.1\.residual\.conv1\.weight has 1 of 9,216 values"):
        import_weights("akamaster:resnet20", file)


def broken(run, folder, edit):
    """A copy of a run whose weights were edited, with digests that hold."""
    weights = load_file(run / "model.safetensors")
    edit(weights)
    made = bundle.load(run.path)
    made.model.load_state_dict(weights, strict=False)
    bundle.save(folder, made.model, made.classes, made.preprocessing, {"scores": {"top1": 0.5}})
    return folder


def first(weights):
    return next(key for key in weights if key.endswith("weight"))


def test_every_verb_refuses_a_run_with_a_nan_by_name(run, podium, tmp_path, picture):
    bad = broken(run, tmp_path / "bad", lambda w: w[first(w)].view(-1)[:2].fill_(float("nan")))
    name = first(load_file(bad / "model.safetensors"))
    for words in (
        ("predict", bad, picture()),
        ("eval", bad, "digits"),
        ("export", bad, "-o", tmp_path / "x.onnx", "--data", "digits"),
        ("quantize", bad, "digits", "-o", tmp_path / "int8"),
        ("verify", bad),
        ("info", bad),
        ("train", "lenet5_modern", "digits", "--weights", bad, "--steps", "1", "-o", tmp_path / "a"),
        ("train", "lenet5_modern", "digits", "--teacher", bad, "--steps", "1", "-o", tmp_path / "b"),
        ("prune", bad, "digits", "--macs", "0.5", "--steps", "1", "-o", tmp_path / "c"),
    ):
        said = podium(*words)
        assert said.code == 4, words
        assert f"{name} has 2 of" in said.err, words
        assert "nan %" not in said.out, words
    assert not list(tmp_path.glob("x.onnx")) + list(tmp_path.glob("int8"))


@pytest.mark.parametrize(
    "where", [("scores", "top1"), ("preprocessing", "mean"), ("preprocessing", "std"), ("extra", "deep")]
)
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_card_with_a_number_that_is_none_is_refused_by_the_numbers_name(run, tmp_path, where, text):
    shutil.copytree(run.path, tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    del card["card_sha256"]
    section, key = where
    card.setdefault(section, {})[key] = ["HERE"] if section == "preprocessing" else "HERE"
    (tmp_path / "run" / "card.json").write_text(json.dumps(card).replace('"HERE"', text))
    with pytest.raises(ModelFileError, match=rf"{section}\.{key}") as caught:
        library.load(tmp_path / "run")
    assert caught.value.fix is not None
    assert "copy it again" in caught.value.fix
    assert f"podium train --config {tmp_path / 'run' / 'settings.yaml'} -o NEW" in caught.value.fix


def test_a_checkpoint_to_resume_from_is_refused_too(tmp_path):
    checkpoints.save(tmp_path, {"net.a.weight": torch.tensor([1.0, float("nan")])}, {})
    with pytest.raises(ModelFileError, match=r"net\.a\.weight has 1 of 2"):
        checkpoints.load_newest(tmp_path)
    checkpoints.save(
        tmp_path, {"net.a.weight": torch.ones(2), "optimizer.0.exp_avg_sq": torch.tensor(float("inf"))}, {}
    )
    assert checkpoints.load_newest(tmp_path)[0]["net.a.weight"].sum() == 2


def test_an_answer_that_overflows_is_named_with_its_image_and_the_others_are_answered(run, podium, tmp_path, picture):
    """Finite weights, and sums that are not, for bright images alone."""

    def huge(weights):
        for key in weights:
            if key.endswith("weight"):
                weights[key].abs_().mul_(1e12)
            elif key.endswith("bias"):
                weights[key].zero_()

    bad = broken(run, tmp_path / "huge", huge)
    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    made = bundle.load(bad)
    made.preprocessing = Preprocessing(made.preprocessing.image_size, 1, mean=(0.0,), std=(1.0,))
    bundle.save(bad, made.model, made.classes, made.preprocessing, {})
    said = podium("predict", bad, tmp_path / "white.png", tmp_path / "black.png")
    assert said.code == 5
    assert "white.png: the network's answer is not a number" in said.err
    assert "black.png" in said.out
    assert "nan" not in said.out
    with pytest.raises(NumericError, match="image 0"):
        library.evaluate(bad, "digits", limit=5)


# --- what a folder is


@pytest.mark.slow
def test_a_run_that_also_holds_an_exported_file_stays_a_run(run, podium, tmp_path, picture):
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    before = podium("predict", folder, picture(), "--json").json
    for name in ("model.onnx", "model.xml"):
        assert podium("export", folder, "-o", folder / name).code == 0
    assert isinstance(library.load(folder), Bundle)
    assert podium("predict", folder, picture(), "--json").json == before
    assert podium("eval", folder, "digits", "--limit", "10").code == 0
    assert [row["file"] for row in verify(folder)["files"]][:2] == ["model.safetensors", "card.json"]
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "model.onnx", alone)
    assert not isinstance(library.load(alone), Bundle)


# --- channels


@pytest.mark.parametrize("channels", [2, 4])
def test_a_network_of_two_or_four_channels_is_refused_where_images_are_files(channels, podium, tmp_path, picture):
    net = create_model("resnet20", num_classes=2, in_chans=channels).eval()
    bundle.save(tmp_path / "odd", net, ("a", "b"), Preprocessing(32, channels), {})
    for words in (
        ("predict", tmp_path / "odd", picture()),
        ("eval", tmp_path / "odd", "digits"),
        ("export", tmp_path / "odd", "--data", "digits", "-o", tmp_path / "x.onnx"),
    ):
        podium(*words).refused(2, f"sees {channels} channels")
    assert library.load(tmp_path / "odd").model(torch.zeros(1, channels, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("source", ["akamaster:resnet20", "caffe"])
@pytest.mark.slow
def test_grey_images_are_answered_as_the_colour_network_answers_them_shown_in_colour(
    resnet20, tmp_path, source, monkeypatch
):
    """With a mean and a deviation of each channel's own; to the corners, around which there are zeros."""
    from podium.weights import peers

    if source == "caffe":  # blue first, 0 to 255
        source = "akamaster:resnet20"
        known = peers.peers()[tuple(source.split(":"))]
        caffe = peers.Peer(known.model, known.rules, known.arguments, peers.CAFFE_PIXELS)
        monkeypatch.setitem(peers._PEERS, tuple(source.split(":")), caffe)
    file = saved(resnet20, tmp_path)
    colour = library.import_weights(source, file)
    grey = library.import_weights(source, file, tmp_path / "grey", in_chans=1)
    draw = np.random.default_rng(0)
    paths = []
    for number, low in enumerate((0, 200)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(draw.integers(low, 256, (32, 32), np.uint8)).save(paths[-1])
    for bundled in (grey, library.load(tmp_path / "grey")):
        assert (bundled.model.spec["in_chans"], len(bundled.preprocessing.mean)) == (1, 1)
        for expected, answer in zip(colour.predict(paths, 10), bundled.predict(paths, 10), strict=True):
            want, got = ({row["class"]: row["probability"] for row in each["top"]} for each in (expected, answer))
            assert got == pytest.approx(want, abs=1e-4)
    data = library.load_data("digits", channels=1)
    data.classes = grey.classes
    assert library.export(grey, tmp_path / "grey.onnx", data=data).holds
    said = library.load(tmp_path / "grey.onnx").predict(paths, 10)
    assert [row["top"][0]["class"] for row in said] == [row["top"][0]["class"] for row in grey.predict(paths, 10)]


def test_weights_of_a_colour_run_answer_grey_data_alike_and_back_again():
    from podium.weights.load import adapt_channels, statistics

    torch.manual_seed(0)
    pixels = {"mean": (0.2, 0.5, 0.7), "std": (0.1, 0.2, 0.4)}
    net = create_model("lenet5_modern", in_chans=3, image_size=28).eval()
    values = torch.rand(2, 1, 28, 28)

    def answer(channels):
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in statistics(pixels, channels))
        with torch.no_grad():
            return net((values.expand(-1, channels, -1, -1) - mean) / std)

    expected, had = answer(3), 3
    for channels in (1, 4, 2, 3):
        adapt_channels(net, channels, statistics(pixels, had), statistics(pixels, channels))
        had = channels
        assert torch.allclose(answer(channels), expected, atol=1e-4)
    again = library.models.registry.rebuild(net.spec).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(torch.ones(1, 3, 28, 28)), net(torch.ones(1, 3, 28, 28)))


# --- what a pruned network is


def test_a_pruned_network_has_its_own_depth_and_no_published_error():
    from podium.compression.channels import prune_channels, removable, without

    net = create_model("resnet20", num_classes=10)
    assert summary(net)["depth"] == 20
    short = summary(without(net, removable(net)[:2]))
    assert (short["depth"], short["top1_error"], short["top5_error"]) == (16, None, None)
    assert short["params"] == sum(p.numel() for p in without(net, removable(net)[:2]).parameters())
    narrow = summary(prune_channels(net.eval(), 0.5))
    assert (narrow["depth"], narrow["top1_error"]) == (20, None)
    slim = summary(create_model("resnet18", units=(1, 1, 1, 1), width=32))
    assert (slim["depth"], slim["top1_error"]) == (10, None)
    assert summary(create_model("resnet18", num_classes=7))["top1_error"] == pytest.approx(0.30242)


# --- what leaves this machine


def local_words(tmp_path):
    here = [str(tmp_path), "site-packages", str(Path(library.__file__).parent), f"/{getpass.getuser()}/"]
    return here + [name for name in (socket.gethostname(),) if len(name) > 5]  # "vm" is in many a word


@pytest.mark.slow
def test_no_path_of_this_machine_is_in_what_ships(run, tmp_path):
    tuned = tmp_path / "tuned"
    library.train("lenet5_modern", "digits", tuned, weights=str(run.path), teacher=str(run.path), steps=1)
    for name in ("x.onnx", "x.xml", "x.pt2"):
        library.export(tuned, tmp_path / name)
    shipped = {name: (tmp_path / name).read_bytes() for name in ("x.onnx", "x.xml", "x.bin")}
    shipped |= {name: (tuned / name).read_bytes() for name in ("card.json", "model.safetensors", "report.html")}
    with zipfile.ZipFile(tmp_path / "x.pt2") as archive:
        shipped |= {name: archive.read(name) for name in archive.namelist()}
    for name, content in shipped.items():
        for word in [*local_words(tmp_path), str(run.path.parent)]:
            assert word.encode() not in content, (name, word)
    (parent, teacher) = verify(tuned)["origins"]
    assert (parent["source"], parent["state"], teacher["state"]) == (str(run.path.resolve()), "unchanged", "unchanged")
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("card.json", "model.safetensors"):
        shutil.copy(tuned / name, copied)
    (parent, _) = verify(copied)["origins"]
    assert (parent["source"], parent["state"]) == (run.path.name, None)


def test_of_paths_only_the_last_part_is_kept():
    old = {
        "parent": "/tmp/a b/run@sha256:12",
        "made": {"parent": "timm:x=/tmp/w.pth@sha256:34"},
        "notes": ["/tmp/x/"],
        "n": 3,
    }
    new = {"parent": "run@sha256:12", "made": {"parent": "timm:x=w.pth@sha256:34"}, "notes": ["x"], "n": 3}
    assert without_folders(old) == new == without_folders(new)


def test_a_report_has_neither_metadata_nor_folders(tmp_path):
    """Wrong answers are shown with their pictures: pixels, and the name below the data set's root."""
    draw = np.random.default_rng(0)
    secret = "Zebedee's camera 52.5200 13.4050"
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = secret, secret
    exif.get_ifd(0x8825)[1] = "N"
    for name in ("a", "b"):
        folder = tmp_path / "secret place" / name
        folder.mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(draw.integers(0, 256, (12, 12, 3), np.uint8))
            more = {"exif": exif, "icc_profile": secret.encode(), "comment": secret.encode(), "xmp": secret.encode()}
            image.save(folder / f"{number}.jpg", **more)
    run = library.train("lenet5_modern", tmp_path / "secret place", tmp_path / "run", steps=1, image_size=32)
    page = (run / "report.html").read_bytes()
    import base64
    import re

    pictures = [base64.b64decode(each) for each in re.findall(rb"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)]
    assert pictures
    for content in [page, *pictures]:
        assert b"Zebedee" not in content
        assert b"secret place/" not in content
        assert str(tmp_path).encode() not in content
    assert not any(word in picture for picture in pictures for word in (b"eXIf", b"iCCP", b"iTXt", b"tEXt", b"zTXt"))
