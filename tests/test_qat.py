"""A network that int8 harms gets used to it: rounding as an engine rounds, straight through on the way back, and the gate decides."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import podium as library
from podium.compression.gate import Gate
from podium.compression.qat import fine_tuned
from podium.runs import bundle
from podium.training.fake_int8 import exact, fake_int8, int8_weights, uint8_activations
from podium.weights.create import create_model


def test_weights_go_to_int8_and_back_a_scale_for_each_filter():
    w = np.array([[[0.5, -1.27], [0.004, 0.126]], [[300.0, -254.0], [0.9, 127.4]], [[0, 0], [0, 0]]], np.float32)
    steps = np.array([[[50, -127], [0, 13]], [[127, -108], [0, 54]], [[0, 0], [0, 0]]], np.int8)
    scales = np.array([1.27, 300, 0]).reshape(3, 1, 1) / 127
    np.testing.assert_allclose(int8_weights(torch.from_numpy(w)).numpy(), steps * scales, rtol=1e-6)


def test_activations_go_to_uint8_and_back_and_zero_stays_zero():
    x = torch.tensor([-1.0, 0.0, 0.013, 1.55, 0.5])  # 255 steps of 0.01, of which zero is the hundredth
    np.testing.assert_allclose(uint8_activations(x).numpy(), [-1, 0, 0.01, 1.55, 0.5], rtol=0, atol=1e-6)
    positive = torch.tensor([2.0, 2.55])
    np.testing.assert_allclose(uint8_activations(positive).numpy(), [2.0, 2.55], atol=1e-6)  # the range begins at zero
    assert uint8_activations(torch.zeros(3)).tolist() == [0, 0, 0]
    assert uint8_activations(torch.tensor([1.0, float("nan")])).isnan().any()  # a loss that is none is seen


def test_the_gradient_goes_straight_through_inside_the_range_and_not_outside():
    x = torch.tensor([-0.5, 0.013, 0.7, 3.0], requires_grad=True)
    uint8_activations(x, torch.tensor(0.0), torch.tensor(2.55)).backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [0, 2, 3, 0]
    w = torch.tensor([[0.3, -1.0], [5.0, 0.01]], requires_grad=True)
    int8_weights(w).backward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert w.grad.tolist() == [[1, 2], [3, 4]]


def test_layers_compute_with_rounded_numbers_and_are_the_same_layers_afterwards():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    plain, x = copy.deepcopy(net), torch.randn(5, 2, 4, 4)
    conv, linear = net[0], net[3]
    h = F.conv2d(uint8_activations(x), int8_weights(conv.weight), conv.bias, stride=2, padding=1, groups=2)
    logits = F.linear(uint8_activations(h.relu().flatten(1)), int8_weights(linear.weight), linear.bias)
    expected = uint8_activations(logits)
    fake_int8(net)
    assert torch.equal(net(x), expected)
    assert not torch.equal(net(x), plain(x))
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert net[0] is conv
    exact(net)
    assert torch.equal(net(x), plain(x))


def test_rounding_before_a_norm_is_rounding_the_folded_weights():
    from podium.deployment.graph import folded

    net = create_model("vgg11_bn", num_classes=3, image_size=32, small=True).eval()
    conv, norm = next(
        (a, b) for a, b in zip(net.modules(), list(net.modules())[1:], strict=False) if isinstance(b, nn.BatchNorm2d)
    )
    with torch.no_grad():
        norm.weight.uniform_(-2, 2)
        norm.running_var.uniform_(0.5, 2)
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    merged = next(m for m in folded(net).modules() if isinstance(m, nn.Conv2d)).weight
    torch.testing.assert_close(int8_weights(merged), int8_weights(conv.weight) * factor.view(-1, 1, 1, 1))


def test_what_ends_in_no_rectifier_is_rounded_as_an_engine_rounds_it():
    conv = lambda: nn.Conv2d(1, 1, 1)  # noqa: E731
    branch = nn.Sequential(conv(), nn.BatchNorm2d(1), nn.ReLU(), conv(), nn.BatchNorm2d(1))
    net = nn.Sequential(branch, nn.MaxPool2d(2), conv(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    fake_int8(net)
    assert [n for n, m in net.named_modules() if m._forward_hooks] == ["0.4", "2", "6"]
    exact(net)
    assert not any(m._forward_hooks for m in net.modules())


def rounded_outputs(name, **arguments):
    """The names of the layers whose outputs are rounded."""
    net = create_model(name, num_classes=3, **arguments)
    fake_int8(net)
    return [key for key, layer in net.named_modules() if layer._forward_hooks]


@pytest.mark.parametrize("name", ["zfnet", "mobilenet_v1", "keras_mobilenet", "vgg11_bn", "alexnet"])
def test_only_logits_are_rounded_where_a_rectifier_follows_every_layer(name):
    """One rectifier that stands in five places is five rectifiers, and one that is cut off at 6 is one too."""
    six = {"six": True} if name == "keras_mobilenet" else {}
    name = "mobilenet_v1" if six else name
    assert rounded_outputs(name, image_size=32, small=True, **six) == ["head.classifier"]


def test_what_goes_into_a_sum_or_a_product_is_rounded():
    v1, v2, gated, dense = (
        rounded_outputs(name, image_size=32, small=True, **arguments)
        for name, arguments in (
            ("resnet18", {"units": (1, 1)}),
            ("resnetv2_18", {"units": (1, 1)}),
            ("seresnet18", {"units": (1, 1)}),
            ("densenet121", {"layers": (1, 1)}),
        )
    )
    ends = ["stages.stage1.0.residual.bn2", "stages.stage2.0.residual.bn2", "stages.stage2.0.shortcut.bn1"]
    assert v1 == [*ends, "head.classifier"]
    assert [key.rpartition(".")[2] for key in v2 if key.startswith("stages")] == ["conv2", "conv2", "shortcut"]
    assert [key for key in gated if ".se." in key] == [f"stages.stage{n}.0.residual.se.fc2" for n in (1, 2)]
    assert [key for key in gated if ".se." not in key] == v1
    assert [key for key in dense if key.endswith("conv2")] == [f"stages.block{n}.0.new.conv2" for n in (1, 2)]


@pytest.fixture(scope="module")
def hostile(run, tmp_path_factory):
    """The run on the digits with one map 700 times as large, and the weights that read it as much smaller: the same function."""
    made = library.load(run.path)
    with torch.no_grad():
        made.model.stem.weight[0] *= 700
        made.model.stem.bias[0] *= 700
        made.model.stages.stage2.weight[:, 0] /= 700
    folder = tmp_path_factory.mktemp("hostile") / "run"
    bundle.save(folder, made.model, made.classes, made.preprocessing, {})
    return folder


@pytest.mark.slow
def test_a_network_that_int8_harms_is_used_to_it_after_fine_tuning(podium, hostile, run, tmp_path):
    words = ("quantize", hostile, "digits", "-o", "q", "--tolerance", 0.05, "--seconds", 0.01)
    said = podium(*words, "--epochs", 3, "--json")
    assert said.code == 0
    before, after = (next(r for r in said.json["rows"] if r["name"] == name) for name in ("before", "after"))
    assert before["top1"] == pytest.approx(run.result["top1"], abs=0.003)
    assert after["dtype"] == "int8"
    assert after["top1"] >= before["top1"] - 0.05
    card, tuned, start = (json.loads((tmp_path / "q" / p / "card.json").read_text()) for p in ("", "qat", "qat/start"))
    assert card["without_qat"]["after"] < 0.85
    assert card["without_qat"]["fine_tuned"]
    assert card["gate"]["passed"]
    assert card["parent"]["sha256"] == tuned["sha256"]
    assert tuned["parent"].endswith(start["sha256"])
    assert tuned["teacher"] == tuned["parent"]
    assert start["made"]["parent"] == library.load(hostile).card["sha256"]
    # The fine-tuned run is one like any other: what it reports is what it answers, without rounding.
    judged = podium("eval", "q/qat", "digits", "--json").json
    result = json.loads((tmp_path / "q" / "qat" / "result.json").read_text())
    assert judged["top1"] == result["top1"]


@pytest.mark.slow
def test_one_that_int8_still_harms_is_refused_and_its_fine_tuning_is_kept_and_exact(
    podium, hostile, tmp_path, monkeypatch
):
    words = ("quantize", hostile, "digits", "-o", "q", "--tolerance", 0.06, "--epochs", 1, "--limit", 50)
    monkeypatch.setattr(Gate, "outcome", "above")
    said = podium(*words, "--json")
    assert (said.code, said.out) == (5, "")
    *notes, error, fix = said.err.splitlines()  # notes are about the data of the fine-tuning
    assert all(note.startswith("note: ") for note in notes)
    assert (error.startswith("error: int8 loses too much"), "--epochs" in fix) == (True, True), said.err
    assert [path.name for path in tmp_path.iterdir()] == ["q"]
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["qat"]
    log = (tmp_path / "q" / "qat" / "log.jsonl").read_bytes()

    def again(out):
        fine_tuned(library.load(hostile), library.load_data("digits"), out, 1, lambda *_: None)
        return (out / "model.safetensors").read_bytes()

    whole = again(tmp_path / "q" / "qat")
    assert (tmp_path / "q" / "qat" / "log.jsonl").read_bytes() == log  # nothing is trained twice
    monkeypatch.setenv("PODIUM_FAULT", "nan@before:7")
    with pytest.raises(library.PodiumError, match="at step 7: the step was not taken"):
        again(tmp_path / "stopped")
    monkeypatch.delenv("PODIUM_FAULT")
    assert again(tmp_path / "stopped") == whole
