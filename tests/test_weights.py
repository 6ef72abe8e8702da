"""Somebody else's checkpoint gives here the accuracy it has there, and a file that is not one is refused without running it."""

import gzip
import io
import os
import pickle
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import podium
from command import inside
from conftest import sampled
from podium.data.loader import Loader
from podium.errors import ModelFileError, UsageError
from podium.evaluation.evaluate import evaluate as run_network
from podium.weights import foreign
from podium.weights.foreign import read_foreign
from podium.weights.load import import_weights


@pytest.fixture(scope="module")
def checkpoints(shared):
    """The folder with akamaster's files."""
    folder = shared / "data/weights"
    if not (folder / "resnet20-12fca82f.th").is_file():
        pytest.skip("needs ../shared/data/weights, which is not here")
    return folder


@pytest.fixture(scope="module")
def cifar10(shared):
    """CIFAR-10 as it was published: Python 2 pickles, here in .xz."""
    return podium.load_data(shared / "data/cifar10")


@pytest.fixture(scope="module")
def resnet20(checkpoints, tmp_path_factory):
    """`podium import akamaster:resnet20 FILE -o DIR`."""
    out = tmp_path_factory.mktemp("peer") / "resnet20"
    said = inside("import", "akamaster:resnet20", checkpoints / "resnet20-12fca82f.th", "-o", out)
    assert said.returncode == 0, said.stderr
    return out


@pytest.mark.slow
def test_cifar10_itself(cifar10):
    """Counts, statistics and names of the data's own README."""
    train, test = cifar10.splits["train"], cifar10.splits["test"]
    assert train.pixels.shape == (50_000, 32, 32, 3)
    assert test.pixels.shape == (10_000, 32, 32, 3)
    assert torch.bincount(torch.tensor(train.labels)).tolist() == [5000] * 10
    assert torch.bincount(torch.tensor(test.labels)).tolist() == [1000] * 10
    assert cifar10.classes[:3] == ("airplane", "automobile", "bird")
    mean = train.pixels[:10_000].mean((0, 1, 2)) / 255
    assert mean.tolist() == pytest.approx([0.49140, 0.48216, 0.44653], abs=3e-3)
    assert cifar10.mean == (0.49140, 0.48216, 0.44653)


@pytest.mark.slow
def test_resnet20_has_its_accuracy_on_all_test_images(resnet20, cifar10):
    scores = podium.evaluate(resnet20, cifar10)
    assert (scores["split"], scores["n"]) == ("test", 10_000)
    # 0.9173 is what the source states, and what a separate forward pass in numpy gives.
    assert scores["top1"] == pytest.approx(0.9173, abs=0.0002)
    assert scores["top5"] > 0.99


@pytest.mark.slow
def test_resnet56_has_its_accuracy_on_two_thousand(checkpoints, cifar10):
    peer = podium.import_weights("akamaster:resnet56", checkpoints / "resnet56-4bfd9763.th")
    assert sum(p.numel() for p in peer.model.parameters()) == 853_018
    images = cifar10.splits["test"].select(range(2_000))
    loader = Loader(images, peer.preprocessing, batch_size=250, device=torch.device("cpu"))
    outputs = run_network(peer.model, loader)
    top1 = (torch.as_tensor(outputs.logits).argmax(1) == torch.as_tensor(outputs.labels)).double().mean().item()
    assert top1 == pytest.approx(0.9295, abs=0.0002)


def test_the_bundle_says_what_the_peer_does(resnet20, tmp_path):
    peer = podium.load(resnet20)
    assert peer.preprocessing.mean == (0.485, 0.456, 0.406)
    assert peer.preprocessing.std == (0.229, 0.224, 0.225)
    assert peer.classes[:2] == ("airplane", "automobile")
    assert peer.model.spec["shortcut"] == "A-split", "half of the zeros before, half after"
    assert peer.card["origin"] == "akamaster:resnet20"
    assert sum(p.numel() for p in peer.model.parameters()) == 269_722


def test_a_fresh_head_and_everything_else_kept(checkpoints, resnet20):
    peer = podium.import_weights("akamaster:resnet20", checkpoints / "resnet20-12fca82f.th", num_classes=3)
    assert peer.classes == ("class 0", "class 1", "class 2")
    own, before = peer.model.state_dict(), podium.load(resnet20).model.state_dict()
    assert own["head.classifier.weight"].shape == (3, 64)
    assert all(torch.equal(own[k], before[k]) for k in own if not k.startswith("head."))


