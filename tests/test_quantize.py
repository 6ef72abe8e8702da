"""int8 takes a network's place only where it still knows the images; engines are compared on the same ones."""

import hashlib
import json

import numpy as np
import pytest

import podium
from podium.compression import int8, quantize
from podium.deployment import engine_speed, engines
from podium.deployment import export as exports
from podium.deployment.graph import answer, graph_of
from podium.deployment.runtime import load_exported
from podium.errors import UsageError


@pytest.fixture(scope="module")
def quantized(run, tmp_path_factory):
    """`podium quantize` of the run on the digits."""
    return podium.quantize(run, None, tmp_path_factory.mktemp("int8") / "q", seconds=0, tolerance=0.03)


def test_int8_is_smaller_and_knows_as_many(quantized, run):
    before, after = (next(r for r in quantized.rows if r["name"] == name) for name in ("before", "after"))
    assert after["dtype"] == "int8"
    assert after["size_bytes"] < 0.5 * next(r for r in quantized.rows if r["engine"] == "onnxruntime")["size_bytes"]
    assert after["top1"] > before["top1"] - 0.02
    assert before["top1"] == pytest.approx(run.result["top1"])
    assert quantized.gate["passed"]
    assert {r["engine"] for r in quantized.rows} == {"eager", "onnxruntime", "openvino"}
    for r in quantized.rows:
        assert {"error", "latency_ms", "images_per_second", "batch", "threads"} <= set(r)


def test_what_is_computed_is_integers(quantized):
    import onnx

    model = onnx.load(quantized.path / "model.onnx")
    scales = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    stored = {t.name: t.data_type for t in model.graph.initializer}
    assert len(scales) >= 4
    assert onnx.TensorProto.INT8 in stored.values()  # weights
    zeros = {stored[n.input[2]] for n in scales}
    assert zeros == {onnx.TensorProto.UINT8}  # activations


def test_the_card_names_the_parent_and_every_file(quantized, run):
    card = json.loads((quantized.path / "card.json").read_text())
    assert card["parent"]["sha256"] == podium.load(run.path).card["sha256"]
    assert card["made"]["by"] == "quantize"
    assert card["data_sha256"] == podium.load(run.path).card["data_sha256"]
    assert card["sha256"] == {"model.onnx": hashlib.sha256((quantized.path / "model.onnx").read_bytes()).hexdigest()}
    assert card["gate"] == quantized.gate == load_exported(quantized.path / "model.onnx").card["gate"]
    assert (card["without_qat"]["split"], card["without_qat"]["fine_tuned"]) == ("train", False)  # it was not needed
    assert not (quantized.path / "qat").exists()
    assert json.loads((quantized.path / "quantize.json").read_text())["rows"] == quantized.rows
    assert podium.load(quantized.path).classes == tuple("0123456789")


@pytest.mark.parametrize(("limit", "held", "count"), [(None, 1 << 30, 360), (100, 1 << 30, 100), (None, 0, 2)])
def test_all_images_decide_that_can_be_held_or_as_many_as_are_wanted(run, monkeypatch, limit, held, count):
    monkeypatch.setattr(quantize, "HELD", held)
    monkeypatch.setattr(quantize, "CHOOSING", 2)
    assert quantize.Options(limit=limit).deciding(podium.load(run.path), podium.load_data("digits")) == count


@pytest.mark.parametrize("vnni", [True, False])
def test_without_vnni_the_other_ways_are_tried_too(vnni):
    tried = int8.roundings(vnni)
    assert tried[0] == int8.Rounding(per_channel=True, reduce_range=False)
    assert (int8.Rounding(False, True) in tried) == (not vnni)


def test_a_heat_map_is_computed_in_float_beside_an_answer_in_integers(run, tmp_path):
    bundle, data = podium.load(run.path), podium.load_data("digits")
    images, _ = exports.squares(data, bundle, 64)
    p, found = bundle.preprocessing, []
    for heat_map in (False, True):
        model = exports.onnx_model(graph_of(bundle, True, heat_map), p.image_size, p.channels)
        made = int8.onnx_int8(model, images, int8.Rounding(True, False))
        found.append([node.op_type for node in made.graph.node].count("QuantizeLinear"))
    assert found[0] == found[1] > 0
    card = {**exports.card_of(bundle, True, True), "dtype": "int8"}
    (tmp_path / "x.onnx").write_bytes(exports.sealed_bytes(made, card))
    logits, _, heat_maps = load_exported(tmp_path / "x.onnx", engine="onnxruntime").outputs_of(images)
    expected, _, wanted = answer(bundle, images, heat_map=True)
    same = logits.argmax(1) == expected.argmax(1)
    assert same.mean() > 0.9
    assert np.abs(heat_maps - wanted)[same].mean() < 0.05


