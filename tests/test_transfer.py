"""Training that starts from weights: what is frozen stays, what thaws does so by the step alone, and the card names the parent."""

import hashlib
import json
import signal

import numpy as np
import pytest
import torch

import podium as library
from command import one_error
from command import podium as process
from conftest import sampled
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.settings import Settings, read_file
from podium.training.transfer.source import adapted, frozen_parts, read_source
from podium.weights.create import create_model

SIZE = 16


def blobs(classes, n=48, seed=0, channels=3):
    """Pictures with a bright patch whose place is the class."""
    draw = np.random.default_rng(seed)
    splits = {}
    for split, count in (("train", n), ("test", n // 2)):
        labels = np.arange(count) % len(classes)
        pixels = draw.integers(0, 90, (count, SIZE, SIZE, channels), np.uint8)
        for i, k in enumerate(labels):
            pixels[i, 4 * (k // 4) : 4 * (k // 4) + 4, 4 * (k % 4) : 4 * (k % 4) + 4] += 150
        splits[split] = Split(labels, ArrayImages(pixels))
    return Dataset(
        "blobs", tuple(classes), splits, channels, SIZE, False, (0.3,) * channels, (0.2,) * channels, source="blobs"
    )


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A trained resnet20 for four classes."""
    out = tmp_path_factory.mktemp("parent") / "run"
    return library.train("resnet20", blobs("abcd"), out, epochs=2, batch_size=16, flip=False)


def weights_of(folder):
    return library.load(folder).model.state_dict()


def start(parent, **more):
    return Settings(model="resnet20", weights=str(parent.path), **more)


def test_same_classes_keep_their_classifier_in_whatever_order(parent):
    source = read_source(str(parent.path))
    old = source.bundle.model.state_dict()["head.classifier.weight"].clone()
    net, _ = adapted(source, start(parent), blobs("dcba"))
    assert torch.equal(net.head.classifier.weight, old.flip(0))


def test_other_classes_get_a_fresh_one_by_the_seed_and_the_rest_stays(parent):
    nets = [adapted(read_source(str(parent.path)), start(parent, seed=s), blobs("abcde"))[0] for s in (0, 0, 1)]
    heads = [net.head.classifier.weight for net in nets]
    assert heads[0].shape[0] == 5
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    old = weights_of(parent.path)
    assert all(torch.equal(v, old[k]) for k, v in nets[0].state_dict().items() if "classifier" not in k)


def test_pixels_are_those_the_weights_know(parent):
    other = blobs("abcde")
    other.mean, other.std = (0.9,) * 3, (0.01,) * 3
    _, pixels = adapted(read_source(str(parent.path)), start(parent), other)
    assert (pixels.mean, pixels.std) == ((0.3,) * 3, (0.2,) * 3)


def test_grey_images_and_another_size_fit_too(parent):
    net, pixels = adapted(read_source(str(parent.path)), start(parent, image_size=24), blobs("abcd", channels=1))
    assert (net.spec["in_chans"], net.spec["image_size"], pixels.channels, len(pixels.mean)) == (1, 24, 1, 1)
    assert net(torch.zeros(2, 1, 24, 24)).shape == (2, 4)


@pytest.mark.parametrize(
    ("fields", "word"),
    [({"model": "resnet32"}, "resnet20"), ({"weights": "nowhere"}, "nowhere"), ({"freeze": "stage9"}, "stage9")],
)
def test_what_cannot_be_is_refused(parent, tmp_path, fields, word):
    settings = {"model": "resnet20", "weights": str(parent.path), "epochs": 1, **fields}
    with pytest.raises(library.PodiumError, match=word):
        library.train(settings.pop("model"), blobs("abcd"), tmp_path / "run", **settings)


def test_freezing_fresh_weights_is_refused(tmp_path):
    with pytest.raises(library.PodiumError, match="give weights="):
        library.train("resnet20", blobs("abcd"), tmp_path / "run", freeze="features", epochs=1)


def test_what_is_frozen_does_not_move_nor_do_its_statistics(parent, tmp_path):
    more = {"weights": str(parent.path), "freeze": "stage2", "epochs": 2, "batch_size": 16, "weight_decay": 0.1}
    run = library.train("resnet20", blobs("abcde"), tmp_path / "run", **more)
    old, new = weights_of(parent.path), weights_of(run.path)
    same = {k for k in old if torch.equal(old[k], new[k]) and "num_batches" not in k}
    frozen = {k for k in old if k.startswith(("stem.", "stages.stage1.", "stages.stage2."))}
    assert {k for k in frozen if "num_batches" not in k} <= same
    assert not {k for k in same if "stage3" in k and k.endswith(("running_mean", "conv1.weight"))}


def test_thawing_is_a_function_of_the_step_from_the_top():
    net = create_model("resnet20")
    s = Settings(weights="x", freeze="features", unfreeze="20%")
    counts = [frozen_parts(s, net, step, 100, 10) for step in range(100)]
    assert counts[:20] == [4] * 20
    assert counts[20] == 3
    assert counts == sorted(counts, reverse=True)
    assert counts[39] == 0 == counts[99]
    assert [frozen_parts(s.replace(unfreeze=None), net, step, 100, 10) for step in (0, 99)] == [4, 4]


def test_staged_thawing_moves_everything_in_the_end(parent, tmp_path):
    more = {"weights": str(parent.path), "recipe": "finetune", "steps": 12, "batch_size": 16, "unfreeze": "3it"}
    run = library.train("resnet20", blobs("abcde"), tmp_path / "run", **more)
    old, new = weights_of(parent.path), weights_of(run.path)
    assert not torch.equal(old["stem.conv1.weight"], new["stem.conv1.weight"])


@pytest.mark.parametrize("step", sampled([2, 5, 9], 1))
@pytest.mark.slow
def test_a_finetuning_killed_while_parts_thaw_ends_with_the_same_bits(run, tmp_path_factory, tmp_path, step):
    whole = tmp_path_factory.getbasetemp() / "finetuned"
    words = ["--weights", run.path, "--recipe", "finetune", "--steps", 12, "--unfreeze", "4it", "--batch-size", 32]
    words += ["--checkpoint-every", "0.001s", "--teacher", run.path, "--ema", "0.9"]
    if not whole.exists():
        done = process("train", "lenet5_modern", "digits", *words, "-o", whole)
        assert done.returncode == 0, done.stderr
    out = tmp_path / "run"
    killed = process("train", "lenet5_modern", "digits", *words, "-o", out, fault=f"kill@step:{step}")
    assert killed.returncode == -signal.SIGKILL
    assert process("train", "--resume", "-o", out).returncode == 0
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_resume_whose_parent_has_changed_is_refused(parent, tmp_path):
    import shutil

    copy, out = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(parent.path, copy)
    settings = {"weights": str(copy), "steps": 4, "batch_size": 16, "keep_checkpoint": True}
    library.train("resnet20", blobs("abcd"), out, **settings)
    (out / "result.json").unlink()
    other = library.train("resnet20", blobs("abcd", seed=1), tmp_path / "other", steps=2, batch_size=16)
    for name in ("model.safetensors", "card.json"):
        shutil.copy(other / name, copy / name)
    with pytest.raises(library.PodiumError, match="has changed"):
        library.train("resnet20", blobs("abcd"), out, resume=True, **settings)


def test_the_parent_is_on_record_with_its_digest(run, tmp_path):
    out = tmp_path / "run"
    done = process("train", "lenet5_modern", "digits", "--weights", run.path, "--steps", 2, "-o", out)
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    expected = f"{run.path.resolve()}@sha256:{digest}"
    assert read_file(out / "settings.yaml")["weights"] == expected
    assert json.loads((out / "card.json").read_text())["parent"] == f"{run.path.name}@sha256:{digest}"
    resumed = process("train", "--resume", "-o", out, "--weights", run.path)
    assert resumed.returncode == 0, resumed.stderr
    one_error(process("train", "--resume", "-o", out, "--weights", out), 2, "weights")


def test_a_head_on_cached_features_is_the_head_on_images(parent, tmp_path, monkeypatch):
    """The same run with and without the cache: the same accuracies, the same weights but for rounding."""
    from podium.training.transfer import features

    more = {"weights": str(parent.path), "recipe": "features", "epochs": 3, "batch_size": 16, "amp": "off"}
    fast = library.train("resnet20", blobs("abcde"), tmp_path / "fast", **more)
    monkeypatch.setattr(features, "cache_features", lambda *_: None)
    slow = library.train("resnet20", blobs("abcde"), tmp_path / "slow", **more)
    one, two = (weights_of(r.path) for r in (fast, slow))
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-4)
    assert not torch.equal(one["head.classifier.bias"], torch.zeros(5))
    assert [r["top1"] for r in fast.epochs] == pytest.approx([r["top1"] for r in slow.epochs], abs=0.05)


def test_cached_features_resume_with_the_same_bits(run, tmp_path):
    words = [
        "--weights",
        run.path,
        "--recipe",
        "features",
        "--steps",
        9,
        "--batch-size",
        32,
        "--checkpoint-every",
        "0.001s",
    ]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert process("train", "lenet5_modern", "digits", *words, "-o", whole).returncode == 0
    process("train", "lenet5_modern", "digits", *words, "-o", out, fault="kill@step:4")
    assert process("train", "--resume", "-o", out).returncode == 0
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_peers_file_is_where_a_run_starts(shared, tmp_path):
    file = shared / "data" / "weights" / "resnet20-12fca82f.th"
    data = blobs("abcd")
    run = library.train(
        "resnet20", data, tmp_path / "run", weights=f"akamaster:resnet20={file}", recipe="features", epochs=1
    )
    assert "akamaster:resnet20=" in json.loads((run / "card.json").read_text())["parent"]
    assert library.load(run.path).preprocessing.image_size == 32
