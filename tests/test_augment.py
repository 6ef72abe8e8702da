"""Augmentation: every draw depends on (seed, epoch, image) alone, and does what its paper says."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from podium.data import augment as aug
from podium.data.augment import Augment

INDEX = torch.arange(20_000)


def test_draws_do_not_depend_on_the_company():
    whole = aug.uniform(1, 2, INDEX, "flip")
    assert torch.equal(aug.uniform(1, 2, INDEX[[7, 3, 19_999]], "flip"), whole[[7, 3, 19_999]])


def test_draws_differ_by_seed_epoch_and_purpose():
    draws = [aug.uniform(*k, INDEX, n) for k in ((0, 0), (0, 1), (1, 0)) for n in ("x", "y")]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 0.03


def test_uniform_and_normal_are_what_they_say():
    u, z = aug.uniform(5, 0, INDEX, "u"), aug.normal(5, 0, INDEX, "z")
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    histogram = torch.histc(u, 20, 0, 1)
    assert float(((histogram - 1000) ** 2 / 1000).sum()) < 45  # chi squared, 19 degrees of freedom, p = 0.0007
    assert abs(float(z.mean())) < 0.03
    assert abs(float(z.std()) - 1) < 0.03


def cut(pixels, rows, augment, seed, epoch, index):
    """What an epoch sees of images (M, H, W, C)."""
    side = pixels.shape[1]
    p = aug.padding(augment, side)
    drawn = aug.shifts(augment, side, seed, epoch, torch.arange(int(index.max()) + 1))
    return aug.shift_and_flip(F.pad(pixels, (0, 0, p, p, p, p)), rows, side, drawn, index)


def test_pad_crop_equals_a_literal_crop_of_a_padded_image():
    pixels = torch.randint(1, 255, (6, 8, 8, 3), dtype=torch.uint8)
    rows = torch.tensor([5, 0, 3])
    out = cut(pixels, rows, Augment(crop="pad", crop_padding=0.25, flip=True), 3, 4, rows)
    for k, i in enumerate(rows.tolist()):
        one = torch.tensor([i])
        dy = int(aug.uniform(3, 4, one, "y") * 5) - 2
        dx = int(aug.uniform(3, 4, one, "x") * 5) - 2
        padded = np.pad(pixels[i].numpy(), ((2, 2), (2, 2), (0, 0)))
        crop = padded[2 + dy : 10 + dy, :]
        columns = np.arange(8)
        if float(aug.uniform(3, 4, one, "flip")) < 0.5:
            columns = columns[::-1]
        assert np.array_equal(out[k].numpy(), crop[:, columns + 2 + dx])


def test_pad_crop_reaches_every_shift():
    pixels = torch.zeros(1, 8, 8, 1, dtype=torch.uint8)
    pixels[0, 4, 4] = 255
    index = torch.arange(2000)
    out = cut(pixels, torch.zeros(2000, dtype=torch.long), Augment(crop="pad", crop_padding=0.25), 0, 0, index)
    assert sorted({divmod(int(p.flatten().argmax()), 8) for p in out}) == [
        (y, x) for y in range(2, 7) for x in range(2, 7)
    ]


def test_no_augmentation_changes_nothing():
    pixels = torch.randint(0, 255, (4, 6, 6, 1), dtype=torch.uint8)
    rows = torch.tensor([2, 1])
    assert torch.equal(cut(pixels, rows, Augment(), 0, 0, rows), pixels[rows])


@pytest.mark.parametrize(("kind", "low", "high"), [("scale", 1.0, 2.0), ("area", 0.08, 1.0)])
def test_crop_boxes_lie_inside_and_have_the_asked_size(kind, low, high):
    index = torch.arange(3000)
    augment = Augment(crop=kind, crop_range=(low, high))
    left, top, right, bottom = aug.crop_boxes(augment, aug.crop_draws(augment, 0, 0, index), 300, 200)
    assert float(left.min()) >= 0
    assert float(top.min()) >= 0
    assert float(right.max()) <= 300.01
    assert float(bottom.max()) <= 200.01
    if kind == "scale":
        assert torch.allclose(right - left, bottom - top, atol=1e-3)
        assert 99.9 < float((right - left).min()) < 105
        assert 195 < float((right - left).max()) < 200.1
    else:
        aspect = (right - left) / (bottom - top)
        fits = bottom - top < 199.9
        assert float(aspect[fits].min()) > 3 / 4 - 1e-3
        assert float(((right - left) * (bottom - top)).min()) < 0.12 * 60_000


def test_crop_of_the_whole_image_changes_nothing():
    x = torch.rand(2, 3, 9, 9)
    assert torch.allclose(aug.crop_and_resize(x, torch.tensor([[0.0, 0, 9, 9]] * 2)), x, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "apart"), [(32, 32, 0.0), (64, 32, 0.0), (96, 75, 1e-4), (224, 224, 1e-4)])
def test_samples_within_the_outermost_pixels_have_the_values_of_torchs_border(monkeypatch, height, width, apart):
    """Boxes at the corners, some smaller than the image, so that the outermost samples lie beyond the middle of a pixel."""
    x = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    whole = [0.0, 0, width, height]
    boxes = torch.tensor([whole, [0, 0, 7, 9], [width - 7, height - 9, width, height], [0.3, height - 9, 9.4, height]])
    expected = aug.crop_and_resize(x, boxes)
    assert torch.allclose(expected[0], x[0], atol=1e-4)
    monkeypatch.setattr(aug, "has_border", lambda device: False)
    assert torch.allclose(aug.crop_and_resize(x, boxes), expected, rtol=0, atol=apart)


def test_erased_square_is_of_the_asked_side():
    x = torch.ones(500, 1, 20, 20)
    out = aug.erase(x, 0.5, 0, 0, torch.arange(500))
    gone = (out == 0).flatten(1).sum(1)
    assert int(gone.max()) in (100, 110, 121)
    assert int(gone.min()) >= 16  # a quarter is left of a square around a corner


def test_colour_noise_moves_along_the_principal_axes():
    x, std = torch.zeros(400, 3, 2, 2), torch.tensor([0.2, 0.2, 0.2])
    out = aug.colour_noise(x, 0.1, std, 0, 0, torch.arange(400))
    assert torch.equal(out[:, :, 0, 0], out[:, :, 1, 1])
    covariance = torch.cov((out[:, :, 0, 0] * std).T)
    expected = 0.01 * torch.tensor(aug.COLOUR_AXES).T @ torch.tensor(aug.COLOUR_AXES)
    assert torch.allclose(covariance, expected, atol=5e-5)


def test_mixup_keeps_the_mass_of_targets_and_pictures():
    torch.manual_seed(0)
    x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    mixed, soft = aug.mix(x, y, 4, mixup=1.0, cutmix=0.0)
    assert torch.allclose(soft.sum(1), torch.ones(16))
    assert math.isclose(float(mixed.sum()), float(x.sum()), rel_tol=1e-5)


def test_cutmix_targets_are_the_areas():
    torch.manual_seed(3)
    x = torch.arange(4).float()[:, None, None, None].expand(4, 1, 10, 10)
    mixed, soft = aug.mix(x, torch.arange(4), 4, mixup=0.0, cutmix=1.0)
    for k in range(4):
        for label in range(4):
            assert math.isclose(float((mixed[k] == label).double().mean()), float(soft[k, label]), abs_tol=1e-6)
