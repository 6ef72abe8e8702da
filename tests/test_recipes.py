"""Recipes: what the papers' say is what they do, and every network's is there."""

import pytest

from podium.models import architecture, list_models
from podium.settings import Settings
from podium.training.optim import learning_rate
from podium.training.recipes.named import RECIPES, settings_of
from podium.training.recipes.papers import PAPERS

EPOCH = 100  # steps


def of(name) -> Settings:
    return settings_of(name, None, {}).settings


def rate(name, epoch, epochs) -> float:
    """The learning rate in the middle of an epoch, of a run whose epochs have 100 steps."""
    return learning_rate(epoch * EPOCH + EPOCH // 2, epochs * EPOCH, EPOCH, of(name))


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_is_valid_and_says_where_it_comes_from(name):
    assert of(name).recipe == name
    assert RECIPES[name].source


def test_every_network_names_a_recipe_that_is_there():
    assert {architecture(name).recipe for name in list_models()} <= set(RECIPES)


# The table of training recipes in architectures.md: optimiser, momentum, batch, rate, weight decay, length.
TABLE = {
    "alexnet-2012": ("sgd", 0.9, 128, 0.01, 5e-4, "90ep"),
    "zfnet-2013": ("sgd", 0.9, 128, 0.01, 0.0, "70ep"),
    "vgg-2014": ("sgd", 0.9, 256, 0.01, 5e-4, "74ep"),
    "googlenet-2014": ("sgd", 0.9, 32, 0.01, 2e-4, "250ep"),  # from the batch on Caffe's replica
    "bn-inception-2015": ("sgd", 0.9, 32, 0.0075, 4e-5, "53ep"),
    "resnet-2015": ("sgd", 0.9, 256, 0.1, 1e-4, "90ep"),
    "resnet-cifar-2015": ("sgd", 0.9, 128, 0.1, 1e-4, "64000it"),
    "resnet110-cifar-2015": ("sgd", 0.9, 128, 0.1, 1e-4, "64000it"),
    "resnetv2-cifar-2016": ("sgd", 0.9, 128, 0.1, 1e-4, "64000it"),
    "inception-2016": ("rmsprop", 0.9, 32, 0.045, 4e-5, "100ep"),
    "xception-2017": ("sgd", 0.9, 32, 0.045, 1e-5, "100ep"),
    "mobilenet-2017": ("rmsprop", 0.9, 32, 0.045, 4e-5, "100ep"),
    "resnext-2016": ("sgd", 0.9, 256, 0.1, 1e-4, "120ep"),
    "resnext-cifar-2016": ("sgd", 0.9, 128, 0.1, 5e-4, "300ep"),
    "densenet-2016": ("sgd", 0.9, 256, 0.1, 1e-4, "90ep"),
    "senet-2018": ("sgd", 0.9, 1024, 0.6, 1e-4, "100ep"),
}


@pytest.mark.parametrize("name", list(TABLE))
def test_the_papers_recipes_have_the_papers_numbers(name):
    s = of(name)
    assert (s.optimizer, s.momentum, s.batch_size, s.lr, s.weight_decay, s.duration) == TABLE[name]
    if s.optimizer == "sgd":
        assert s.nesterov is (name in ("resnext-2016", "resnext-cifar-2016", "densenet-2016"))


def test_no_paper_is_left_out_of_the_table():
    assert set(PAPERS) == {*TABLE, "lenet-1998"}


@pytest.mark.parametrize(
    ("name", "epochs", "falls"),
    [
        ("resnet-2015", 90, [30, 60]),
        ("resnext-2016", 120, [30, 60, 90]),
        ("densenet-2016", 90, [30, 60]),
        ("senet-2018", 100, [30, 60, 90]),
        ("resnext-cifar-2016", 300, [150, 225]),
    ],
)
def test_the_rate_is_divided_by_ten_at_the_papers_epochs(name, epochs, falls):
    first = of(name).peak
    for passed, fall in enumerate(falls):
        assert rate(name, fall - 1, epochs) == pytest.approx(first / 10**passed)
        assert rate(name, fall, epochs) == pytest.approx(first / 10 ** (passed + 1))


def test_the_rate_of_cifars_resnets_falls_at_32k_and_48k_of_64k_steps():
    for name in ("resnet-cifar-2015", "resnet110-cifar-2015", "resnetv2-cifar-2016"):
        rates = [learning_rate(step, 64_000, 390, of(name)) for step in (31_999, 32_000, 47_999, 48_000, 63_999)]
        assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])
    assert {architecture(name).recipe for name in ("resnet110", "resnet1202")} == {"resnet110-cifar-2015"}
    for name in ("resnet110-cifar-2015", "resnetv2-cifar-2016"):
        rises = [learning_rate(step, 64_000, 390, of(name)) for step in (0, 39, 399, 400)]
        assert rises == pytest.approx([0.1 / 400, 0.01, 0.1, 0.1])
        assert "rises in a line" in RECIPES[name].differs


