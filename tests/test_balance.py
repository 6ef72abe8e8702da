"""Classes of unequal size: weights in the loss, and epochs with as many images of each class."""

import hashlib
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import podium as library
from command import podium
from podium.data.augment import Augment
from podium.data.balanced import balanced_order, times_drawn
from podium.data.dataset import Split
from podium.data.image_file import ImageFile
from podium.data.images import ArrayImages, FileImages
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.evaluation.metrics import summarize
from podium.training.losses import class_weights, criterion, cross_entropy

CPU = torch.device("cpu")
COUNTS = [40, 8, 2]
LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))


# Weights


def test_weights_are_those_of_their_formulas_with_mean_one_over_the_images():
    counts = torch.tensor([5000, 100, 0])
    n = np.array([5000.0, 100.0])
    for kind, raw in (("inverse", 1 / n), ("sqrt", 1 / np.sqrt(n)), ("effective", 0.001 / (1 - 0.999**n))):
        found = class_weights(kind, counts).double().numpy()
        assert np.allclose(found[0] / found[1], raw[0] / raw[1], rtol=1e-5)
        assert np.isclose((found[:2] * n).sum() / n.sum(), 1, rtol=1e-5)
        assert found[2] == 1
    assert class_weights("none", counts) is None


def test_the_weighted_loss_is_the_mean_over_images_however_a_batch_is_split():
    torch.manual_seed(0)
    logits, y, weight = torch.randn(12, 3), torch.arange(12) % 3, torch.tensor([0.2, 1.0, 3.0])
    loss = cross_entropy(0.0, weight)
    expected = (weight[y] * F.cross_entropy(logits, y, reduction="none")).mean()
    assert torch.allclose(loss(logits, y), expected)
    assert torch.allclose((loss(logits[:6], y[:6]) + loss(logits[6:], y[6:])) / 2, expected)
    assert torch.allclose(loss(logits, F.one_hot(y, 3).float()), expected)  # as mixup gives them
    smoothed = cross_entropy(0.1, torch.ones(3))
    assert torch.allclose(smoothed(logits, y), F.cross_entropy(logits, y, label_smoothing=0.1))


def test_a_class_that_lenet_adds_weighs_nothing():
    logits, y = torch.randn(4, 4), torch.tensor([0, 1, 2, 0])
    assert torch.isfinite(criterion(0.0, None, 0.0, 1.0, torch.ones(3))(logits)(logits, y))


# The balanced order


def test_an_epoch_has_as_many_images_of_each_class():
    order = balanced_order(LABELS, torch.Generator().manual_seed(0))
    images = order % len(LABELS)
    counts = torch.bincount(LABELS[images], minlength=3)
    assert len(order) == len(LABELS)
    assert counts.max() - counts.min() <= 1
    assert len(torch.unique(order)) == len(order), "the draws of one image are told apart"
    assert int(order.max()) < len(LABELS) * times_drawn(LABELS)
    assert len(torch.unique(images[LABELS[images] == 0])) == int(counts[0]), "of a large class no image comes twice"
    twos = torch.bincount(images[LABELS[images] == 2])[-2:]
    assert abs(int(twos[0] - twos[1])) <= 1, "the images of a small class come equally often"


def test_over_the_epochs_all_images_of_a_large_class_come():
    seen = set()
    for epoch in range(12):
        seen |= set((balanced_order(LABELS, torch.Generator().manual_seed(epoch)) % len(LABELS)).tolist())
    assert len(seen) == len(LABELS)


def test_classes_without_images_are_not_drawn():
    labels = torch.tensor([0, 0, 0, 5])
    images = balanced_order(labels, torch.Generator().manual_seed(0)) % 4
    assert torch.bincount(labels[images], minlength=6).tolist() == [2, 0, 0, 0, 0, 2]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The same images in memory and as files; every pixel of an image is its label, times 50, plus noise that tells it."""
    folder, files = tmp_path_factory.mktemp("stored"), []
    pixels = (
        np.random.default_rng(0).integers(0, 40, (len(LABELS), 16, 16, 3)) + 50 * LABELS.numpy()[:, None, None, None]
    )
    for number, image in enumerate(pixels.astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
        files.append(ImageFile.of(folder / f"{number:02d}.png"))
    return {
        "arrays": Split(LABELS.numpy(), ArrayImages(pixels.astype(np.uint8))),
        "files": Split(LABELS.numpy(), FileImages(files)),
    }


@pytest.mark.parametrize("kind", ["arrays", "files"])
@pytest.mark.parametrize("crop", ["none", "pad", "area"])
def test_every_image_keeps_its_label_and_each_draw_its_own_augmentation(stored, kind, crop):
    preprocessing = Preprocessing(image_size=16, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    augment = Augment(crop=crop, flip=True)
    loader = Loader(
        stored[kind], preprocessing, batch_size=10, device=CPU, augment=augment, workers=2, balanced=True, seed=1
    )
    batches = list(loader.epoch(3))
    x, y, index = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("x", "y", "index"))
    assert torch.equal(y, LABELS[index])
    assert torch.equal((x.amax((1, 2, 3)) * 255 / 50).floor().long().clamp(max=2), y)
    again = torch.cat([batch.x for batch in loader.epoch(3, start=2)])
    assert torch.equal(again, x[20:]), "a resume within the epoch gives the same"
    if crop != "none":
        one = index[y == 2][0]
        assert len({image.numpy().tobytes() for image in x[index == one]}) > 3, "draws of one image differ"


# Runs


def digest(run):
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, draw = tmp_path_factory.mktemp("unequal") / "photos", np.random.default_rng(0)
    for split, share in (("train", 1), ("val", 2)):
        for name, count in (("dark", 60), ("light", 6)):
            (root / split / name).mkdir(parents=True)
            for n in range(count // share):
                level = 100 if name == "dark" else 140
                pixels = draw.normal(level, 60, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{n}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--sampler", "balanced"), ("--class-weights", "effective")])
def test_a_killed_run_ends_with_the_same_bits(photos, tmp_path, how):
    words = (
        "train",
        "lenet5_modern",
        photos,
        "--steps",
        "9",
        "--batch-size",
        "16",
        "--crop",
        "area",
        "--image-size",
        "32",
    )
    words += ("--checkpoint-every", "0.001s", *how)
    assert podium(*words, "-o", tmp_path / "whole").returncode == 0
    assert podium(*words, "-o", tmp_path / "killed", fault="kill@step:6").returncode == -signal.SIGKILL
    assert podium("train", "--resume", "-o", tmp_path / "killed").returncode == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_weights_beside_a_balanced_sampler_are_refused(tmp_path):
    with pytest.raises(library.PodiumError, match=r"class_weights: .*does nothing here.*sampler is balanced"):
        library.train("lenet5", "digits", tmp_path / "run", steps=1, sampler="balanced", class_weights="sqrt")


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_have_images():
    labels = np.array([0] * 8 + [1] * 2)
    guesses = np.array([0] * 8 + [0, 1])
    scores = summarize(np.eye(3)[guesses], labels, ("a", "b", "c"))
    assert scores["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
