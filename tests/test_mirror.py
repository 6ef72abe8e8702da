"""Mirroring follows the data: off where left and right are two classes, and the run says so wherever it matters."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

import podium
from command import inside
from podium.data import arrays
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.mirror import mirroring
from podium.data.sources import read_arrays
from podium.evaluation.crops import views
from podium.runs import bundle
from podium.settings import read_file

SIDE = 48


def drawn(kind, seed, colour=True):
    """A sign somewhere on noise, of any colour that stands out: an arrow, a figure, or a letter."""
    draw = np.random.default_rng(seed)
    image = Image.fromarray(draw.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8))
    x, y = draw.integers(SIDE // 3, 2 * SIDE // 3, 2).tolist()
    r, pen = int(draw.integers(SIDE // 6, SIDE // 4)), ImageDraw.Draw(image)
    ink = tuple(draw.integers(150, 255, 3).tolist())
    box = (x - r, y - r, x + r, y + r)
    if kind in ("left", "right"):
        tip = x - r if kind == "left" else x + r
        back = tip + r // 2 + 2 if kind == "left" else tip - r // 2 - 2
        pen.line((x - r, y, x + r, y), fill=ink, width=3)
        pen.line((back, y - r // 2 - 1, tip, y, back, y + r // 2 + 1), fill=ink, width=3)
    elif kind == "circle":
        pen.ellipse(box, outline=ink, width=3)
    elif kind == "disc":
        pen.ellipse(box, fill=ink)
    elif kind == "square":
        pen.rectangle(box, outline=ink, width=3)
    elif kind == "block":
        pen.rectangle(box, fill=ink)
    elif kind == "bar":
        pen.line((x, y - r, x, y + r), fill=ink, width=3)
    else:
        pen.text((x, y), kind, fill=ink, font=ImageFont.load_default(size=2 * r), anchor="mm")
    return image if colour else image.convert("L")


def folder(root, kinds, count, colour=True):
    for number, kind in enumerate(kinds):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            drawn(kind, 1000 * number + i, colour).save(root / kind / f"{i:03d}.png")
    return root


def held(kinds, count, colour=True):
    """The same in memory."""
    pixels = [np.asarray(drawn(k, 1000 * n + i, colour)) for n, k in enumerate(kinds) for i in range(count)]
    return Split(
        np.repeat(np.arange(len(kinds)), count), ArrayImages(np.stack(pixels).reshape(len(pixels), SIDE, SIDE, -1))
    )


MANY = ("left", "right", "circle", "disc", "square", "block", "bar", "A", "O", "X", "H", "T")


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(("kinds", "count"), [(("left", "right"), 20), (MANY, 30), (("b", "d", "p", "q"), 30)])
def test_where_left_and_right_are_classes_it_is_off(kinds, count, colour):
    found = mirroring(held(kinds, count, colour), kinds)
    assert (found.flip, found.certain) == (False, True)
    twins = [{"left", "right"}, {"b", "d"}, {"p", "q"}]
    assert any(all(f"'{name}'" in found.reason for name in pair) for pair in twins), found.reason


def test_figures_that_are_their_own_mirror_images_may_be_mirrored():
    kinds = MANY[2:]
    assert mirroring(held(kinds, 20), kinds).flip


def test_what_few_images_leave_open_is_off_for_grey_and_on_for_colour():
    kinds = ("circle", "square")
    colour, grey = (mirroring(held(kinds, 3, colour), kinds) for colour in (True, False))
    assert (colour.flip, colour.certain) == (True, False)
    assert (grey.flip, grey.certain) == (False, False)
    assert colour.reason.startswith("on: colour images")
    assert grey.reason.startswith("off: grey images")
    stored_as_colour = held(kinds, 3, False)
    stored_as_colour.images = ArrayImages(np.repeat(stored_as_colour.pixels, 3, 3))
    assert not mirroring(stored_as_colour, kinds).flip


@pytest.mark.parametrize("sizes", [[1, 1], [1, 40], [2, 1, 1], [1] * 300, [3] * 400])
def test_sets_of_few_images_or_many_classes_are_left_as_they_are(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3), np.uint8)
    found = mirroring(Split(labels, ArrayImages(pixels)), tuple(map(str, range(len(sizes)))))
    assert (found.flip, found.certain) == (True, False)


def test_copies_of_noise_decide_nothing():
    """Each image twice, of no class: what is learned from one copy tells the other, and mirrored neither."""
    once = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), np.uint8)
    found = mirroring(Split(np.tile(np.arange(100) % 2, 2), ArrayImages(np.concatenate([once, once]))), "ab")
    assert (found.flip, found.certain) == (True, False)


@pytest.mark.parametrize("value", [0, 128])
def test_flat_images_decide_nothing(value):
    split = Split(np.repeat([0, 1], 20), ArrayImages(np.full((40, 16, 16, 1), value, np.uint8)))
    assert not mirroring(split, "ab").flip


def test_the_order_of_the_images_and_the_seed_of_the_run_change_nothing(tmp_path):
    kinds = ("left", "right")
    split = held(kinds, 12)
    shuffled = split.select(np.random.default_rng(1).permutation(len(split)))
    assert mirroring(split, kinds) == mirroring(shuffled, kinds)


def few(split, each=120):
    return split.select(np.concatenate([np.flatnonzero(split.labels == label)[:each] for label in range(10)]))


@pytest.mark.parametrize(("name", "flip"), [("mnist", False), ("fashion-mnist", True)])
@pytest.mark.slow
def test_the_images_of_a_set_say_what_those_say_who_know_it(shared, tmp_path, name, flip):
    """As a folder of PNGs, which is what the images say; and as the files of the set, which is known."""
    data = read_arrays(str(shared / "data" / name))
    assert data.mirroring.flip is flip
    part = few(data.splits["train"])
    for i, label in enumerate(part.labels):
        path = tmp_path / "train" / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.image(i, 1).save(path)
    found = podium.load_data(tmp_path, val=0.01).mirroring
    assert (found.flip, found.certain) == (flip, True), found.reason


def test_cifar_may_be_mirrored(shared):
    path = shared / "data/cifar100/cifar-100-python/test.xz"
    pixels, labels = arrays._batch(arrays._unpacked(path), str(path), b"fine_labels", 100)
    assert mirroring(Split(labels, ArrayImages(pixels)), tuple(map(str, range(100)))).flip


def test_flowers_may_be_mirrored(shared):
    data = podium.load_data(shared / "data/flowers/flowers-500.tar")
    assert data.mirror is None
    assert data.mirroring.flip


@pytest.fixture(scope="module", name="arrows")
def drawn_arrows(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("arrows") / "data", ("left", "right"), 20)


@pytest.fixture(scope="module")
def trained(arrows, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    words = ("--epochs", 1, "--image-size", 32, "--workers", 0, "-o", out)
    said = inside("train", "lenet5_modern", arrows, *words)
    assert said.returncode == 0, said.stderr
    return out, said.stdout + said.stderr


def test_a_run_prints_and_records_the_decision_and_its_reason(trained):
    out, said = trained
    assert "mirroring off: with mirrored images a small probe tells 'left' from 'right'" in said
    line = next(line for line in (out / "settings.yaml").read_text().splitlines() if line.startswith("flip"))
    assert line.startswith("flip: false  # off: with mirrored images")
    assert read_file(out / "settings.yaml")["flip"] is False
    assert bundle.load(out).card["flip"] is False


def test_what_is_asked_for_is_done_and_nothing_is_probed(arrows, tmp_path, monkeypatch):
    monkeypatch.setattr("podium.data.mirror.mirroring", lambda *_: pytest.fail("the images were asked"))
    run = podium.train("lenet5_modern", arrows, tmp_path / "run", steps=1, image_size=32, workers=0, flip=True)
    assert "flip: true  # flag" in (run / "settings.yaml").read_text()
    assert bundle.load(run.path).card["flip"] is True


def test_a_resume_takes_what_is_recorded(arrows, tmp_path, monkeypatch):
    class Cut(Exception):
        pass

    def cut(step, *_):
        if step == 2:
            raise Cut

    out, words = tmp_path / "run", {"steps": 3, "batch_size": 8, "image_size": 32, "workers": 0}
    with pytest.raises(Cut):
        podium.train("lenet5_modern", arrows, out, progress=cut, **words)
    recorded = (out / "settings.yaml").read_text()
    assert "flip: false  # off: with mirrored images" in recorded
    monkeypatch.setattr("podium.data.mirror.mirroring", lambda *_: pytest.fail("the images were asked"))
    podium.train("lenet5_modern", arrows, out, resume=True, **words)
    assert (out / "settings.yaml").read_text() == recorded


def test_a_pack_decides_from_its_pixels_whatever_it_says(arrows, tmp_path):
    from podium.data.pack import CARD, read_pack, write_pack
    from podium.data.sources import read
    from podium.files import seal

    write_pack(read(arrows), tmp_path / "pack")
    card = json.loads((tmp_path / "pack" / CARD).read_text())
    card |= {"mirror": True}  # as it was written of every pack
    del card["sha256"]
    card["sha256"] = seal(card)
    (tmp_path / "pack" / CARD).write_text(json.dumps(card))
    assert not read_pack(tmp_path / "pack").mirroring.flip


@pytest.mark.parametrize(("crops", "count"), [(10, 5), (144, 72), ("dense", 1)])
def test_views_follow_the_run(trained, arrows, crops, count):
    from podium.data.loader import Loader

    data = podium.load_data(arrows)
    loader = Loader(
        data.splits["val"], bundle.load(trained[0]).preprocessing, batch_size=8, device=torch.device("cpu"), workers=0
    )
    seen = [len(batch.x) / len(batch.y) for batch in views(loader, crops, mirrored=False)]
    assert set(seen) == {count}
    scores = podium.evaluate(trained[0], data, crops=crops)
    assert scores["mirrored"] is False


def test_a_run_from_before_says_it_by_its_settings_and_a_bundle_without_record_is_mirrored(trained, tmp_path, arrows):
    model = bundle.load(trained[0])
    facts = {key: value for key, value in model.card.items() if key == "data"}
    bundle.save(tmp_path / "old", model.model, model.classes, model.preprocessing, facts)
    assert podium.evaluate(tmp_path / "old", arrows, crops=10)["mirrored"] is True
    (tmp_path / "old" / "settings.yaml").write_bytes((trained[0] / "settings.yaml").read_bytes())
    assert podium.evaluate(tmp_path / "old", arrows, crops=10, split_seed=0)["mirrored"] is False


def test_a_set_that_knows_is_not_probed():
    split = held(("left", "right"), 5)
    data = Dataset("mine", ("left", "right"), {"train": split}, 3, SIDE, True, (0.5,) * 3, (0.2,) * 3)
    assert data.mirroring.flip
    assert data.mirroring.reason == "on: as is known of mine"
