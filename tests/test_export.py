"""An exported file answers as the network does, in every family; one that does not is not left."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import podium
from conftest import FEW, sampled
from podium.data.preprocessing import Preprocessing
from podium.deployment import export as exports
from podium.deployment.graph import answer, folded, graph_of
from podium.deployment.runtime import load_exported
from podium.errors import NumericError, UsageError
from podium.explain.class_map import class_map
from podium.models.registry import build_model
from podium.runs.bundle import Bundle

# A network of each family, as shallow as it comes: what costs is tracing, layer by layer.
FAMILIES = {
    "lenet5": {},
    "lenet5_modern": {},
    "alexnet": {},
    "zfnet": {},
    "vgg11_bn": {},
    "googlenet": {},
    "bn_inception": {},
    "inception_v4": {},
    "inception_resnet_v1": {},
    "resnet20": {},
    "resnetv2_18": {},
    "resnext50_32x4d": {},
    "seresnet18": {},
    "xception": {},
    "mobilenet_v1": {},
    "densenet121": {"layers": (2, 1)},
}
RESNET18 = "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"  # torchvision's weights
# Of one pixel the variance may be near 0, and 150 norms in a row blow up the last digit: some of the 1 it began with stays.
MOMENTUM = {"inception_v4": 0.5}


@pytest.fixture(scope="module", autouse=True)
def one_registry():
    """torch's exporter reads its list of operators again for each network, in 2 s; here once."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


def shallow(net, x):
    """Without the units of a stage that keep their input's shape and are not its first: what they have, the first has."""
    shapes = {}
    handles = [
        unit.register_forward_hook(lambda m, i, o: shapes.update({m: (i[0].shape, o.shape)}))
        for stage in net.stages
        for unit in stage.children()
    ]
    net(x)
    for handle in handles:
        handle.remove()
    for stage in net.stages:
        units = list(stage.named_children()) if type(stage) is nn.Sequential else []
        kept = [type(unit) for _, unit in units[:1]]
        for name, unit in units[1:]:
            before, after = shapes[unit]
            if before == after and type(unit) in kept and len(list(unit.modules())) > 3:
                stage._modules[name] = nn.Identity()
            kept.append(type(unit))
    return net


@torch.no_grad()
def bundle_of(name, channels=3, order="rgb", **arguments):
    """A network with weights drawn by chance, whose batch norms have statistics, and logits of the size of 1/4."""
    torch.manual_seed(0)
    form = {"num_classes": 5, "in_chans": channels, "image_size": 32, "small": True}
    net = build_model(name, **form, **arguments)
    x = torch.randn(4, channels, 32, 32)
    shallow(net.eval(), x[:1])
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = MOMENTUM.get(name)  # None: the mean over what it sees
        norm.train()
        norm.weight.uniform_(0.8, 1.2)
        norm.bias.normal_(0, 0.1)
    net(x)
    classifier = net.eval().head.classifier
    if isinstance(classifier, nn.Linear):
        logits = net(x)
        classifier.weight /= 4 * logits.std()
    return Bundle(
        net, tuple("abcde"), Preprocessing(32, channels, "crop", 0.9, (0.4,), (0.25,), channel_order=order), {}
    )


def pixels(channels=3, count=2):
    return np.random.Generator(np.random.PCG64(3)).integers(0, 256, (count, 32, 32, channels), np.uint8)


