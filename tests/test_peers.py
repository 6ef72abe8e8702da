"""Checkpoints of torchvision, timm and Keras give here the logits they give there, on known weights and a known input."""

import dataclasses
import hashlib
import http.server
import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import peer_fill
import podium
from conftest import sampled
from keras_layouts import PEERS, fixture_layers, write_keras
from podium.errors import MachineError, ModelFileError, UsageError
from podium.weights import download
from podium.weights.create import create_model
from podium.weights.load import adapt_channels, import_weights
from podium.weights.official import find_official
from podium.weights.peers import find_peer

# Networks that amplify rounding with these made-up weights: float64 gives logits that differ by so much from float32's, and
# processors of another kind differ as much from each other.
ROUNDING = {"timm-legacy_senet154": 0.1}

# Some times what rounding makes of the others. At 1e-4, zeros around the map in Keras's max pool went unseen for long.
CLOSE = 5e-6

SMALLEST = ("torchvision-resnet18", "timm-legacy_seresnet18")  # tests/test_keras_files.py reads Keras's files
ENDINGS = {"torchvision": (".pth",), "timm": (".safetensors",), "keras": (".h5", ".weights.h5", ".keras")}
CASES = [
    (path.stem, ending)
    for path in sorted(PEERS.glob("*.json"))
    for ending in ENDINGS[path.stem.split("-")[0]]
    if path.stem != "keras-VGG16" or ending == ".h5"  # half a gigabyte each
]


def fixture(name):
    return json.loads((PEERS / f"{name}.json").read_text())


def state_of(name):
    return {key: torch.from_numpy(np.array(value)) for key, value in peer_fill.torch_state(fixture(name)).items()}


@pytest.fixture
def two_threads():
    """senet154's fixture is as rough as weights can be: its logits keep their digits only with the sums in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "ending"), sampled(CASES, SMALLEST))
def test_logits_are_the_peers(name, ending, tmp_path, two_threads):
    library, model = name.split("-", 1)
    file = tmp_path / f"weights{ending}"
    if library == "keras":
        write_keras(file, fixture_layers(model))
    elif ending == ".pth":
        torch.save(state_of(name), file)
    else:
        save_file(state_of(name), file)
    net, notes = import_weights(f"{library}:{model}", file)
    known = fixture(name)
    with torch.inference_mode():
        logits = net.eval()(torch.from_numpy(peer_fill.images(known))).numpy()
    close = ROUNDING.get(name, CLOSE)
    for own, head, norm, best in zip(logits, known["logits_head"], known["logits_norm"], known["argmax"], strict=True):
        assert np.abs(own[: len(head)] - np.array(head)).max() <= close * norm
        assert np.linalg.norm(own) == pytest.approx(norm, rel=close)
        assert own.argmax() == best or name in ROUNDING
    assert notes == []


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    file = tmp_path_factory.mktemp("peer") / "resnet18-f37072fd.pth"
    torch.save(state_of("torchvision-resnet18"), file)
    return file


def test_other_classes_and_channels_are_said_and_work(resnet18, tmp_path):
    made = podium.import_weights("torchvision:resnet18", resnet18, tmp_path / "out", num_classes=7, in_chans=1)
    assert made.card["notes"] == [
        "the first convolution is adapted from 3 to 1 channels",
        "the classifier is fresh: 7 classes, not 1000",
    ]
    again = podium.load(tmp_path / "out")
    assert (again.model.spec["num_classes"], again.model.spec["in_chans"], len(again.classes)) == (7, 1, 7)
    assert again.preprocessing.channels == 1
    assert len(again.preprocessing.mean) == 1
    assert again.model(torch.rand(2, 1, 64, 64)).shape == (2, 7)


def test_an_adapted_first_convolution_answers_the_same_picture_alike():
    net = create_model("resnet20").eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = net(grey.expand(-1, 3, -1, -1))
        for channels in (1, 4, 6):
            adapt_channels(net, channels)
            assert torch.allclose(net(grey.expand(-1, channels, -1, -1)), expected, atol=1e-5)


@pytest.mark.slow
def test_files_without_a_classifier_take_a_fresh_one(tmp_path):
    layers = [layer for layer in fixture_layers("ResNet50") if layer[0] != "predictions"]
    write_keras(tmp_path / "notop.h5", layers)
    net, notes = import_weights("keras:ResNet50", tmp_path / "notop.h5", num_classes=4)
    assert net.spec["num_classes"] == 4
    assert notes == ["the file has no classifier: a fresh one for 4 classes"]
    with pytest.raises(ModelFileError, match=r"missing: head\.classifier\.weight"):
        import_weights("keras:ResNet50", tmp_path / "notop.h5")


def test_a_library_that_is_not_known_is_refused_with_those_that_are(tmp_path):
    for out in (tmp_path / "out", None):
        with pytest.raises(UsageError, match="torchvision") as refused:
            podium.import_weights("foo:bar", None, out)
        assert "foo" in str(refused.value)


@pytest.mark.slow
def test_preprocessing_comes_along(tmp_path):
    """As the peers feed them: torchvision's ImageNet statistics, TensorFlow's [-1, 1], Caffe's blue-first 0 to 255."""
    assert find_peer("torchvision:resnet50").pixels["mean"] == (0.485, 0.456, 0.406)
    for source in ("torchvision:inception_v3", "timm:inception_v4", "keras:Xception", "keras:ResNet50V2"):
        assert (find_peer(source).pixels["mean"], find_peer(source).pixels["std"]) == ((0.5,) * 3, (0.5,) * 3)
    # As timm 1.0.31 says of its default weights.
    for name, share in (
        ("inception_v4", 0.875),
        ("legacy_xception", 0.8975),
        ("resnetv2_50", 0.95),
        ("seresnet50", 0.95),
    ):
        pixels = find_peer(f"timm:{name}").pixels
        assert (pixels["interpolation"], pixels["crop_pct"]) == ("bicubic", share)
    for name in ("legacy_senet154", "legacy_seresnet50", "vgg16"):
        assert "interpolation" not in find_peer(f"timm:{name}").pixels, "bilinear"
    write_keras(tmp_path / "w.h5", fixture_layers("ResNet50"))
    p = podium.import_weights("keras:ResNet50", tmp_path / "w.h5").preprocessing
    white = np.full((1, 3), 255.0)
    fed = (white / 255 - np.array(p.mean)) / np.array(p.std)
    assert p.channel_order == "bgr"
    assert fed[0] == pytest.approx([255 - 103.939, 255 - 116.779, 255 - 123.68])