# --- what is not those weights


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("akamster:resnet20", "akamaster"),
        ("nobody:resnet20", "'nobody'"),
        ("resnet20", "'resnet20'"),
        ("akamaster:resnet21", "resnet20"),
        ("akamaster:vgg16", "akamaster's 'vgg16'"),
        ("akamaster:plain20", "akamaster's 'plain20'"),  # with akamaster's shortcuts it would be no plain network
        ("akamaster:", "''"),
    ],
)
def test_a_source_without_rules_is_refused(tmp_path, source, says):
    with pytest.raises(UsageError) as caught:
        import_weights(source, tmp_path / "any.th")
    assert says in str(caught.value)


@pytest.mark.slow
def test_weights_of_another_depth_are_refused_and_listed(checkpoints):
    with pytest.raises(ModelFileError) as caught:
        import_weights("akamaster:resnet32", checkpoints / "resnet20-12fca82f.th")
    what = caught.value.what
    assert "resnet20-12fca82f.th: not the weights of resnet32" in what
    assert "missing: stages.stage1.3.residual.conv1.weight" in what
    assert what.count("stages.") == 5, "the first five of each kind"
    with pytest.raises(ModelFileError, match="unexpected: stages"):
        import_weights("akamaster:resnet20", checkpoints / "resnet56-4bfd9763.th")


@pytest.mark.slow
def test_a_shape_that_differs_is_named(checkpoints, tmp_path):
    state = read_foreign(checkpoints / "resnet20-12fca82f.th")
    state["state_dict.module.layer1.0.conv1.weight"] = torch.zeros(16, 8, 3, 3)
    save_file(state, tmp_path / "w.safetensors")
    says = r"1 mismatched: stages\.stage1\.0\.residual\.conv1\.weight is \(16, 8, 3, 3\), not \(16, 16, 3, 3\)"
    with pytest.raises(ModelFileError, match=says):
        import_weights("akamaster:resnet20", tmp_path / "w.safetensors")


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def pickled(content, path, how):
    """The ways a pickle comes in: bare, as torch wrote it once, and as it writes it now."""
    if how == "bare":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")


@pytest.mark.parametrize("how", ["bare", "old", "zip"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, how):
    canary, file = tmp_path / "canary", tmp_path / "hostile.th"
    pickled({"state_dict": {"a": torch.zeros(1)}, "best_prec1": Hostile(canary)}, file, how)
    with pytest.raises(ModelFileError, match=r"hostile\.th: (holds more than weights|damaged)") as caught:
        read_foreign(file)
    assert not canary.exists()
    assert len(str(caught.value).splitlines()) == 2
    if how != "bare":
        torch.load(file, weights_only=False)
        assert canary.exists(), "it would have"


def test_a_process_that_is_started_anew_reads_a_checkpoint(tmp_path, monkeypatch):
    """The other tests' readers are forked, as conftest.py has it."""
    monkeypatch.setattr(foreign, "subprocess", subprocess)
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    assert read_foreign(tmp_path / "w.pt")["w"].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", sampled(["network", "inside", "script"], 1))
@pytest.mark.slow
def test_a_whole_network_is_refused_with_a_line_that_takes_its_weights_out(tmp_path, kind):
    net = torch.nn.Linear(2, 2)
    file = tmp_path / "it's a module.pt"
    if kind == "script":
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 2)), file)
    else:
        torch.save(net if kind == "network" else {"model": net, "epoch": 3}, file)
    with pytest.raises(ModelFileError, match=r"module\.pt: holds more than weights") as caught:
        read_foreign(file)
    line = re.search(r"run python -c (.*) beside it, and give (.*?);", caught.value.fix)
    subprocess.run([sys.executable, "-W", "ignore", "-c", *shlex.split(line[1])], cwd=tmp_path, check=True)
    name = "model.weight" if kind == "inside" else "weight"
    assert torch.equal(read_foreign(tmp_path / line[2])[name], net.weight)