@pytest.mark.parametrize("name", sampled(FAMILIES, FEW))
def test_every_family_says_in_onnx_what_it_says_in_torch(name, tmp_path):
    b = bundle_of(name, channels=1 if name.startswith("lenet") else 3, **FAMILIES[name])
    images = pixels(b.preprocessing.channels)
    (tmp_path / "x.onnx").write_bytes(exports.onnx_bytes(graph_of(b, True, True), exports.card_of(b, True, True)))
    made = podium.load(tmp_path / "x.onnx", engine="onnxruntime")
    assert made.classes == b.classes
    logits, probabilities, heat_maps = made.outputs_of(images)
    expected, certain, _ = answer(b, images, heat_map=True)
    normalised = torch.tensor(images).permute(0, 3, 1, 2) / 255 / 0.25 - 0.4 / 0.25
    np.testing.assert_allclose(heat_maps, class_map(b.model, normalised).heat_map, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3, "a network that says the same of all would agree with anything"
    np.testing.assert_allclose(probabilities, certain, atol=1e-4)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("parent", "licence"),
    [
        (f"torchvision:resnet18=resnet18-f37072fd.pth@sha256:{RESNET18}", "bsd-3-clause"),
        ("keras:MobileNet_0.75=mobilenet_7_5_224_tf.h5@sha256:feaac8c9f98376f0", "apache-2.0"),
        ("torchvision:resnet18=resnet18-f37072fd.pth@sha256:0000", None),
        ("runs/a@sha256:1234", None),
        (None, None),
    ],
)
def test_a_file_names_the_licence_of_the_official_weights_that_its_run_started_from(parent, licence):
    b = bundle_of("lenet5", channels=1)
    made = exports.card_of(replace(b, card={"parent": parent} if parent else {}), True)
    assert made.get("licence") == licence


def test_folding_leaves_no_norm_behind_a_convolution_and_the_network_as_it_was():
    b = bundle_of("resnet20")
    before = {k: v.clone() for k, v in b.model.state_dict().items()}
    net = folded(b.model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x), b.model(x), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in b.model.state_dict().items())
    kept = [m for m in folded(bundle_of("resnetv2_18").model).modules() if isinstance(m, nn.BatchNorm2d)]
    assert kept, "what stands before a rectifier is no part of any convolution"


@pytest.fixture(scope="module")
def small():
    return bundle_of("lenet5_modern", channels=1)


@pytest.fixture(scope="module")
def digits():
    return podium.load_data("digits")


@pytest.fixture(scope="module")
def ten(digits):
    """A network of ten classes, which the digits have, with blue first."""
    b = bundle_of("resnet20", order="bgr")
    b.model.reset_head(10)
    return Bundle(b.model.eval(), digits.classes, b.preprocessing, {"sha256": "0" * 64})


@pytest.mark.parametrize("preprocessing", sampled(["inside", "beside"], 1))
@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_every_format_is_held_to_the_run_on_real_images(ten, digits, tmp_path, suffix, preprocessing):
    how = {"preprocessing": preprocessing, "heat_map": True}
    parity = podium.export(ten, tmp_path / f"x{suffix}", data=digits, **how)
    assert parity.images == 64
    assert parity.probabilities <= 1e-4
    assert parity.heat_maps <= 1e-4
    assert parity.agreement == 1
    names = {".onnx": {"x.onnx"}, ".xml": {"x.xml", "x.bin"}, ".pt2": {"x.pt2"}}[suffix]
    assert {path.name for path in tmp_path.iterdir()} == names
    weights = sum(4 * p.numel() for p in ten.model.parameters())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1.5 * weights, "each weight is there once"
    if suffix == ".pt2":
        extra = {"podium.json": ""}
        torch.export.load(tmp_path / "x.pt2", extra_files=extra)
        card = json.loads(extra["podium.json"])
    else:
        card = podium.load(tmp_path / f"x{suffix}").card
    assert card["classes"] == list(digits.classes)
    assert Preprocessing.from_dict(card["preprocessing"]) == ten.preprocessing
    assert card["preprocessing_inside"] == (preprocessing == "inside")
    assert card["heat_map"] == {"height": 8, "width": 8, "span": 1.0}
    assert card["parent"] == {"sha256": "0" * 64}
    assert card["opset"] == exports.OPSET


