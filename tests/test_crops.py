"""Evaluation by several crops: where they lie, what they show, and that their averaged probabilities are what counts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

import podium
from command import inside, one_error
from podium.data.dataset import Split
from podium.data.image_file import ImageFile
from podium.data.images import ArrayImages, FileImages
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.errors import DataError, UsageError
from podium.evaluation.crops import averaged, boxes, views
from podium.evaluation.evaluate import evaluate
from podium.runs import bundle

SIZE = 28
PLAIN = Preprocessing(SIZE, 3, "crop", 0.875, (0.0,), (1 / 255,))  # the network sees the pixels as they are
BICUBIC = replace(PLAIN, interpolation="bicubic")
MANY = [10, 144, "dense"]
LOG_3 = 1.0986123  # logits 0 and log 3 are probabilities 1/4 and 3/4


def noise(height, width, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (height, width, 3), np.uint8)


def loader(split, preprocessing=PLAIN, batch_size=250, workers=0):
    return Loader(split, preprocessing, batch_size=batch_size, device=torch.device("cpu"), workers=workers)


def seen(image, crops, preprocessing=PLAIN):
    """What a network is shown of one image: (V, H, W, C), of the pixels' values."""
    split = Split(np.zeros(1, np.int64), ArrayImages(np.asarray(image)[None]))
    (batch,) = views(loader(split, preprocessing), crops)
    return batch.x.permute(0, 2, 3, 1).numpy()


@pytest.fixture
def photos(tmp_path):
    """Seven files of different sizes, two and two alike; the label is the image's number."""
    files = []
    for n, size in enumerate([(40, 60), (40, 60), (60, 40), (50, 50), (33, 47), (33, 47), (70, 31)]):
        path = tmp_path / f"{n}.png"
        Image.fromarray(noise(*size, seed=n)).save(path)
        files.append(ImageFile.of(path))
    return Split(np.arange(7), FileImages(files))


class Filter(nn.Module):
    """A linear network of one 28 x 28 filter a class, whose dense form is known: a convolution."""

    def __init__(self, classes=5, side=SIZE):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(classes, 3, side, side, generator=generator) / 4000)

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", x, self.weight)

    def to_dense(self):
        dense = nn.Conv2d(3, len(self.weight), self.weight.shape[2:], bias=False)
        dense.weight = self.weight
        return dense


def softmax(x):
    """Of (..., K) in float64."""
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- where crops lie


def test_ten_crops_lie_in_the_corners_and_the_centre():
    assert boxes(10, 400, 320, 0.875) == [  # 7/8 of the short side are 280
        (0, 0, 280, 280),
        (120, 0, 400, 280),
        (0, 40, 280, 320),
        (120, 40, 400, 320),
        (60, 20, 340, 300),
    ]


@pytest.mark.parametrize("upright", [False, True])
def test_144_crops_lie_where_googlenet_has_them(upright):
    """At 3960 pixels 7/8, 7/9, 7/10 and 7/11 of the short side are 3465, 3080, 2772 and 2520."""
    width, height = (3960, 5000) if upright else (5000, 3960)
    expected = []
    for side in (3465, 3080, 2772, 2520):
        for along in (0, 520, 1040):  # left, centre, right; of an upright image top, centre, bottom
            gap = 3960 - side
            x, y = (0, along) if upright else (along, 0)
            corners = [(0, 0), (gap, 0), (0, gap), (gap, gap), (gap / 2, gap / 2)]
            expected += [(x + a, y + b, x + a + side, y + b + side) for a, b in corners]
            expected.append((x, y, x + 3960, y + 3960))
    got = boxes(144, width, height)
    assert len(got) == len(expected) == 72
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("crops", [10, 144])
@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (37, 20), (20, 37)])
def test_crops_stay_inside_whatever_the_image(crops, size):
    got = np.array(boxes(crops, *size))
    assert (got > -1e-9).all()
    assert (got[:, 2] < size[0] + 1e-9).all()
    assert (got[:, 3] < size[1] + 1e-9).all()
    assert seen(noise(*size[::-1]), crops).shape == (crops, SIZE, SIZE, 3)


# --- what they show


def test_ten_crops_are_cut_from_the_resized_image():
    """AlexNet, section 5, to the letter: short side 32 for 28, cut, mirrored."""
    image = Image.fromarray(noise(320, 400))
    large = image.resize((40, 32), Image.Resampling.BILINEAR)
    firsts = [(0, 0), (12, 0), (0, 4), (12, 4), (6, 2)]
    crops = [large.crop((x, y, x + SIZE, y + SIZE)) for x, y in firsts]
    expected = [np.asarray(view) for view in (*crops, *map(ImageOps.mirror, crops))]
    np.testing.assert_allclose(seen(image, 10), expected, atol=1)