@pytest.mark.slow
def test_nothing_is_imported_from_where_one_stands(tmp_path):
    """A torch.py beside the checkpoint is not the torch that opens it."""
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    for name in ("torch.py", "safetensors.py"):
        (tmp_path / name).write_text("import os; os.mkdir('canary')")
    program = (
        "from podium.weights.foreign import read_foreign; from pathlib import Path; print(read_foreign(Path('w.pt')))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "canary").exists()
    assert done.stdout.strip() == "{'w': tensor([1., 1.])}", done.stderr


def archive(kind):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("a.txt", "a")
    else:
        with tarfile.open(fileobj=out, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


def arrays():
    out = io.BytesIO()
    np.savez(out, conv1=np.zeros(2))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b"", "not a model file, but an empty file", id="empty"),
        pytest.param(b"<!DOCTYPE html><title>404</title>", "not a model file, but a web page", id="html"),
        pytest.param(archive("tar"), "not a model file, but an archive", id="tar"),
        pytest.param(arrays(), "not a model file, but arrays of numpy", id="npz"),
        pytest.param(b"\x08\x0a\x12\x07pytorch\x1a\x051.13.1", "not a model file, but of ONNX", id="onnx"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\n", "not a model file, but a pointer of Git LFS", id="lfs"
        ),
        pytest.param(gzip.compress(bytes(50)), "not a model file, but packed by gzip", id="gzip"),
        pytest.param(archive("zip"), "not a model file, but an archive", id="a zip of something else"),
        pytest.param(pickle.dumps([1, 2, 3]), "damaged or not a checkpoint|holds more", id="a pickled list"),
        pytest.param(b"\x80\x02" + b"x" * 50, "damaged or not a checkpoint|holds more", id="pickle's start"),
        pytest.param(b"\x05" + bytes(7) + b"{bad:1", "a damaged safetensors", id="a broken safetensors"),
        pytest.param((1 << 60).to_bytes(8, "little") + b"{" + bytes(50), "a damaged safetensors", id="a lying length"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, content, says):
    file = tmp_path / "weights.th"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"weights\.th: ({says})") as caught:
        read_foreign(file)
    assert len(str(caught.value).splitlines()) == 2


def test_a_cut_download_is_refused(checkpoints, tmp_path):
    whole = (checkpoints / "resnet20-12fca82f.th").read_bytes()
    (tmp_path / "cut.th").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"cut\.th: damaged or not a checkpoint"):
        read_foreign(tmp_path / "cut.th")


@pytest.mark.slow
def test_one_damaged_byte_is_refused_and_a_file_without_checksums_is_read(tmp_path):
    file, values = tmp_path / "w.pt", torch.arange(1000.0)
    torch.save({"w": values}, file)
    content = bytearray(file.read_bytes())
    content[content.index(values.numpy().tobytes()) + 2000] ^= 1
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"damaged\.pt: damaged: .*/data/0 in it is not what its checksum says"):
        read_foreign(tmp_path / "damaged.pt")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": values}, file)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_foreign(file)["w"], values)


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_tensors_come_out_as_they_went_in(tmp_path, wrapped):
    shared_memory = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": shared_memory, "b": shared_memory[1:].t(), "n": torch.tensor(7)}
    torch.save({wrapped: tensors, "epoch": 3} if wrapped else tensors, tmp_path / "w.pt")
    read, prefix = read_foreign(tmp_path / "w.pt"), f"{wrapped}." if wrapped else ""
    assert read.keys() == {f"{prefix}{k}" for k in tensors}
    assert all(torch.equal(read[f"{prefix}{k}"], tensors[k]) for k in tensors)


def test_safetensors_are_read_too(checkpoints, tmp_path):
    state = read_foreign(checkpoints / "resnet20-12fca82f.th")
    assert "state_dict.module.linear.weight" in state
    save_file(state, tmp_path / "same.safetensors")
    again = read_foreign(tmp_path / "same.safetensors")
    assert all(torch.equal(again[k], state[k]) for k in state)


def test_the_command_refuses_in_two_lines(checkpoints, tmp_path):
    file = checkpoints / "resnet20-12fca82f.th"
    for words, code, says in (
        (("akamaster:resnet32", file, "-o", tmp_path / "a"), 4, "not the weights of resnet32"),
        (("akamaster:resnet20", tmp_path / "none.th", "-o", tmp_path / "a"), 4, "no such file"),
        (("akamster:resnet20", file, "-o", tmp_path / "a"), 2, "akamaster"),
    ):
        said = inside("import", *words)
        assert said.returncode == code
        assert says in said.stderr
        assert len(said.stderr.splitlines()) <= 2
    assert not (tmp_path / "a").exists()