def test_lenets_rate_falls_after_the_papers_passes_and_the_recipe_says_how_its_values_differ():
    """5e-4 for two passes, 2e-4 for three, 1e-4 for three, 5e-5 for four, 1e-5 for the rest [section III.B]."""
    papers = [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8
    rates = [rate("lenet-1998", epoch, 20) for epoch in range(20)]
    falls = [epoch for epoch in range(1, 20) if rates[epoch] != rates[epoch - 1]]
    assert falls == [epoch for epoch in range(1, 20) if papers[epoch] != papers[epoch - 1]] == [2, 5, 8, 12]
    assert rates[-1] / rates[0] == pytest.approx(0.026, rel=0.02)
    assert "to 0.4, 0.2, 0.1 and 0.02" in RECIPES["lenet-1998"].differs
    assert [papers[epoch] / papers[0] for epoch in falls] == pytest.approx([0.4, 0.2, 0.1, 0.02])
    assert of("lenet-1998").flip is False


@pytest.mark.parametrize(
    ("name", "epochs", "factor", "every"),
    [
        ("googlenet-2014", 250, 0.96, 8),
        ("inception-2016", 100, 0.94, 2),
        ("xception-2017", 100, 0.94, 2),
        ("mobilenet-2017", 100, 0.94, 2),
    ],
)
def test_the_rate_falls_by_some_percent_every_few_epochs(name, epochs, factor, every):
    first = of(name).peak
    assert rate(name, every - 1, epochs) == first
    assert rate(name, every, epochs) == pytest.approx(factor * first)
    assert rate(name, 5 * every, epochs) == pytest.approx(factor**5 * first)


def test_bn_inceptions_rate_falls_six_times_as_fast_as_googlenets():
    assert rate("bn-inception-2015", 8, 53) / 0.0075 == pytest.approx(0.96**6)


def test_what_else_the_papers_say():
    inception = of("inception-2016")
    assert (inception.eps, inception.clip, inception.label_smoothing) == (1.0, 2.0, 0.1)
    assert of("mobilenet-2017").label_smoothing == 0.0
    for name in ("googlenet-2014", "inception-2016", "xception-2017"):
        assert of(name).ema > 0.0, "averaged parameters are judged"
    for name in (
        "googlenet-2014",
        "bn-inception-2015",
        "inception-2016",
        "xception-2017",
        "senet-2018",
        "densenet-2016",
    ):
        assert (of(name).crop, of(name).crop_range) == ("area", (0.08, 1.0))
    for name in ("alexnet-2012", "vgg-2014", "resnet-2015", "resnext-2016", "densenet-2016"):
        assert of(name).colour == 0.1
    for name in ("resnet-2015", "resnext-2016", "densenet-2016"):
        assert of(name).decay_all, "fb.resnet.torch decays everything"