def test_144_crops_are_cut_from_four_resized_images():
    """GoogLeNet, section 7: short sides 32, 36, 40, 44 for 28 as 256, 288, 320, 352 are for 224."""
    image = Image.fromarray(noise(240, 360))
    crops = []
    for short in (32, 36, 40, 44):
        large = image.resize((short * 3 // 2, short), Image.Resampling.BILINEAR)
        gap = short - SIZE
        for left in (0, short // 4, short // 2):
            for x, y in ((0, 0), (gap, 0), (0, gap), (gap, gap), (gap // 2, gap // 2)):
                crops.append(large.crop((left + x, y, left + x + SIZE, y + SIZE)))
            square = left * 240 // short, 0, left * 240 // short + 240, 240
            crops.append(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=square))
    expected = [np.asarray(view) for view in (*crops, *map(ImageOps.mirror, crops))]
    np.testing.assert_allclose(seen(image, 144), expected, atol=1)


def test_dense_shows_the_whole_image_and_its_mirror_image():
    image = Image.fromarray(noise(330, 420))
    for p, resample in ((PLAIN, Image.Resampling.BILINEAR), (BICUBIC, Image.Resampling.BICUBIC)):
        large = image.resize((41, 32), resample)  # 32 * 420 / 330 is 40.7
        np.testing.assert_array_equal(seen(image, "dense", p), [np.asarray(large), np.asarray(ImageOps.mirror(large))])


@pytest.mark.parametrize("crops", MANY)
def test_views_are_mirrored_pairs(crops):
    x = seen(noise(50, 70), crops)
    half = len(x) // 2
    np.testing.assert_array_equal(x[half:], x[:half, :, ::-1])


def test_the_fifth_of_ten_crops_is_what_a_single_crop_sees():
    image = Image.fromarray(noise(50, 70))
    for p in (replace(BICUBIC, crop_pct=part) for part in (0.7, 0.875, 0.9)):
        np.testing.assert_array_equal(seen(image, 10, p)[4], p.square(image))


def test_where_nothing_is_cut_the_image_is_enlarged_to_8_7():
    """Of 28 x 28 pixels for a network of 28 x 28 there is one crop: MNIST becomes 32 x 32 first."""
    image = Image.fromarray(noise(SIZE, SIZE))
    large = image.resize((32, 32), Image.Resampling.BILINEAR)
    crops = [large.crop((x, y, x + SIZE, y + SIZE)) for x, y in ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2))]
    got = seen(image, 10, replace(PLAIN, crop_pct=1.0))
    np.testing.assert_allclose(got[:5], [np.asarray(view) for view in crops], atol=1)


@pytest.mark.parametrize("how", ["pad", "stretch"])
def test_crops_of_an_image_made_square_are_crops_of_that_square(how):
    image, bilinear = Image.fromarray(noise(30, 60)), Image.Resampling.BILINEAR
    p = replace(PLAIN, resize=how)
    large = ImageOps.pad(image, (32, 32), bilinear) if how == "pad" else image.resize((32, 32), bilinear)
    crops = [large.crop((x, y, x + SIZE, y + SIZE)) for x, y in ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2))]
    np.testing.assert_allclose(seen(image, 10, p)[:5], [np.asarray(view) for view in crops], atol=1)
    assert seen(image, 144, p).shape == (144, SIZE, SIZE, 3)
    np.testing.assert_array_equal(seen(image, "dense", p)[0], p.square(image))


def test_views_are_normalised_as_any_input_is():
    image = noise(50, 70)
    mean, std = np.array((0.5, 0.4, 0.3)), np.array((0.2, 0.25, 0.3))
    for crops in MANY:
        p = replace(PLAIN, mean=tuple(mean), std=tuple(std))
        np.testing.assert_allclose(seen(image, crops, p), (seen(image, crops) / 255 - mean) / std, atol=1e-5)


