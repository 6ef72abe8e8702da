"""Which networks a comparison is of: patterns, families and limits, and what is said of those that are left out."""

import json
import shlex

import numpy as np
import pytest

import podium as library
from command import inside, one_error
from podium.comparison.candidates import Choice, candidates_of
from podium.comparison.study import Study
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.errors import UsageError
from podium.training.recipes.named import settings_of
from podium.units import parse_count


def photos(side=90):
    """Colour images of one size, twelve to train on and twelve to validate."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, side, side, 3), np.uint8)
    labels = np.arange(12) % 2
    splits = {name: Split(labels, ArrayImages(pixels)) for name in ("train", "val")}
    return Dataset("arrays", ("ash", "birch"), splits, 3, side, False, (0.5,) * 3, (0.2,) * 3, source="arrays")


def settled(tmp_path, models, data, choice=None, **given):
    """A comparison whose networks are decided, of which nothing is trained."""
    fresh = settings_of("quick", None, {"data": data.source, **given})
    study = Study(models, fresh, tmp_path / "out", 1, data, choice)
    study.settle(data)
    return study


def names(study):
    return [candidate.model for candidate in study.candidates]


@pytest.mark.parametrize(
    ("given", "models"),
    [
        (["resnet2*"], ["resnet20"]),
        (["ResNet-CIFAR v2"], ["resnetv2_110", "resnetv2_164", "resnetv2_1001"]),
        (["lenet"], ["lenet5", "lenet5_modern"]),
        (["xception"], ["xception"]),
        (["alexnet"], ["alexnet"]),  # a network, and its family AlexNet has another
        (["AlexNet"], ["alexnet", "alexnet_owt"]),
        (["resnet20", "lenet*", "lenet5"], ["resnet20", "lenet5", "lenet5_modern"]),
        (["*"], library.list_models()),
    ],
)
def test_patterns_and_families_stand_for_their_networks(given, models):
    assert [candidate.model for candidate in candidates_of(given)] == models


def test_what_is_named_itself_is_not_of_a_pattern():
    found = {candidate.model: candidate.matched for candidate in candidates_of(["lenet*", "lenet5", "resnet20"])}
    assert found == {"lenet5": False, "lenet5_modern": True, "resnet20": False}


def test_a_pattern_that_matches_nothing_names_what_is_near():
    with pytest.raises(UsageError, match="no network matches 'resmet") as caught:
        candidates_of(["resmet20*"])
    assert "resnet20" in caught.value.fix


def test_sources_in_an_order_need_networks_in_an_order():
    with pytest.raises(UsageError, match="2 given for 2 networks") as caught:
        candidates_of(["lenet*"], "a,b")
    assert "-m resnet18,resnet50 --weights A,B" in caught.value.fix


def test_of_a_pattern_those_with_official_weights_start_from_them(tmp_path):
    pretrained = Choice(pretrained=True)
    study = settled(tmp_path, ["LeNet", "MobileNet"], photos(), pretrained)
    assert names(study) == ["mobilenet_v1", "mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v1_075"]
    assert all(candidate.source.startswith("keras:") for candidate in study.candidates)
    assert study.notes == [
        "2 networks left out, of which no official weights are known: lenet5, lenet5_modern",
    ]
    with pytest.raises(UsageError, match=r"known of lenet5\n"):
        settled(tmp_path, ["lenet5", "MobileNet"], photos(), pretrained)
    with pytest.raises(UsageError, match="no official weights are known of lenet5, lenet5_modern"):
        settled(tmp_path, ["LeNet"], photos(), pretrained)


def test_what_cannot_take_the_images_is_left_out_of_a_pattern_and_fails_where_it_is_named(tmp_path):
    study = settled(tmp_path, ["lenet*", "resnet20"], photos(32), image_size=12)
    assert names(study) == ["resnet20"]
    assert study.notes == ["2 networks left out, for which 12 px are too small: lenet5, lenet5_modern"]
    assert names(settled(tmp_path, ["lenet5", "resnet20"], photos(32), image_size=12)) == ["lenet5", "resnet20"]


def test_multiply_adds_count_at_the_size_that_is_trained(tmp_path):
    """ResNet-20 takes 40.55 million at 32 px [He et al. 2016, section 4.2], and a quarter of that at 16 px."""
    limit = Choice(max_macs=15e6)
    large = settled(tmp_path, ["lenet5", "resnet20"], photos(32), limit, image_size=32)
    assert names(large) == ["lenet5"]
    assert large.notes == ["1 network left out, with more than 15.0M multiply-adds: resnet20"]
    small = settled(tmp_path, ["lenet5", "resnet20"], photos(32), limit, image_size=16)
    assert (names(small), small.notes) == (["lenet5", "resnet20"], [])


def test_both_limits_hold(tmp_path):
    """Plain and residual networks of 20 and 32 layers have 0.27 and 0.46 million parameters, and 41 and 69 million multiply-adds."""
    four = ["plain20", "plain32", "mobilenet_v1_025", "mobilenet_v1_050"]
    study = settled(tmp_path, four, photos(32), Choice(max_params=5e5, max_macs=5e7))
    assert names(study) == ["plain20", "mobilenet_v1_025"]


def test_where_nothing_is_left_the_smallest_is_named_and_the_fix_works(tmp_path):
    flags = ("compare", "digits", "--steps", "2", "-m", "resnet20,LeNet", "--max-params", "50k", "-o", tmp_path / "out")
    refused = inside(*flags)
    one_error(refused, 2, "at most 50.0k parameters", "lenet5, has 60,000 parameters")
    words = shlex.split(refused.stderr.partition("fix: ")[2])
    assert words[-2:] == ["--max-params", "60000"]
    assert not (tmp_path / "out").exists()
    done = inside(*words[1:], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["model"] for row in found["leaderboard"]] == ["lenet5"]
    assert "2 networks left out, with more than 60.0k parameters: resnet20, lenet5_modern" in found["notes"]
    assert "note: 2 networks left out" in done.stderr
    with pytest.raises(UsageError, match="the smallest, lenet5, has 60,000 parameters") as caught:
        library.compare(["lenet*"], "digits", tmp_path / "two", max_params="0.05M", steps=2)
    assert "max_params=60000" in caught.value.fix


@pytest.mark.parametrize(("text", "count"), [("5M", 5e6), ("1.5g", 1.5e9), ("20 k", 2e4), ("700", 700), (3e6, 3e6)])
def test_counts_are_read_with_their_units(text, count):
    assert parse_count("max_params", text) == count


@pytest.mark.parametrize("text", ["5MB", "M", "-1", "0", "many"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(UsageError, match="max_macs"):
        parse_count("max_macs", text)
