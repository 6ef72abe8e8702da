"""Batches depend on seed, epoch and image alone: not on workers, not on where an epoch was taken up again."""

import itertools
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from podium.data import augment as aug
from podium.data.augment import Augment
from podium.data.dataset import Split
from podium.data.image_file import ImageFile
from podium.data.images import ArrayImages, FileImages
from podium.data.loader import Loader
from podium.data.preprocessing import Preprocessing
from podium.data.sources import load_data
from podium.errors import DataError

CPU = torch.device("cpu")
EVERYTHING = Augment(crop="pad", flip=True, erase=0.25, colour=0.1)
COUNT, SIZE = 23, 16


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """23 JPEG photos of different sizes; the label is the image's number."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.Generator(np.random.PCG64(0))
    files = []
    for n in range(COUNT):
        path = folder / f"{n}.jpg"
        Image.fromarray(draw.integers(0, 256, (20 + n, 40 - n, 3), np.uint8)).save(path)
        files.append(ImageFile.of(path))
    return Split(np.arange(COUNT), FileImages(files))


@pytest.fixture(scope="module")
def arrays():
    """The same kind of thing in memory."""
    pixels = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    return Split(np.arange(COUNT), ArrayImages(pixels))


def loader(split, *, augment=EVERYTHING, seed=5, workers=2, batch_size=5, **changed):
    values = {"image_size": SIZE, "channels": 3, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), **changed}
    return Loader(
        split,
        Preprocessing(**values),
        batch_size=batch_size,
        device=CPU,
        seed=seed,
        augment=augment,
        workers=workers,
    )


def alike(a, b):
    """Whether two lists of batches are equal to the last bit."""
    assert len(a) == len(b) > 0
    return all(
        torch.equal(p, q)
        for one, two in zip(a, b, strict=True)
        for p, q in zip(vars(one).values(), vars(two).values(), strict=True)
    )


@pytest.fixture(params=["photos", "arrays"])
def split(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("crop", ["none", "pad", "scale", "area"])
def test_the_number_of_workers_changes_nothing(split, workers, crop):
    augment = Augment(crop=crop, flip=True, erase=0.25, colour=0.1)
    expected = list(loader(split, augment=augment, workers=0).epoch(3))
    assert alike(list(loader(split, augment=augment, workers=workers).epoch(3)), expected)


@pytest.mark.parametrize("start", [1, 3])
def test_an_epoch_taken_up_in_the_middle_goes_on_alike(split, start):
    whole = list(loader(split).epoch(2))
    assert alike(list(loader(split).epoch(2, start)), whole[start:])


def test_an_epoch_taken_up_at_its_end_is_empty(split):
    batches = loader(split)
    assert list(batches.epoch(0, len(batches))) == []


def order(batches, epoch):
    return torch.cat([batch.index for batch in batches.epoch(epoch)]).tolist()


def test_every_image_once_in_training(split):
    batches = loader(split)
    seen = order(batches, 0)
    assert len(batches) == COUNT // 5 == len(list(batches.epoch(0)))
    assert len(seen) == len(set(seen)) == COUNT // 5 * 5
    assert set(seen) <= set(range(COUNT))
    assert set().union(*(order(batches, epoch) for epoch in range(8))) == set(range(COUNT)), "none is always left out"


def test_every_image_once_and_in_order_in_judging(split):
    batches = loader(split, augment=None)
    assert len(batches) == 5
    assert order(batches, 0) == order(batches, 9) == list(range(COUNT))
    assert [len(batch.y) for batch in batches.epoch()] == [5, 5, 5, 5, 3]


def test_order_is_a_function_of_seed_and_epoch(split):
    one, again, other = loader(split), loader(split), loader(split, seed=6)
    orders = [order(one, 0), order(one, 1), order(other, 0), order(other, 1)]
    assert orders[1] == order(again, 1)  # without its first epoch
    assert len({tuple(o) for o in orders}) == 4


def test_augmentation_of_an_image_is_a_function_of_seed_and_epoch_alone(split):
    def images(**changed):
        batches = loader(split, **changed).epoch(1)
        return {int(i): x for batch in batches for i, x in zip(batch.index, batch.x, strict=True)}

    small, large, other = images(batch_size=2), images(batch_size=11), images(batch_size=11, seed=6)
    both = small.keys() & large.keys()
    assert len(both) >= 20
    for i in both:
        torch.testing.assert_close(small[i], large[i], rtol=1e-5, atol=1e-5)
    assert any(not torch.equal(large[i], other[i]) for i in large.keys() & other.keys())


def test_labels_stay_with_their_images(split):
    for batch in loader(split).epoch(1):
        assert torch.equal(batch.y, batch.index)  # the label of image n is n here


def test_pixels_are_normalised_and_nothing_else(arrays):
    mean, std = np.array((0.5, 0.4, 0.3)), np.array((0.2, 0.25, 0.3))
    expected = ((arrays.pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    got = torch.cat([batch.x for batch in loader(arrays, augment=None).epoch()])
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_photos_are_resized_as_the_preprocessing_says(photos):
    from podium.data.preprocessing import fit

    for how in ("crop", "pad", "stretch"):
        (batch,) = loader(photos, augment=None, batch_size=99, resize=how, mean=(0.0,) * 3, std=(1.0,) * 3).epoch()
        for n in (0, 10, 22):
            expected = fit(Image.open(photos.files[n].path), SIZE, how).transpose(2, 0, 1)
            np.testing.assert_allclose(batch.x[n].numpy() * 255, expected, atol=1e-3)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_photos_are_interpolated_as_the_preprocessing_says(photos, resize):
    values = {"resize": resize, "mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "bicubic"}
    (batch,) = loader(photos, augment=None, batch_size=99, **values).epoch()
    image = Image.open(photos.files[22].path)  # 18 wide, 42 high
    expected = {
        "crop": lambda: image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(0, 12, 18, 30)),
        "pad": lambda: ImageOps.pad(image, (SIZE, SIZE), Image.Resampling.BICUBIC),
        "stretch": lambda: image.resize((SIZE, SIZE), Image.Resampling.BICUBIC),
    }[resize]()
    np.testing.assert_allclose(batch.x[22].numpy() * 255, np.asarray(expected).transpose(2, 0, 1), atol=1e-3)


def test_random_crops_are_interpolated_as_the_preprocessing_says(photos):
    whole = Augment(crop="scale", crop_range=(1.0, 1.0))  # of a square image
    batches = loader(photos, augment=whole, batch_size=23, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bicubic")
    (batch,) = batches.epoch()
    expected = Image.open(photos.files[10].path).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    got = batch.x[batch.index.tolist().index(10)].numpy() * 255
    np.testing.assert_allclose(got, np.asarray(expected).transpose(2, 0, 1), atol=1.001)  # of 255: rounded otherwise


def test_a_large_photo_is_cropped_where_and_as_it_was_drawn(tmp_path):
    """Against Pillow's resize of the whole photo, at each of the scales at which a JPEG can be decoded.

    A crop begins and ends at a pixel of what was decoded, so within half a pixel of the network's input of where it was drawn.
    """
    y, x = np.mgrid[:400, :600] / 30
    smooth = np.stack([128 + 100 * np.sin(x + y), 128 + 100 * np.cos(x - y), 128 + 60 * np.sin(y)], 2).astype(np.uint8)
    path = tmp_path / "large.jpg"
    Image.fromarray(smooth).save(path, quality=95)
    split, augment = (
        Split(np.zeros(2, np.int64), FileImages((ImageFile.of(path),) * 2)),
        Augment(crop="area", flip=True),
    )
    image, index = Image.open(path), torch.arange(2)
    for size, scales in ((30, {8}), (40, {4, 8}), (64, {4}), (130, {2}), (250, {1})):
        plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        (batch,) = loader(split, augment=augment, image_size=size, **plain, batch_size=2).epoch(1)
        boxes = torch.stack(aug.crop_boxes(augment, aug.crop_draws(augment, 5, 1, index), 600, 400), 1)
        mirrored = aug.uniform(5, 1, index, "flip") < 0.5
        times = [max(n for n in (1, 2, 4, 8) if n * size <= min(b[2] - b[0], b[3] - b[1])) for b in boxes.tolist()]
        assert set(times) == scales
        for n, got in zip(batch.index.tolist(), batch.x.permute(0, 2, 3, 1).numpy() * 255, strict=True):
            box = ((boxes[n] / times[n]).round() * times[n]).tolist()
            expected = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box), float)
            difference = np.abs(got - (expected[:, ::-1] if mirrored[n] else expected))
            assert float(difference.mean()) < 1  # of 255
            assert float(difference.max()) < 8


def test_judging_decodes_all_of_a_photo(tmp_path):
    """A large JPEG, judged, is to the last bit what Pillow makes of all its pixels."""
    path = tmp_path / "large.jpg"
    Image.fromarray(np.random.Generator(np.random.PCG64(2)).integers(0, 256, (200, 200, 3), np.uint8)).save(path)
    split = Split(np.zeros(1, np.int64), FileImages((ImageFile.of(path),)))
    (batch,) = loader(split, augment=None, mean=(0.0,) * 3, std=(1.0,) * 3).epoch()
    expected = np.asarray(Image.open(path).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(batch.x[0].permute(1, 2, 0).numpy() * 255, expected, atol=1e-3)


def test_a_batch_of_the_whole_set_keeps_labels_with_images(arrays):
    (batch,) = loader(arrays, augment=Augment(), batch_size=99, mean=(0.0,) * 3, std=(1.0,) * 3).epoch(1)
    assert batch.index.tolist() != list(range(COUNT))
    expected = arrays.pixels[batch.index].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(batch.x.numpy() * 255, expected, atol=1e-3)


@pytest.mark.parametrize("augment", [None, EVERYTHING, Augment(crop="area", colour=0.1), Augment(crop="scale")])
@pytest.mark.parametrize("size", [SIZE, 12])
def test_bgr_is_rgb_backwards_whatever_is_done_to_an_image(split, augment, size):
    values = {"augment": augment, "image_size": size}
    rgb = list(loader(split, **values, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)).epoch(1))
    bgr = list(loader(split, **values, mean=(0.3, 0.4, 0.5), std=(0.3, 0.25, 0.2), channel_order="bgr").epoch(1))
    assert len(rgb) == len(bgr) > 0
    for one, other in zip(rgb, bgr, strict=True):
        torch.testing.assert_close(other.x, one.x.flip(1), rtol=1e-5, atol=1e-5)
        assert torch.equal(other.y, one.y)


def test_images_in_memory_stay_uint8():
    train = load_data("digits").splits["train"]
    held = loader(train, augment=None, channels=1, image_size=32, mean=(0.5,), std=(0.5,))
    assert held.resident.dtype == torch.uint8
    assert held.resident.nbytes == len(train) * 32 * 32
    resized = loader(train, augment=None, channels=3, image_size=20)
    assert resized.resident.dtype == torch.uint8
    assert tuple(resized.resident.shape) == (len(train), 20, 20, 3)
    cropped = loader(train, augment=Augment(crop="pad", crop_padding=0.1), channels=3, image_size=20)
    assert tuple(cropped.resident.shape) == (len(train), 24, 24, 3)


def test_an_array_is_copied_so_that_training_cannot_change_the_data(arrays):
    before = arrays.pixels.copy()
    loader(arrays).resident.zero_()
    np.testing.assert_array_equal(arrays.pixels, before)


def test_photos_are_decoded_by_workers_and_not_held(photos, monkeypatch):
    threads = set()
    decode = Split.image

    def noted(self, index, channels):
        threads.add(threading.current_thread().name)
        return decode(self, index, channels)

    monkeypatch.setattr(Split, "image", noted)
    batches = loader(photos, workers=3)
    assert batches.resident is None
    assert not threads, "nothing is decoded before it is asked for"
    list(batches.epoch())
    assert threads
    assert threading.main_thread().name not in threads
    threads.clear()
    list(loader(photos, workers=0).epoch())
    assert threads == {threading.main_thread().name}


def test_only_a_few_batches_are_decoded_ahead(photos, monkeypatch):
    done = []
    decode = Split.image
    monkeypatch.setattr(Split, "image", lambda self, i, c: done.append(i) or decode(self, i, c))
    epoch = loader(photos, batch_size=2, workers=1).epoch()
    next(epoch)
    epoch.close()
    assert 2 <= len(done) <= 8


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", [None, EVERYTHING, Augment(crop="area")])
def test_a_bad_image_is_named_by_the_error(photos, tmp_path, workers, augment):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos.files[4].read()[:-200])
    files = (*photos.files[:4], ImageFile.of(broken), *photos.files[5:])
    batches = loader(Split(photos.labels, FileImages(files)), augment=augment, workers=workers)
    epochs = itertools.chain.from_iterable(map(batches.epoch, range(4)))  # one may leave it to the others
    with pytest.raises(DataError, match=r"broken\.jpg: truncated"):
        list(epochs)


def test_what_came_before_a_bad_image_is_delivered(photos, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    files = (*photos.files[:-1], ImageFile.of(broken))
    epoch = loader(Split(photos.labels, FileImages(files)), augment=None).epoch()
    assert [len(next(epoch).y) for _ in range(4)] == [5, 5, 5, 5]
    with pytest.raises(DataError, match=r"broken\.jpg: empty"):
        next(epoch)


def test_a_hung_read_is_reported(photos, monkeypatch):
    from podium.data import ahead as module
    from podium.errors import MachineError

    released = threading.Event()
    monkeypatch.setattr(module, "HUNG", 0.05)
    monkeypatch.setattr(Split, "image", lambda *_: released.wait())
    try:
        with pytest.raises(MachineError, match="was not read within"):
            next(loader(photos).epoch())
    finally:
        released.set()


def test_no_image_at_all_is_an_error():
    with pytest.raises(DataError, match="no image to load"):
        loader(Split(np.zeros(0, np.int64), ArrayImages(np.zeros((0, 4, 4, 3), np.uint8))))


@pytest.mark.parametrize("augment", [None, EVERYTHING])
def test_a_batch_larger_than_the_set_is_the_set(split, augment):
    (batch,) = loader(split, augment=augment, batch_size=1000).epoch()
    assert sorted(batch.index.tolist()) == list(range(COUNT))
    assert batch.x.shape == (COUNT, 3, SIZE, SIZE)


def test_threads_that_read_leave_torch_its_threads(photos, monkeypatch):
    """Each works alone; the thread that trains, and those that start later, have as many as before."""
    decode, seen = Split.image, set()

    def noted(self, index, channels):
        seen.add(torch.get_num_threads())
        return decode(self, index, channels)

    monkeypatch.setattr(Split, "image", noted)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        epoch = loader(photos, augment=None).epoch()
        next(epoch)
        assert torch.get_num_threads() == 3
        later = threading.Thread(target=lambda: seen.add(-torch.get_num_threads()))
        later.start()
        later.join()
        list(epoch)
    finally:
        torch.set_num_threads(before)
    assert seen == {1, -3}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_photos_is_what_normalising_its_pixels_gives(photos, channels):
    """To the last bit: the threads that read do the arithmetic that images in memory get."""
    values = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2, 0.25, 0.3)[:channels], "channels": channels}
    made = loader(photos, augment=None, **values)
    pixels = np.stack([made.preprocessing.square(photos.image(n, channels)) for n in range(COUNT)])
    got = torch.cat([batch.x for batch in made.epoch()])
    assert torch.equal(got, made.normalized(torch.from_numpy(pixels)))
    assert torch.equal(
        got,
        torch.cat(
            [batch.x for batch in loader(Split(photos.labels, ArrayImages(pixels)), augment=None, **values).epoch()]
        ),
    )
