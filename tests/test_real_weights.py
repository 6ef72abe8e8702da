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
def daisies(shared, tmp_path_factory):
    """All 100 photos of daisies."""
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(shared / "data" / "flowers" / "flowers-500.tar") as archive:
        for member in archive:
            if "/daisy/" in member.name and member.isfile():
                (folder / member.name.rpartition("/")[2]).write_bytes(archive.extractfile(member).read())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def photos(daisies):
    """Ten of them."""
    return daisies[:10]


def test_real_weights_are_read_and_know_what_they_see(mobilenet, photos):
    assert best_source("mobilenet_v1_075") == "keras:MobileNet_0.75"
    assert mobilenet.model.spec["model"] == "mobilenet_v1_075"
    assert mobilenet.card["notes"] == []
    answers = mobilenet.predict(photos, top=1)
    assert [answer["top"][0]["class"] for answer in answers].count(mobilenet.classes[985]) >= 7


@pytest.mark.slow
def test_83_of_the_100_daisies_are_daisies(mobilenet, daisies):
    """As another program counted them with these weights; no other class comes near."""
    assert len(daisies) == 100
    answers = [answer["top"][0]["class"] for answer in mobilenet.predict(daisies, top=1)]
    assert answers.count("daisy") >= 83


def test_its_classes_have_names(mobilenet, photos):
    assert mobilenet.classes[985] == "daisy"
    assert len(set(mobilenet.classes)) == 1000
    assert mobilenet.card["official"] == "keras:MobileNet_0.75"
