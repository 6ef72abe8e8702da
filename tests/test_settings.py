"""Settings: what is read is what was written, and what cannot be meant is refused by name and line."""

import typing

import pytest

from podium.api.settings_fields import DistillFields, SettingsFields
from podium.errors import UsageError
from podium.settings import FIELDS, TYPES, Settings, merge, read_file, write_file
from podium.training.recipes.named import RECIPES, settings_of
from podium.units import duration_in_words, parse_duration, to_steps


def test_order_is_defaults_recipe_file_flags(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("lr: 0.5\nclip: 2.0\n")
    merged = merge({"lr": 0.25, "clip": 1.0, "ema": 0.9}, "r", file, {"clip": 3.0, "seed": None})
    s = merged.settings
    assert (s.lr, s.clip, s.ema, s.momentum) == (0.5, 3.0, 0.9, 0.9)
    assert merged.origin["lr"] == str(file)
    assert merged.origin["clip"] == "flag"
    assert merged.origin["ema"] == "recipe r"
    assert merged.origin["momentum"] == merged.origin["seed"] == "default"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("lr: 0.1\nepocs: 3\n", 2, "epocs"),
        ("label_smoothin: 0.1\n", 1, "label_smoothing"),
        ("lr: fast\n", 1, "fast"),
        ("lr: .nan\n", 1, "finite"),
        ("batch_size: 0\n", 1, "at least 2"),
        ("batch_size: 1.5\n", 1, "whole number"),
        ("batch_size: true\n", 1, "whole number"),
        ("optimizer: sdg\n", 1, "sgd"),
        ("duration: 3 apples\n", 1, "30ep"),
        ("lr: 1e9\n", 1, "1000"),
        ("seed: 1\nseed: 2\n", 2, "second time"),
        ("milestones: [0.5, {a: 1}]\n", 1, "nested"),
        ("lr: !!python/object/apply:os.system ['true']\n", 1, "cannot be read"),
        ("lr: !!python/name:os.system\n", 1, "cannot be read"),
    ],
)
def test_a_fault_in_a_file_is_named_with_its_line(tmp_path, text, line, says):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_file(file)
    assert f"{file}, line {line}:" in caught.value.what
    assert says in str(caught.value)


def test_a_bomb_of_anchors_is_refused(tmp_path):
    file = tmp_path / "bomb.yaml"
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    file.write_text("\n".join(rows))
    with pytest.raises(UsageError):
        read_file(file)


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "a: b: c", "\tlr: 1"])
def test_a_file_that_is_no_list_of_settings_is_refused(tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        read_file(file)


@pytest.mark.parametrize("name", list(RECIPES))
def test_written_settings_read_back_the_same(tmp_path, name):
    s = settings_of(name, None, {"model": "lenet5", "data": "a folder: with # odd 'name'", "channels": 1}).settings
    write_file(tmp_path / "s.yaml", s, {"lr": "a comment"})
    assert Settings(**read_file(tmp_path / "s.yaml")) == s


def test_durations():
    assert parse_duration("duration", "10m") == (600.0, "s")
    assert parse_duration("duration", "1.5h") == (5400.0, "s")
    assert to_steps("duration", "3ep", 11) == 33
    assert to_steps("warmup", "10%", 11, 200) == 20
    for text in ("10", "ten", "-3ep", "5%", "0s", ""):
        with pytest.raises(UsageError):
            parse_duration("duration", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("2ep", "2 epochs"), ("1ep", "1 epoch"), ("1.2ep", "1.2 epochs"), ("5000it", "5,000 steps"), ("1it", "1 step"), ("1h", "1 h"), ("90s", "90 s"), ("10m", "10 min"), ("0.490072ep", "0.49 epochs"), ("201.246118s", "201 s")],
)  # fmt: skip
def test_a_duration_in_words(text, words):
    assert duration_in_words(text) == words


def test_epochs_steps_and_budget_are_words_for_duration():
    assert settings_of(None, None, {"epochs": 3}).settings.duration == "3ep"
    assert settings_of(None, None, {"steps": 7}).settings.duration == "7it"
    assert settings_of(None, None, {"budget": "2m"}).settings.duration == "2m"
    with pytest.raises(UsageError):
        settings_of(None, None, {"epochs": 3, "budget": "2m"})


def test_every_setting_says_what_it_is():
    for name, spec in FIELDS.items():
        assert len(spec.metadata["help"]) > 5, name
    assert len(FIELDS) <= 75


def test_unknown_recipe_names_the_closest():
    with pytest.raises(UsageError, match="resnet-2015"):
        settings_of("resnet2015", None, {})


def test_the_words_of_a_setting_are_those_of_its_type():
    literal = {name: typing.get_args(kind) for name, kind in TYPES.items() if typing.get_origin(kind) is typing.Literal}
    assert {"optimizer", "crop", "sampler"} <= literal.keys()
    assert literal == {name: spec.metadata["choices"] for name, spec in FIELDS.items() if spec.metadata["choices"]}


def test_the_keywords_that_editors_complete_are_the_settings():
    lengths = {"epochs": float, "steps": int, "budget": str}
    own = {"model", "data", "recipe"}  # arguments that every operation has beside its settings
    completed = typing.get_type_hints(SettingsFields)
    assert completed == {key: kind for key, kind in TYPES.items() if key not in own} | lengths
    assert typing.get_type_hints(DistillFields) == {key: kind for key, kind in completed.items() if key != "teacher"}
