"""An exported file is run by ONNX Runtime or OpenVINO without torch, and one that was changed, cut or is foreign is refused."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import podium
from podium.deployment import described
from podium.deployment.runtime import load_exported
from podium.errors import MachineError, ModelFileError, UsageError


@pytest.fixture
def copied(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    pixels = np.random.Generator(np.random.PCG64(2)).integers(0, 256, (50, 40, 3), np.uint8)
    Image.fromarray(pixels).resize((200, 260)).save(path)
    return path


@pytest.mark.parametrize(("name", "how"), [("x.onnx", {}), ("x.onnx", {"engine": "openvino"}), ("x.xml", {})])
def test_from_the_bytes_of_a_jpeg_to_the_runs_probabilities(exported, run, photo, name, how):
    (expected,) = podium.load(run.path).predict(photo, top=10)
    (got,) = podium.load(exported / name, **how).predict(photo, top=10)
    assert got["file"] == str(photo)
    assert [row["class"] for row in got["top"]] == [row["class"] for row in expected["top"]]
    for ours, theirs in zip(got["top"], expected["top"], strict=True):
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-4)


@pytest.mark.parametrize(("name", "written"), [("x.onnx", "x.onnx"), ("x.xml", "x.xml"), ("x.xml", "x.bin")])
def test_a_file_that_is_written_while_it_is_read_is_refused(copied, monkeypatch, name, written):
    read = described.read_bytes

    def read_and_replaced(path):  # what was checked is no longer what the engine opens
        content = read(path)
        if path.name == written:
            other = path.with_name("other")
            other.write_bytes(content)
            other.replace(path)
        return content

    monkeypatch.setattr(described, "read_bytes", read_and_replaced)
    with pytest.raises(ModelFileError, match="changed while it was read"):
        load_exported(copied / name)


WITHOUT = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "safetensors", "simplejpeg", "sklearn", "plotly", "jinja2", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, No())
from podium.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*words):
    words = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["x.onnx", "x.xml"])
def test_predict_needs_no_torch(exported, photo, name):
    said = without_torch("predict", exported / name, photo, "--json", "--top", 3)
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout) == podium.load(exported / name).predict([photo], top=3)
    said = without_torch("verify", exported / name)
    assert (said.returncode, said.stderr) == (0, "")


def test_a_verb_without_its_package_says_what_to_install(run, photo):
    for words in (["train", "lenet5", "digits"], ["predict", run.path, photo], ["models"]):
        said = without_torch(*words)
        assert said.returncode == 6
        assert re.fullmatch(
            r'error: (torch|safetensors) is not installed, which this needs\nfix: pip install "podium\[train\]"\n',
            said.stderr,
        )
        assert said.stdout == ""


def test_an_engine_that_is_not_there_says_what_to_install(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MachineError, match=r'pip install "podium\[openvino\]"'):
        podium.load(exported / "x.xml")


# --- what is not as it was exported


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 0.9, 0.97, 0.999])
@pytest.mark.parametrize("name", ["x.onnx", "x.xml", "x.bin"])
def test_a_changed_byte_is_found(copied, name, place):
    content = bytearray((copied / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"x\.(onnx|xml): "):
        podium.load(copied / name.replace(".bin", ".xml"))


@pytest.mark.parametrize("size", [0, 1, 1000, -100, -1])
@pytest.mark.parametrize("name", ["x.onnx", "x.xml", "x.bin"])
def test_a_cut_file_is_found(copied, name, size):
    (copied / name).write_bytes((copied / name).read_bytes()[:size])
    with pytest.raises(ModelFileError, match=r"x\.(onnx|xml): "):
        podium.load(copied / name.replace(".bin", ".xml"))


@pytest.mark.parametrize(
    "content", [b"<html>404 not found</html>", b"hello\n", b"PK\3\4", bytes(1000), b"\xff" * 1000, b"\x80\x04N."]
)
@pytest.mark.parametrize("name", ["x.onnx", "x.xml"])
def test_what_is_no_model_is_refused(tmp_path, podium, picture, name, content):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "x.bin").write_bytes(content)
    podium("predict", name, picture()).refused(4, name)


def test_a_file_that_is_missing_or_for_torch_alone_is_refused(tmp_path, podium, picture):
    podium("predict", "x.onnx", picture()).refused(4, "x.onnx: cannot be read")
    podium("predict", "x.pt2", picture()).refused(4, "x.pt2: a program of torch")


def test_an_onnx_file_of_others_has_no_classes(tmp_path):
    import onnx
    from onnx import helper

    graph = helper.make_graph([], "g", [], [])
    onnx.save(helper.make_model(graph), tmp_path / "x.onnx")
    with pytest.raises(ModelFileError, match="no classes and no preprocessing"):
        podium.load(tmp_path / "x.onnx")


@pytest.mark.parametrize("where", ["/etc/passwd", "../secret", "weights.bin"])
@pytest.mark.parametrize("depth", ["graph", "subgraph", "constant", "sparse"])
def test_weights_outside_the_file_are_refused_though_the_digest_holds(copied, where, depth):
    """S6: absolute, outside its folder, or a link there: the file names no file at all."""
    import onnx
    from onnx import helper

    from podium.deployment import sealed

    model = onnx.load(copied / "x.onnx")
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=where)
    if depth == "graph":
        model.graph.initializer.append(tensor)
    elif depth == "sparse":
        model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor))
    elif depth == "constant":
        model.graph.node.append(helper.make_node("Constant", [], ["t"], value=tensor))
    else:
        inner = helper.make_graph([], "inner", [], [], initializer=[tensor])
        model.graph.node.append(helper.make_node("If", ["c"], ["t"], then_branch=inner, else_branch=inner))
    for entry in model.metadata_props:
        if entry.key == sealed.DIGEST:
            entry.value = "0" * 64
    content = model.SerializeToString()
    with pytest.raises(ModelFileError, match="weights outside the file"):
        sealed.seal_onnx(content)
    (copied / "x.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="weights outside the file"):
        podium.load(copied / "x.onnx")


@pytest.mark.parametrize(
    "how", [{"engine": "tflite"}, {"dtype": "int4"}, {"engine": "onnxruntime", "dtype": "bfloat16"}]
)
def test_an_engine_or_dtype_that_is_none_is_refused(exported, how):
    with pytest.raises(UsageError):
        load_exported(exported / "x.onnx", **how)


def test_a_run_takes_no_engine(run):
    with pytest.raises(UsageError, match=r"engine: .* is not an exported file"):
        podium.load(run.path, engine="openvino")


def test_top_must_be_at_least_one(exported, photo):
    with pytest.raises(UsageError, match="top: 0"):
        podium.load(exported / "x.onnx").predict(photo, top=0)


@pytest.mark.skipif(sys.platform == "win32", reason="the process sends itself a signal")
def test_a_signal_after_two_networks_in_openvino_is_handled(exported):
    """Each network had a stack for signals of its own, and left the one that was freed first."""
    code = (
        "import os, signal, sys\n"
        "from podium.deployment.runtime import load_exported\n"
        "first = load_exported(sys.argv[1]); second = load_exported(sys.argv[1])\n"
        "del first; del second\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, exported / "x.xml"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
