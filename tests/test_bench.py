"""`podium bench`: each target at its own size beside its own network, and an engine that fails costs its rows and nothing else."""

import os

import numpy as np
import pytest
import torch

import podium as library
from conftest import sampled
from podium.data.preprocessing import Preprocessing
from podium.deployment import engine_speed, engines
from podium.evaluation.speed import fewest_to_train
from podium.models.undrawn import meta
from podium.runs import bundle
from podium.weights.create import create_model

BRIEF = ("--seconds", 0.01, "--threads", 1)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A bundle of another size and of other answers than `run`, for the same classes."""
    torch.manual_seed(3)
    net = create_model("lenet5_modern", num_classes=10, in_chans=1, image_size=16).eval()
    made = tmp_path_factory.mktemp("other") / "bundle"
    bundle.save(made, net, tuple("0123456789"), Preprocessing(16, 1), {})
    return made


@pytest.fixture(scope="module")
def exported(run, other, tmp_path_factory):
    """Both as ONNX."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    library.export(run.path, folder / "run.onnx")
    library.export(other, folder / "other.onnx", data="digits")
    return folder / "run.onnx", folder / "other.onnx"


@pytest.mark.parametrize("data", [(), ("--data", "digits")])
@pytest.mark.slow
def test_targets_of_different_sizes_are_each_timed_at_their_own(podium, run, other, exported, data, monkeypatch):
    monkeypatch.setattr(engines, "onnx_bytes", lambda *_: 1 / 0)  # to export each once more would take its time
    targets = [exported[1], "lenet5_modern", run.path, exported[0], "lenet5", *([other] if data else [])]
    said = podium("bench", *targets, "--engines", "eager,onnxruntime", *BRIEF, "--batch", 2, *data, "--json")
    assert said.code == 0, said.err
    rows = [r for r in said.json if "missing" not in r]
    assert {r["model"] for r in rows} == set(map(str, targets))
    of = {name: [r for r in rows if r["model"] == str(name)] for name in targets}
    assert {r["engine"] for r in of["lenet5"]} == {"eager"}
    assert {r["engine"] for r in of[exported[0]]} == {"onnxruntime"}
    # Each is held to its own network, whatever stands before it; a file without its network to nothing.
    assert {r["agreement"] for name in targets[1:] for r in of[name]} == {1.0}
    assert {r["agreement"] for r in of[exported[1]]} == ({1.0} if data else {None})
    # The fastest of each network: of 4 with the bundle, or without it of the 3 that are here themselves.
    assert sum(r["picked"] for r in rows) == (4 if data else 3)
    assert sum(r["picked"] for r in of[run.path] + of[exported[0]]) == 1


def test_names_of_different_sizes_are_timed_in_torch(podium):
    said = podium(
        "bench", "lenet5_modern", "mobilenet_v1", "resnet20", "--batches", 2, "--seconds", 0.01, "--json"
    ).json
    assert [r["model"] for r in said] == ["lenet5_modern", "mobilenet_v1", "resnet20"]
    assert [r["batch"] for r in said] == [1, 1, 1]


@pytest.mark.parametrize("engines", [(), ("--engines", "eager")])
def test_a_name_that_is_none_is_found_before_another_is_timed(podium, engines):
    podium("bench", "lenet5_modern", "resnt20", *engines).refused(2, "resnt20", "resnet20")


# --- forward and backward


def test_a_training_pass_of_one_pixel_takes_two_images(podium):
    words = ["bench", "mobilenet_v1", "--image-size", 8, "--backward", "--batches", 2, "--seconds", 0.01]
    said = podium(*words, "--json")
    assert [(r["pass"], r["batch"]) for r in said.json] == [("forward", 2), ("forward-backward", 2)]
    assert "note: with a batch of 2: mobilenet_v1 at 8 px" in said.err
    podium(*words, "--batch", 1).refused(2, "--backward with --batch 1", "mobilenet_v1 at 8 px", "fix: --batch 2")
    assert podium(*words, "--batch", 2).code == 0


def test_other_training_passes_take_one_image(podium):
    said = podium("bench", "resnet20", "--backward", "--batches", 2, "--seconds", 0.01, "--json")
    assert [(r["pass"], r["batch"]) for r in said.json] == [("forward", 1), ("forward-backward", 1)]
    assert said.err == ""


@pytest.mark.parametrize(
    ("name", "side", "fewest"),
    [
        ("inception_v3", None, 2),  # an auxiliary classifier of 5x5 convolutions on 5x5 maps
        pytest.param("inception_v4", 75, 2, marks=pytest.mark.slow),
        pytest.param("inception_v4", None, 1, marks=pytest.mark.slow),
        ("densenet121", 8, 2),
        ("densenet121", 16, 1),
        ("resnet18", 8, 2),
        ("vgg11_bn", 32, 1),
        ("googlenet_tv", None, 1),
        ("lenet5", None, 1),
    ],
)
def test_how_many_images_training_needs_is_known_without_weights(name, side, fewest):
    small = side is not None and side <= 64
    assert fewest_to_train(meta(lambda: create_model(name, image_size=side, small=small))) == fewest