def test_an_onnx_file_states_its_opset_and_takes_any_number_of_uint8_images(ten, digits, tmp_path):
    import onnx

    podium.export(ten, tmp_path / "x.onnx", data=digits)
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model)
    assert [(o.domain, o.version) for o in model.opset_import if not o.domain] == [("", exports.OPSET)]
    (image,) = model.graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [0, 32, 32, 3]
    made = load_exported(tmp_path / "x.onnx", engine="onnxruntime")
    for count in (1, 3):
        assert made.logits_and_probabilities(pixels(count=count))[1].shape == (count, 10)
    assert str(exports.__file__).encode() not in (tmp_path / "x.onnx").read_bytes(), "no path of this machine is in it"


def test_a_file_that_answers_differently_is_not_left(ten, digits, tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_bytes(b"the one before")
    wrong = graph_of(ten, True)
    wrong.offset += 0.3
    monkeypatch.setattr(exports, "graph_of", lambda *_: wrong)
    with pytest.raises(NumericError, match=r"x\.onnx: the export answers differently: largest difference") as caught:
        podium.export(ten, tmp_path / "x.onnx", data=digits)
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
    assert (tmp_path / "x.onnx").read_bytes() == b"the one before"


def test_not_a_number_is_no_agreement(ten, digits):
    images = pixels()
    assert not exports.parity(lambda x: (np.full((len(x), 10), np.nan),) * 2, ten, images).holds
    logits, probabilities, heat_maps = answer(ten, images, heat_map=True)
    assert exports.parity(lambda x: (logits, probabilities, heat_maps), ten, images).holds
    assert not exports.parity(lambda x: (logits, probabilities, heat_maps * np.nan), ten, images).holds
    assert not exports.parity(lambda x: (logits, probabilities, heat_maps + 0.001), ten, images).holds


def test_a_network_whose_last_map_is_a_single_place_is_exported_without_a_heat_map(digits, tmp_path):
    net = build_model("mobilenet_v1", num_classes=10, image_size=32).eval()
    one = Bundle(net, digits.classes, Preprocessing(32, 3), {})
    with pytest.raises(UsageError, match="mobilenet_v1 at 32 px has no heat map") as caught:
        podium.export(one, tmp_path / "x.onnx", data=digits, heat_map=True)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_auxiliary_classifiers_are_not_exported():
    net = build_model("googlenet", num_classes=5, image_size=32, small=True).eval()
    assert len(net.auxiliary)
    graph = graph_of(Bundle(net, tuple("abcde"), Preprocessing(32, 3), {}), True)
    assert not any("auxiliary" in name for name, _ in graph.named_parameters())


@pytest.mark.parametrize(
    ("out", "how", "says"),
    [
        ("x.tflite", {}, "says no format"),
        ("x.onnx", {"format": "coreml"}, "format: 'coreml'"),
        ("x.onnx", {"format": "openvino"}, "end it in .xml"),
        ("x.onnx", {"preprocessing": "none"}, "give inside or beside"),
    ],
)
def test_what_cannot_be_meant_is_refused(ten, digits, tmp_path, out, how, says):
    with pytest.raises(UsageError, match=says):
        podium.export(ten, tmp_path / out, data=digits, **how)
    assert not list(tmp_path.iterdir())


def test_a_run_is_exported_on_its_own_images_by_the_command(podium, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/digits.bin").write_bytes(bytes(1000))  # of an export to OpenVINO that went before
    said = podium("export", run.path, "-o", "out/digits.onnx", "--heatmap", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.json["file"] == "out/digits.onnx"
    assert said.json["bytes"] == (tmp_path / "out/digits.onnx").stat().st_size
    assert said.json["parity"]["images"] == 64
    assert said.json["parity"]["heat_maps"] <= 1e-4
    (tmp_path / "bundle").mkdir()
    for name in ("model.safetensors", "card.json"):
        (tmp_path / "bundle" / name).write_bytes((run.path / name).read_bytes())
    podium("export", "bundle", "-o", "x.onnx").refused(2, "--data")
    podium("export", "bundle", "-o", "x.onnx", "--data", "nowhere").refused(3, "nowhere")
    assert not (tmp_path / "x.onnx").exists()