def test_one_that_forgets_is_not_left_and_the_run_stays(podium, run, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    right = quantize._logits
    monkeypatch.setattr(quantize, "_logits", lambda made, images: np.roll(right(made, images), 1, axis=1))
    said = podium("quantize", run.path, "-o", "q", "--no-qat", "--tolerance", 0.03, "--seconds", 0.01, "--json")
    said.refused(5, "int8 loses too much", "--tolerance", "--recipe qat -o q-tuned")
    assert not list(tmp_path.iterdir())
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_openvinos_int8_by_nncf(podium, run, picture, tmp_path):
    pytest.importorskip("nncf")
    said = podium(
        *("quantize", run.path, "digits", "-o", "q", "--engine", "openvino", "--seconds", "0.01", "--limit", 100),
        *("--tolerance", 0.1, "--heatmap", "--json"),
    )
    assert said.code == 0
    model = load_exported(tmp_path / "q" / "model.xml")
    assert (model.card["dtype"], model.has_heat_maps) == ("int8", True)
    assert model.explain(picture()).map.max() > 0.5
    assert said.json["rows"][-1]["engine"] == "openvino"
    assert {path.name for path in (tmp_path / "q").iterdir()} == {
        "model.xml",
        "model.bin",
        "card.json",
        "quantize.json",
    }
    assert podium("predict", "q", picture(), "--json").code == 0
    assert load_exported(tmp_path / "q" / "model.xml").card["gate"] == said.json["gate"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"engine": "tensorrt"}, "engine"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"limit": 0}, "limit"),
        ({"out": "."}, "exists"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, tmp_path, how, says):
    (tmp_path / "something").touch()
    how = {"out": tmp_path / "q"} | how
    how["out"] = tmp_path if how["out"] == "." else how["out"]
    with pytest.raises(UsageError, match=says):
        podium.quantize(run, "digits", **how)


# --- engines side by side


@pytest.mark.slow
def test_every_engine_is_timed_and_the_fastest_that_agrees_is_picked(podium, run, quantized, monkeypatch):
    said = podium(
        "bench", run.path, quantized.path, "--engines", "eager,onnxruntime,openvino", "--seconds", 0.01, "--json"
    )
    assert (said.code, said.err) == (0, "")
    rows = said.json
    kinds = {(r["model"], r["engine"], r["dtype"]) for r in rows}
    a, b = str(run.path), str(quantized.path)
    floats = {
        (a, "eager", "float32"),
        (a, "onnxruntime", "float32"),
        (a, "openvino", "float32"),
        (a, "openvino", "bfloat16"),
    }
    assert kinds == floats | {(b, "onnxruntime", "int8"), (b, "openvino", "int8")}
    for r in rows:
        assert r["latency_ms"]["p50"] <= r["latency_ms"]["p95"]
        assert r["images_per_second"] > 0
        assert r["agreement"] is not None
        if r["dtype"] == "float32":
            assert r["agreement"] == 1
    assert {r["batch"] for r in rows} >= {1}
    assert sum(r["picked"] for r in rows) == 1
    shown = podium("bench", quantized.path / "model.onnx", "--seconds", 0.01)
    assert shown.code == 0
    assert "int8" in shown.out


def test_the_fastest_is_not_picked_if_it_answers_otherwise():
    def row(engine, batch, rate, agreement):
        return engine_speed.EngineRow("net", engine, "float32", 1, batch, 5, {}, rate, None, agreement)

    rows = [
        row("a", 1, 10.0, 1.0),
        row("b", 1, 90.0, 0.994),
        row("c", 1, 20.0, 0.995),
        row("d", 32, 99.0, 1.0),
        engine_speed.MissingRow("net", "e", "no compiler"),
    ]
    assert engine_speed.pick(rows).engine == "c"
    assert engine_speed.pick(rows, None).engine == "d"
    assert engine_speed.pick(rows[1:2]) is None


def test_an_engine_that_is_none_or_is_not_here_is_named(podium, run, monkeypatch):
    podium("bench", run.path, "--engines", "tensorrt").refused(2, "--engines tensorrt", "openvino")
    monkeypatch.setattr(engines, "is_here", lambda package: False)
    said = podium("bench", run.path, "--engines", "onnxruntime", "--json")
    assert said.code == 0
    assert [(r["engine"], r["missing"]) for r in said.json] == [
        ("onnxruntime", 'not installed: pip install "podium[runtime]"')
    ]


def test_without_a_compiler_torch_compile_says_so(podium, run, monkeypatch):
    monkeypatch.setattr(engines, "_compiled", lambda *_: 1 / 0)
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: 1 / 0)
    said = podium("bench", run.path, "--engines", "compiled", "--threads", 1)
    assert said.code == 0
    assert "compiled is left out: no C++ compiler is here" in said.out