def test_a_run_whose_training_needs_two_images_says_so(podium, tmp_path):
    net = create_model("mobilenet_v1", num_classes=2, image_size=8, small=True)
    bundle.save(tmp_path / "run", net.eval(), ("a", "b"), Preprocessing(8, 3), {})
    words = ["bench", "lenet5", tmp_path / "run", "--backward", "--batches", 2, "--seconds", 0.01]
    assert [r["batch"] for r in podium(*words, "--json").json] == [1, 1, 2, 2]
    podium(*words, "--batch", 1).refused(2, str(tmp_path / "run"), "fix: --batch 2")


# --- engines that fail


def compiled(monkeypatch, works):
    """torch.compile, faked: the network as it is, or an error of the linker where `works` says so of the cache's folder."""
    folders = []

    def fake(graph, **_):
        folders.append(os.environ.get(engines.CACHE))

        def call(x):
            if not works(folders[-1], len(x)):
                raise OSError("cp.main.so: file too short")
            return graph(x)

        return call

    monkeypatch.setattr(torch, "compile", fake)
    return folders


def engines_of(said):
    return {(r["engine"], r["dtype"]) for r in said.json if "missing" not in r}


@pytest.mark.slow
@pytest.mark.parametrize("many", [1, 8])
def test_what_a_cut_file_in_the_compilers_cache_spoils_is_compiled_again_without_it(
    podium, run, monkeypatch, tmp_path, many
):
    """At the first pass, or at the first of a batch of 8, which is compiled by itself."""
    monkeypatch.setenv(engines.CACHE, str(tmp_path))
    folders = compiled(monkeypatch, lambda folder, batch: folder != str(tmp_path) or batch < many)
    said = podium("bench", run.path, "--engines", "eager,compiled", *BRIEF, "--json")
    assert said.code == 0
    assert engines_of(said) == {("eager", "float32"), ("compiled", "float32"), ("compiled", "bfloat16")}
    assert not any("missing" in r for r in said.json)
    assert folders[0] == str(tmp_path) != folders[1]
    assert os.environ[engines.CACHE] == str(tmp_path)
    assert not os.path.exists(folders[1])


@pytest.mark.slow
def test_an_engine_that_cannot_compile_loses_its_rows_with_the_reason(podium, run, monkeypatch):
    monkeypatch.delenv(engines.CACHE, raising=False)
    folders = compiled(monkeypatch, lambda *_: False)
    words = ["bench", run.path, "--engines", "eager,compiled", *BRIEF]
    said = podium(*words, "--json")
    assert said.code == 0
    assert len(folders) == 2  # once more, and no more
    assert engines.CACHE not in os.environ
    missing = [(r["engine"], r["missing"]) for r in said.json if "missing" in r and r["engine"] == "compiled"]
    assert missing == [("compiled", "OSError: cp.main.so: file too short")]
    assert ("eager", "float32") in engines_of(said)
    assert sum(r["picked"] for r in said.json) == 1
    assert "compiled is left out: OSError: cp.main.so: file too short" in podium(*words).out


@pytest.mark.parametrize("when", sampled(["built", "called"], ["called"]))
@pytest.mark.parametrize("broken", ["onnxruntime", "openvino"])
@pytest.mark.slow
def test_an_engine_that_fails_costs_its_rows_only(podium, run, monkeypatch, when, broken):
    pytest.importorskip(broken)
    real = engines.load_exported

    def load(path, *, engine, **how):
        if engine != broken:
            return real(path, engine=engine, **how)
        if when == "built":
            raise RuntimeError("no such operator\nand more")
        made = real(path, engine=engine, **how)
        object.__setattr__(made, "call", lambda x: 1 / 0)
        return made

    monkeypatch.setattr(engines, "load_exported", load)
    said = podium("bench", run.path, "--engines", "eager,onnxruntime,openvino", *BRIEF, "--json")
    assert said.code == 0
    here = {engine for engine, _ in engines_of(said)}
    assert here == {"eager", "onnxruntime", "openvino"} - {broken}
    reasons = [r["missing"] for r in said.json if "missing" in r]
    assert {r["engine"] for r in said.json if "missing" in r} == {broken}
    assert all(("no such operator" if when == "built" else "ZeroDivisionError") in reason for reason in reasons)


def test_a_network_that_cannot_be_exported_keeps_its_rows_in_torch(podium, run, monkeypatch):
    def fails(*_):
        raise RuntimeError("unsupported")

    monkeypatch.setattr(engines, "onnx_bytes", fails)
    said = podium("bench", run.path, "--engines", "eager,onnxruntime", *BRIEF, "--json")
    assert engines_of(said) == {("eager", "float32")}
    assert [r["missing"] for r in said.json if "missing" in r] == ["not exported: RuntimeError: unsupported"]


def test_ctrl_c_ends_all_engines():
    def stop(_):
        raise KeyboardInterrupt

    images = np.zeros((2, 8, 8, 1), np.uint8)
    runners = iter([engines.Runner("eager", "float32", stop), engines.Runner("compiled", "float32", lambda x: (x, x))])
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        engine_speed.time_engines("net", runners, images, None, None, engine_speed.Timing(0.01, threads=1))
    assert torch.get_num_threads() == threads


def test_a_size_that_a_bundle_beside_a_name_does_not_take_is_named(podium, other):
    said = podium("bench", other, "lenet5", "--image-size", 28, "--batches", 2, "--seconds", 0.01, "--json")
    assert said.code == 0
    assert f"{other} keeps its own size" in said.err
    assert {row["model"] for row in said.json} == {str(other), "lenet5"}