@pytest.mark.parametrize("crops", [1, *MANY])
def test_a_bgr_network_is_the_rgb_network_with_its_first_weights_turned_round(photos, crops):
    net, turned = Filter(), Filter()
    turned.weight = nn.Parameter(net.weight.flip(1))
    rgb = replace(PLAIN, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    bgr = replace(PLAIN, mean=(0.3, 0.2, 0.1), std=(0.7, 0.6, 0.5), channel_order="bgr")
    expected = evaluate(net, loader(photos, rgb), crops=crops)
    np.testing.assert_allclose(evaluate(turned, loader(photos, bgr), crops=crops).logits, expected.logits, atol=1e-5)


# --- what becomes of them


def test_probabilities_are_averaged_and_not_logits():
    two = torch.tensor([[0.0, 0.0], [LOG_3, 0.0], [5.0, 5.0], [5.0, 5.0]])  # two views of each of two images
    torch.testing.assert_close(averaged(two, 2).exp(), torch.tensor([[0.625, 0.375], [0.5, 0.5]]))


def test_positions_are_averaged_before_the_softmax_and_views_after_it():
    maps = torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]], [[[LOG_3, LOG_3]], [[0.0, 0.0]]]])  # (2, 2, 1, 2)
    torch.testing.assert_close(averaged(maps, 1).exp(), torch.tensor([[0.625, 0.375]]))


def test_a_probability_too_small_for_a_float_has_a_finite_logarithm():
    assert averaged(torch.tensor([[0.0, -300.0], [0.0, -300.0]]), 1).tolist() == [[0.0, -300.0]]


@pytest.mark.parametrize("crops", [10, 144])
@pytest.mark.parametrize("batch_size", [1, 25, 300, 2000])
def test_an_image_is_judged_by_the_mean_of_its_crops(photos, crops, batch_size):
    net = Filter()
    out = evaluate(net, loader(photos, batch_size=batch_size, workers=2), crops=crops)
    assert out.labels.tolist() == list(range(7))
    for n, file in enumerate(photos.files):
        x = seen(Image.open(file.path), crops)
        logits = np.einsum("nhwc,kchw->nk", x, net.weight.detach().numpy())
        np.testing.assert_allclose(softmax(out.logits[n]), softmax(logits).mean(0), atol=1e-4)


@pytest.mark.parametrize("crops", [1, 10, "dense"])
def test_progress_counts_images_and_not_their_views(photos, crops):
    told = []
    evaluate(Filter(), loader(photos, batch_size=20, workers=2), lambda *now: told.append(now), crops)
    counts = [done for done, _ in told]
    assert counts == sorted(set(counts))
    assert told[-1] == (7, 7)


