"""Files whose digest holds, though somebody changed what is in them: what cannot be is refused by name, by `load` and by `verify` alike."""

import hashlib
import json
import math
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from safetensors.torch import load_file, save_file

import podium as library
from podium.deployment import export, protobuf, sealed
from podium.errors import ModelFileError
from podium.files import seal
from podium.models.outline import outline
from podium.models.registry import build_model
from podium.runs import bundle

GONE = object()  # a key that is taken out


@pytest.fixture
def copied(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def own_run(run, tmp_path):
    """A copy of the run's bundle."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in (bundle.WEIGHTS, bundle.CARD):
        shutil.copy(run.path / name, folder)
    return folder


def edited(card, change):
    """A card with other values; those of a dictionary are changed one by one."""
    for key, value in change.items():
        if value is GONE:
            card.pop(key)
        else:
            card[key] = {**card[key], **value} if isinstance(value, dict) and key in card else value
    return card


def reseal(path, change):
    """Write other values into the card of an exported file or a bundle, with a digest that holds."""
    if path.is_dir():
        card = edited(json.loads((path / bundle.CARD).read_text()), change)
        card.pop(bundle.SEAL)
        card[bundle.SEAL] = seal(card, bundle.SEAL)
        (path / bundle.CARD).write_text(json.dumps(card))
    elif path.suffix == ".onnx":
        card = edited(sealed.read_onnx("x", path.read_bytes()).card, change)
        path.write_bytes(export.sealed_bytes(onnx.load(path), card))
    else:
        weights = path.with_suffix(".bin").read_bytes()
        card = edited(sealed.read_ir("x", path.read_bytes(), weights).card, change)
        gone = {key: None for key, value in change.items() if value is GONE}
        path.write_bytes(sealed.amend_ir("x", path.read_bytes(), weights, {**card, **gone}))


NAMES = [str(number) for number in range(10)]
CARDS = {
    "a newer format": ({"format": 2}, "newer Podium"),
    "format 0": ({"format": 0}, "format 0, which no Podium wrote"),
    "a format that is a text": ({"format": "1"}, "format '1', which no Podium wrote"),
    "no classes": ({"classes": []}, "classes: 0 of them"),
    "without classes": ({"classes": GONE}, "classes|'classes'"),
    "one class": ({"classes": ["a"]}, "classes: 1 of them"),
    "eleven classes": ({"classes": [*NAMES, "10"]}, "11|10"),
    "a class twice": ({"classes": [*NAMES[:9], "0"]}, "'0' stands there more than once"),
    "a class without a name": ({"classes": [*NAMES[:9], " "]}, "' ' is no name"),
    "a class that is a number": ({"classes": [*NAMES[:9], 9]}, "9 is no name"),
    "classes as a text": ({"classes": "0123456789"}, "classes: '0123456789'"),
    "colour": ({"preprocessing": {"channels": 3}}, "3"),
    "an image size that is a text": ({"preprocessing": {"image_size": "32"}}, "image_size: '32'"),
    "images of 10 gigapixels": ({"preprocessing": {"image_size": 100_000}}, "image_size: 100000"),
    "two means": ({"preprocessing": {"mean": [0.5, 0.5]}}, "mean: "),
    "a mean that is a text": ({"preprocessing": {"mean": ["a"]}}, "mean: "),
    "a mean of NaN": ({"preprocessing": {"mean": [math.nan]}}, "preprocessing.mean.0 is not a finite number"),
    "a deviation of 0": ({"preprocessing": {"std": [0.0]}}, "std: "),
    "another order of channels": ({"preprocessing": {"channel_order": "grb"}}, "channel_order: 'grb'"),
    "a crop of nothing": ({"preprocessing": {"crop_pct": 0}}, "crop_pct: 0"),
    "an unknown part of preprocessing": ({"preprocessing": {"sharpen": 3}}, "sharpen"),
    "preprocessing that is a list": ({"preprocessing": [1]}, "not a card"),
}


@pytest.mark.parametrize("name", ["own", "x.onnx", "x.xml"])
@pytest.mark.parametrize("case", CARDS)
def test_a_card_that_cannot_be_is_refused_by_load_and_by_verify(copied, own_run, name, case):
    change, says = CARDS[case]
    reseal(copied / name, change)
    with pytest.raises(ModelFileError, match=says):
        library.load(copied / name)
    found = library.verify(copied / name)
    assert not found["ok"]
    assert any(row["error"] and str(copied / name) in row["error"] for row in found["files"])


@pytest.mark.parametrize("name", ["x.onnx", "x.xml"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"preprocessing": {"image_size": 16}},
            r"the graph has image uint8 \(any, 32, 32, 1\), and by the card .* 16, 16",
        ),
        ({"preprocessing_inside": False}, r"by the card it would be image float32 \(any, 1, 32, 32\)"),
        ({"preprocessing_inside": "yes"}, "preprocessing_inside: 'yes'"),
        (
            {"heat_map": {"height": 5, "width": 5}},
            "gives logits, probabilities, and by the card it would give .*, heat_map",
        ),
        ({"heat_map": {"height": 0, "width": 5}}, "heat_map: .*'height': 0"),
        ({"heat_map": True}, "heat_map: True"),
        ({"heat_map": {"height": 8, "width": 8, "span": 0}}, "heat_map: .*'span': 0"),
        ({"heat_map": {"height": 8, "width": 8, "span": "wide"}}, "wide"),
        ({"classes": NAMES[:9]}, r"logits float32 \(any, 10\), and by the card .* \(any, 9\)"),
    ],
)
def test_a_card_that_is_not_its_graphs_is_refused(copied, podium, picture, name, change, says):
    reseal(copied / name, change)
    with pytest.raises(ModelFileError, match=says):
        library.load(copied / name)
    podium("predict", copied / name, picture()).refused(4, name)
    said = podium("verify", copied / name)
    assert said.code == 4


def test_without_an_engine_verify_reads_the_graph_all_the_same(copied, monkeypatch):
    monkeypatch.setattr("podium.verification.engine_here", lambda _: None)
    assert library.verify(copied / "x.onnx")["ok"]
    reseal(copied / "x.onnx", {"preprocessing": {"image_size": 16}})
    assert not library.verify(copied / "x.onnx")["ok"]


def test_a_graph_that_no_engine_runs_is_refused_by_both(copied):
    model = onnx.load(copied / "x.onnx")
    model.graph.node[0].op_type = "NoSuchLayer"
    card = sealed.read_onnx("x", (copied / "x.onnx").read_bytes()).card
    (copied / "x.onnx").write_bytes(export.sealed_bytes(model, card))
    with pytest.raises(ModelFileError, match="ONNX Runtime refuses it"):
        library.load(copied / "x.onnx")
    assert not library.verify(copied / "x.onnx")["ok"]


# --- networks that a card asks for

SPECS = {
    "a network of terabytes": ({"model": "resnet18", "width": 100_000}, "not the weights of resnet18"),
    "wide layers behind a large map": ({"image_size": 16_000}, "not the weights of lenet5_modern"),
    "a million layers": ({"model": "resnet20", "units": [1000, 1000, 1000]}, "far more layers than any network"),
    "a negative width": ({"model": "resnet18", "width": -64}, "cannot be built"),
    "a width of zero": ({"model": "resnet18", "width": 0}, "own"),
    "a width that is a text": ({"model": "resnet18", "width": "64"}, "cannot be built"),
    "too few scales": ({"model": "resnet18", "units": [2]}, "own"),
    "no scales": ({"model": "densenet121", "layers": []}, "own"),
    "a number of groups that does not divide": ({"model": "resnet18", "block": "bottleneck", "groups": 7}, "own"),
    "an unknown network": ({"model": "resnet19"}, "no network is called 'resnet19'"),
    "an unknown argument": ({"depth": 3}, "no argument 'depth'"),
    "an image too small for it": ({"image_size": 1}, "cannot be built"),
    "without a network": ({"model": GONE}, "no 'model'"),
    "an epsilon that is a text": ({"model": "resnet18", "eps": "x"}, "own"),
    "edits of a layer that is not there": ({"edits": {"layers": {"nowhere": {"out": 1}}}}, "has no layer 'nowhere'"),
    "edits that are a list": ({"edits": [1]}, "cannot be built"),
}


@pytest.mark.parametrize("case", SPECS)
def test_a_network_that_cannot_be_is_refused_before_it_is_built(own_run, podium, picture, monkeypatch, case):
    change, says = SPECS[case]
    spec = edited(json.loads((own_run / bundle.CARD).read_text())["spec"], change)
    reseal(own_run, {"spec": GONE})
    reseal(own_run, {"spec": spec})
    monkeypatch.setattr(bundle, "rebuild", lambda _: pytest.fail("it took memory"))
    monkeypatch.setattr("podium.models.outline.MOST_CALLS", 10_000)
    podium("predict", own_run, picture()).refused(4, "own")
    with pytest.raises(ModelFileError, match=says):
        library.load(own_run)
    assert not library.verify(own_run)["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet1202", "resnetv2_1001"])
def test_the_deepest_networks_are_not_too_deep(name):
    spec = build_model(name, num_classes=10).spec
    assert outline(spec, spec["image_size"] + 32).spec == spec
    with pytest.raises(ValueError, match="far more layers"):
        outline({**spec, "model": "resnet20", "units": (1000, 1000, 1000)}, 32)


def test_a_network_whose_edits_do_not_fit_each_other_is_refused(own_run, run):
    """Each layer has the weights that its edit asks for; the second reads other channels than the first makes."""
    state = load_file(own_run / bundle.WEIGHTS)
    name = next(key for key, value in state.items() if value.ndim == 4)
    state[name] = state[name][:2].contiguous()
    layer = name.removesuffix(".weight")
    if f"{layer}.bias" in state:
        state[f"{layer}.bias"] = state[f"{layer}.bias"][:2].contiguous()
    save_file(state, own_run / bundle.WEIGHTS)
    digest = hashlib.sha256((own_run / bundle.WEIGHTS).read_bytes()).hexdigest()
    reseal(own_run, {"sha256": digest, "spec": {"edits": {"layers": {layer: {"out": 2}}}}})
    with pytest.raises(ModelFileError, match="cannot be built, or takes no images of 32 px"):
        library.load(own_run)


def test_edits_do_not_hide_a_network_of_gigabytes():
    """It would be built whole before they make it small."""
    whole = build_model("lenet5_modern", in_chans=1, num_classes=10, image_size=32)
    linear = next(name for name, module in whole.named_modules() if isinstance(module, torch.nn.Linear))
    spec = {**whole.spec, "image_size": 5000, "edits": {"layers": {linear: {"in": 16}}}}
    with pytest.raises(ValueError, match=r"it is built with \d+\.\d GB, of which its edits leave 0\.000"):
        outline(spec, 5000)


def test_images_of_another_size_than_the_network_takes_are_refused(own_run):
    reseal(own_run, {"preprocessing": {"image_size": 2}})
    with pytest.raises(ModelFileError, match="takes no images of 2 px"):
        library.load(own_run)


# --- tensors outside the file


def test_all_messages_that_lead_to_a_tensor_are_walked():
    """By onnx's own descriptors, from message to message."""
    messages = {name: each for name, each in vars(onnx.onnx_ml_pb2).items() if hasattr(each, "DESCRIPTOR")}
    fields = {
        name: {field.number: field.message_type.name for field in each.DESCRIPTOR.fields if field.message_type}
        for name, each in messages.items()
        if hasattr(each.DESCRIPTOR, "fields")
    }
    leading = {"TensorProto"}
    while more := {name for name, inner in fields.items() if set(inner.values()) & leading} - leading:
        leading |= more
    reached = ["ModelProto"]
    for name in reached:
        reached += {inner for inner in fields.get(name, {}).values() if inner in leading} - set(reached)
    expected = {
        name: {number: inner for number, inner in fields[name].items() if inner in leading}
        for name in reached
        if name != "TensorProto"
    }
    assert expected == protobuf.NESTED


def outside():
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def constant():
    return helper.make_node("Constant", [], ["t"], value=outside())


def graph(*nodes, **more):
    return helper.make_graph(list(nodes), "inner", [], [], **more)


def function(**more):
    return onnx.FunctionProto(name="f", domain="d", **more)


PLACES = {
    "a function's attribute": lambda m: m.functions.append(
        function(attribute_proto=[helper.make_attribute("a", outside())])
    ),
    "a function's body": lambda m: m.functions.append(function(node=[constant()])),
    "a graph in a function's attribute": lambda m: m.functions.append(
        function(attribute_proto=[helper.make_attribute("a", graph(constant()))])
    ),
    "a list of tensors": lambda m: m.graph.node.append(helper.make_node("X", [], ["t"], values=[outside()])),
    "a loop": lambda m: m.graph.node.append(helper.make_node("Loop", [], ["t"], body=graph(constant()))),
    "a scan in a loop": lambda m: m.graph.node.append(
        helper.make_node("Loop", [], ["t"], body=graph(helper.make_node("Scan", [], ["t"], body=graph(constant()))))
    ),
    "the indices of a sparse tensor": lambda m: m.graph.sparse_initializer.append(
        onnx.SparseTensorProto(indices=outside())
    ),
    "a sparse constant": lambda m: m.graph.node.append(
        helper.make_node("Constant", [], ["t"], sparse_value=onnx.SparseTensorProto(values=outside()))
    ),
    "the training": lambda m: m.training_info.append(onnx.TrainingInfoProto(algorithm=graph(initializer=[outside()]))),
    "the start of the training": lambda m: m.training_info.append(
        onnx.TrainingInfoProto(initialization=graph(constant()))
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_outside_the_file_is_found_wherever_it_hides(copied, place):
    content = (copied / "x.onnx").read_bytes()
    model, card = onnx.load_model_from_string(content), sealed.read_onnx("x", content).card
    PLACES[place](model)
    with pytest.raises(ModelFileError, match="weights outside the file"):
        export.sealed_bytes(model, card)  # to seal it is to look for where its digest goes
    (copied / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="weights outside the file"):
        library.load(copied / "x.onnx")


def test_a_field_whose_number_some_readers_cut_is_refused():
    """Field 13 of a tensor is its place outside the file; readers that keep 32 bits of a number see it in this one too."""

    def varint(value):
        return bytes([value & 127 | 128 if value > 127 else value]) + (varint(value >> 7) if value > 127 else b"")

    location = outside().external_data[0].SerializeToString()
    plain = varint(13 << 3 | 2) + varint(len(location)) + location
    hidden = varint(1 << 32 | 13 << 3 | 2) + varint(len(location)) + location
    for content, says in ((plain, "weights outside"), (hidden, "more than 32 bits")):
        with pytest.raises(ValueError, match=says):
            protobuf.refuse_external(memoryview(content), "TensorProto", 0, len(content))


# --- arrays that are no pixels


@pytest.mark.parametrize(
    ("name", "how"), [("own", {}), ("x.onnx", {}), ("x.onnx", {"engine": "openvino"}), ("x.xml", {})]
)
def test_floats_are_refused_wherever_arrays_are_taken(copied, own_run, name, how):
    model = library.load(copied / name, **how)
    ones = np.random.default_rng(0).random((2, 32, 32, 1))
    spoiled = ones.copy()
    spoiled[0, 0, 0] = np.nan
    cases = {
        "(array * 255).round().astype('uint8')": ones,
        "array.round().astype('uint8')": (ones * 255).astype(np.float32),
        "NaN or infinite": spoiled,
        "negative, as of normalised images": ones - 0.5,
        "above 255": ones * 65535,
        "array.astype('uint8') * 255": ones > 0.5,
        "array // 257": (ones * 65535).astype(np.uint16),
        "numpy.interp(array, (BLACK, WHITE), (0, 255))": (ones * 4000 - 1000).astype(np.int16),
    }
    for mend, array in cases.items():
        with pytest.raises(library.PodiumError) as problem:
            model.logits_and_probabilities(array)
        assert (problem.value.exit_code, mend in problem.value.fix) == (2, True), problem.value
        for ask in (model.predict, model.probabilities):
            with pytest.raises(library.PodiumError) as problem:
                ask(array[0])
            assert (problem.value.exit_code, mend in problem.value.fix) == (2, True), problem.value
    for wrong in (
        np.zeros((32, 32, 1), np.uint8),
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((0, 32, 32, 1), np.uint8),
    ):
        with pytest.raises(library.PodiumError, match=r"the network takes \(N, 32, 32, 1\)"):
            model.logits_and_probabilities(wrong)


def test_the_mend_of_floats_gives_the_answer_to_the_pixels(copied):
    model = library.load(copied / "x.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
    expected = model.logits_and_probabilities(pixels)[0]
    for array in (pixels / 255, (pixels / 255).astype(np.float32)):
        assert np.array_equal(model.logits_and_probabilities((array * 255).round().astype("uint8"))[0], expected)
    assert np.array_equal(model.logits_and_probabilities(pixels.astype(float).round().astype("uint8"))[0], expected)