@pytest.fixture
def host(monkeypatch, tmp_path, resnet18):
    """A server on this machine in the place of torchvision's, and an empty cache."""

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(resnet18.read_bytes())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODIUM_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_an_official_file_is_fetched_once_and_checked(host, monkeypatch, resnet18):
    with pytest.raises(ModelFileError, match=r"not the official file \(its sha256 starts with \w{8}, not f37072fd\)"):
        create_model("resnet18", weights="torchvision:resnet18")
    digest = hashlib.sha256(resnet18.read_bytes()).hexdigest()[:8]
    record = dataclasses.replace(find_official("torchvision:resnet18"), sha256=digest, bytes=None)
    monkeypatch.setattr(download, "find_official", lambda source: record)
    net = create_model("resnet18", weights="torchvision:resnet18", num_classes=5)
    assert net.spec["num_classes"] == 5
    host.shutdown()
    own = create_model("resnet18", weights="torchvision:resnet18").state_dict()
    theirs = state_of("torchvision-resnet18")
    assert torch.equal(own["stages.stage4.1.residual.conv2.weight"], theirs["layer4.1.conv2.weight"])


def test_without_a_network_it_says_where_to_put_the_file(host, tmp_path):
    host.shutdown()
    host.server_close()
    with pytest.raises(MachineError) as caught:
        podium.import_weights("torchvision:resnet18")
    assert "cannot be downloaded" in caught.value.what
    assert str(tmp_path / "cache" / "resnet18-f37072fd.pth") in caught.value.fix
    assert "pretrained" not in caught.value.fix, "random weights are no checkpoint to import"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".resnet18-f37072fd.pth.lock"]


@pytest.mark.parametrize("wrong", [{"num_classes": 1}, {"num_classes": 0}, {"in_chans": 0}])
def test_heads_and_channels_that_cannot_be_are_refused(resnet18, wrong):
    ((what, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{what}: {value}"):
        import_weights("torchvision:resnet18", resnet18, **wrong)


def test_weights_that_cannot_be_meant():
    with pytest.raises(UsageError, match="weights of resnet18, not of resnet34"):
        create_model("resnet34", weights="torchvision:resnet18")
    with pytest.raises(UsageError, match="fixes image_size"):
        create_model("vgg16", weights="torchvision:vgg16", image_size=64)
    with pytest.raises(UsageError, match="no official file of timm:seresnet101"):
        create_model("seresnet101", weights="timm:seresnet101")
    with pytest.raises(UsageError, match="torchvision:resnet18 has no weights 'v2'"):
        create_model("resnet18", weights="torchvision:resnet18.v2")


@pytest.mark.slow
def test_second_weights_are_imported_with_their_own_preprocessing(tmp_path):
    """torchvision resizes to 232 pixels for its second weights and to 256 for its first."""
    for name, resize, tag in (("resnet50-11ad3fa6.pth", 232, "v2"), ("resnet50-0676ba61.pth", 256, "v1")):
        torch.save(state_of("torchvision-resnet50"), tmp_path / name)
        made = podium.import_weights("torchvision:resnet50", tmp_path / name)
        assert made.preprocessing.crop_pct == pytest.approx(224 / resize)
        assert made.card["official"] == f"torchvision:resnet50.{tag}"
        assert made.card["licence"] == "bsd-3-clause"
        assert (made.classes[0], made.card["notes"]) == ("tench", [])
    (tmp_path / name).rename(tmp_path / "mine.pth")
    made = podium.import_weights("torchvision:resnet50", tmp_path / "mine.pth")
    assert any("no official file on record" in note for note in made.card["notes"])