@pytest.mark.parametrize("batch_size", [1, 6, 300])
def test_dense_is_every_window_of_the_network_in_turn(photos, batch_size):
    net = Filter()
    out = evaluate(net, loader(photos, batch_size=batch_size, workers=2), crops="dense")
    assert out.labels.tolist() == list(range(7))
    weight = net.weight.detach().numpy()
    for n, file in enumerate(photos.files):
        both = []
        for image in seen(Image.open(file.path), "dense"):
            windows = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(0, 1))  # (h, w, C, S, S)
            both.append(np.einsum("abcij,kcij->abk", windows, weight).mean((0, 1)))
        np.testing.assert_allclose(softmax(out.logits[n]), softmax(np.stack(both)).mean(0), atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5_modern", "vgg11_bn", "resnet20"])
def test_dense_at_the_canonical_size_is_the_image_and_its_mirror_image(name):
    torch.manual_seed(0)
    net = podium.create_model(name, num_classes=6, image_size=32, in_chans=3, small=True).eval()
    pixels = np.stack([noise(32, 32, seed) for seed in range(4)])
    split = Split(np.arange(4), ArrayImages(pixels))
    out = evaluate(net, loader(split, Preprocessing(32, 3, mean=(0.5,), std=(0.25,))), crops="dense")
    x = torch.tensor((pixels / 255 - 0.5) / 0.25, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = (net(x).softmax(1) + net(x.flip(3)).softmax(1)) / 2
    np.testing.assert_allclose(softmax(out.logits), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("crops", [10, 144])
def test_crops_of_one_colour_are_one_crop(crops):
    torch.manual_seed(0)
    net = podium.create_model("lenet5_modern", num_classes=6, in_chans=3, image_size=SIZE).train()
    pixels = np.empty((9, 40, 50, 3), np.uint8)
    pixels[:] = noise(1, 9)[0][:, None, None]
    split = Split(np.arange(9) % 6, ArrayImages(pixels))
    one, many = (evaluate(net, loader(split, PLAIN, 20), crops=c) for c in (1, crops))
    np.testing.assert_allclose(softmax(many.logits), softmax(one.logits), atol=1e-5)
    np.testing.assert_array_equal(many.labels, one.labels)
    assert net.training


@pytest.mark.parametrize("crops", MANY)
def test_no_batch_has_more_views_than_the_loader_has_images(photos, crops):
    for at_most in (3, 25, 300):
        batches = list(views(loader(photos, batch_size=min(at_most, 7)), crops))
        per_image = 2 if crops == "dense" else crops
        assert torch.cat([batch.index for batch in batches]).tolist() == list(range(7))
        for batch in batches:
            assert len(batch.x) == len(batch.y) * per_image
            assert len(batch.x) <= max(min(at_most, 7), per_image)


def test_images_of_one_size_are_seen_densely_together(photos):
    assert [len(batch.y) for batch in views(loader(photos, batch_size=7), "dense")] == [2, 1, 1, 2, 1]
    alike = Split(np.zeros(7, np.int64), ArrayImages(np.stack([noise(30, 40)] * 7)))
    assert [len(batch.y) for batch in views(loader(alike, batch_size=7), "dense")] == [3, 3, 1]


def test_a_strip_is_not_seen_densely_and_named(photos, tmp_path):
    Image.new("RGB", (900, 30)).save(tmp_path / "strip.png")
    strip = Split(np.zeros(1, np.int64), FileImages((ImageFile.of(tmp_path / "strip.png"),)))
    with pytest.raises(DataError, match=r"strip\.png: 900 x 30 pixels") as caught:
        evaluate(Filter(), loader(strip), crops="dense")
    assert "1, 10 or 144" in caught.value.fix
    assert evaluate(Filter(), loader(strip), crops=10).logits.shape == (1, 5)


@pytest.mark.parametrize("crops", [0, 5, -10, 10.5, True, None, "twelve", "Dense", ""])
def test_other_numbers_of_crops_are_refused(photos, run, crops):
    for call in (
        lambda: evaluate(Filter(), loader(photos), crops=crops),
        lambda: podium.evaluate(run.path, "digits", crops=crops),
    ):
        with pytest.raises(UsageError, match="crops: ") as caught:
            call()
        assert "1, 10, 144, dense" in caught.value.fix


# --- a run


def test_a_run_is_judged_by_ten_crops_of_every_image(run):
    """By hand: 32 px digits enlarged to 32 * 8/7, five windows, softmax, mean; digits are trained without mirroring."""
    scores = podium.evaluate(run.path, "digits", crops=10)
    one = podium.evaluate(run.path, "digits")
    assert (scores["crops"], one["crops"]) == (10, 1)
    assert scores["n"] == one["n"] == 360
    assert [row["n"] for row in scores["per_class"]] == [row["n"] for row in one["per_class"]]
    model = bundle.load(run.path)
    p, split = model.preprocessing, podium.load_data("digits").splits["test"]
    right = 0
    for pixels, label in zip(split.pixels[..., 0], split.labels, strict=True):
        image = Image.fromarray(pixels)
        firsts = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
        crops = [image.resize((32, 32), Image.Resampling.BILINEAR, box=(x, y, x + 28, y + 28)) for x, y in firsts]
        x = np.stack([np.asarray(view) for view in crops])
        with torch.no_grad():
            logits = model.model(torch.tensor((x / 255 - p.mean[0]) / p.std[0], dtype=torch.float32)[:, None])
        right += int(F.softmax(logits, 1).mean(0).argmax()) == label
    assert scores["top1"] == pytest.approx(right / 360)
    assert scores["mirrored"] is False


def test_eval_says_how_many_crops(run):
    said = inside("eval", run.path, "digits", "--crops", "10", "--json")
    assert (said.returncode, said.stderr) == (0, "")
    scores = json.loads(said.stdout)
    assert scores == podium.evaluate(run.path, "digits", crops="10")
    assert (scores["crops"], scores["n"]) == (10, 360)
    assert inside("eval", run.path, "digits", "--limit", 20).stdout.endswith("on 20 images, crops 1\n")
    many = inside("eval", run.path, "digits", "--limit", 20, "--crops", "144")
    assert many.stdout.endswith("on 20 images, crops 144 without mirrored views, as the run was trained\n")
    dense = json.loads(inside("eval", run.path, "digits", "--crops", "dense", "--json").stdout)
    assert (dense["crops"], dense["n"]) == ("dense", 360)
    one_error(inside("eval", run.path, "digits", "--crops", "12"), 2, "crops: '12'", "1, 10, 144, dense")
