"""Real ImageNet weights, where the file is at hand: Keras's MobileNet of width 0.75 knows a daisy, by name."""

import tarfile

import pytest

import podium
from podium.weights.official import best_source


@pytest.fixture(scope="module")
def mobilenet(shared, tmp_path_factory):
    file = shared / "data" / "weights" / "mobilenet_7_5_224_tf.h5"
    if not file.is_file():
        pytest.skip(f"needs {file.name}, which is not in ../shared/data/weights")
    return podium.import_weights("keras:MobileNet_0.75", file, tmp_path_factory.mktemp("real") / "mobilenet")


@pytest.fixture(scope="module")
def photos(shared, tmp_path_factory):
    """Ten photos of daisies."""
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(shared / "data" / "flowers" / "flowers-500.tar") as archive:
        members = sorted((m for m in archive if "/daisy/" in m.name and m.isfile()), key=lambda m: m.name)
        for member in members[:10]:
            (folder / member.name.rpartition("/")[2]).write_bytes(archive.extractfile(member).read())
    return sorted(folder.iterdir())


def test_real_weights_are_read_and_know_what_they_see(mobilenet, photos):
    """Of all 100 daisies its first answer is "daisy" 83 times, as ../shared/data says; no other class comes near."""
    assert best_source("mobilenet_v1_075") == "keras:MobileNet_0.75"
    assert mobilenet.model.spec["model"] == "mobilenet_v1_075"
    assert mobilenet.card["notes"] == []
    answers = mobilenet.predict(photos, top=1)
    assert [answer["top"][0]["class"] for answer in answers].count(mobilenet.classes[985]) >= 7


def test_its_classes_have_names(mobilenet, photos):
    assert mobilenet.classes[985] == "daisy"
    assert len(set(mobilenet.classes)) == 1000
    assert mobilenet.card["official"] == "keras:MobileNet_0.75"
