"""One rule for where values come from: defaults < recipe < file < flags, and what is shown is what is used."""

import itertools

import pytest
import yaml

import podium as library
from conftest import sampled
from podium.comparison.study import Study
from podium.compression import shrink
from podium.errors import UsageError
from podium.settings import FIELDS, FLAG, Origin, Settings, base_type, merge, read_file, write_file
from podium.training.idle import refuse_decided
from podium.training.recipes.named import RECIPES, settings_of
from podium.training.resume import refuse_changes

SOURCES = ("default", "recipe", "file", "flag")
TEXTS = {
    "duration": ("3ep", "7it"),
    "unfreeze": ("10%", "20%"),
    "warmup": ("1ep", "2ep"),
    "decay_every": ("1ep", "3ep"),
    "checkpoint_every": ("10s", "20s"),
    "grace": ("10s", "20s"),
    "on_nan": ("skip:1", "skip:2"),
    "crop_range": ((0.3, 0.9), (0.4, 0.8)),
    "milestones": ((0.2, 0.4), (0.3, 0.6)),
    "group_from": ("(p[0-9]+)", "(q[0-9]+)"),
    "recall": ("one=0.9", "two=0.8"),
    "device": ("cpu", "cuda:1"),
}


def values(name):
    """Two values of a setting, neither of which is its default."""
    kind, meta, default = base_type(name)[0], FIELDS[name].metadata, FIELDS[name].default
    if name in TEXTS:
        return TEXTS[name]
    if meta["choices"]:
        others = [choice for choice in meta["choices"] if choice != default]
        return others[0], others[-1]
    if kind is bool:
        return not default, not default
    if kind is int:
        return 2, 3
    return (0.25, 0.125) if kind is float else ("one", "two")


PAIRS = [(name, *pair) for name in sorted(FIELDS.keys() - {"recipe"}) for pair in itertools.combinations(SOURCES, 2)]
EACH_TYPE = ("seed", "lr", "flip", "optimizer", "duration", "crop_range", "weights")


@pytest.mark.parametrize(("name", "below", "above"), sampled(PAIRS, EACH_TYPE))
def test_the_later_of_two_sources_is_used_recorded_and_shown(tmp_path, name, below, above):
    lower, upper = values(name)
    given = {below: {name: lower}, above: {name: upper}}
    file = None
    if "file" in given:
        file = tmp_path / "mine.yaml"
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in given["file"].items()}
        file.write_text(yaml.safe_dump(plain))
    merged = merge(given.get("recipe", {}), "quick", file, given.get("flag", {}))
    shown = {"recipe": "recipe quick", "file": str(file), "flag": "flag"}[above]
    assert getattr(merged.settings, name) == upper
    assert merged.origin[name] == shown
    assert merged.origin[name].given == (above in ("file", "flag"))
    write_file(tmp_path / "settings.yaml", merged.settings, merged.origin)
    assert read_file(tmp_path / "settings.yaml")[name] == upper
    (line,) = [text for text in (tmp_path / "settings.yaml").read_text().splitlines() if text.startswith(f"{name}:")]
    assert line.endswith(f"# {shown}")


@pytest.mark.parametrize("flag", [None, "modern"])
@pytest.mark.parametrize("file", [None, "resnet-2015"])
@pytest.mark.parametrize("usual", ["quick", "shrink"])
def test_the_recipe_is_the_flags_else_the_files_else_the_operations(tmp_path, flag, file, usual):
    path = tmp_path / "mine.yaml"
    path.write_text(f"clip: 3.0\n{f'recipe: {file}' if file else ''}\n")
    merged = settings_of(flag, path, {}, usual)
    name = flag or file or usual
    assert merged.settings.recipe == name
    assert merged.origin["recipe"] == ("flag" if flag else str(path) if file else "default")
    for key, value in RECIPES[name].settings.items():
        if key != "clip":
            assert getattr(merged.settings, key) == value
            assert merged.origin[key] == f"recipe {name}"
    assert (merged.settings.clip, merged.origin["clip"]) == (3.0, str(path))


def test_compare_takes_the_recipe_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "run", lambda study, _: study)
    (tmp_path / "mine.yaml").write_text("recipe: modern\n")
    for recipe, name, origin in ((None, "modern", str(tmp_path / "mine.yaml")), ("resnet-2015", "resnet-2015", "flag")):
        study = library.compare(["lenet5"], "digits", tmp_path / "out", recipe=recipe, config=tmp_path / "mine.yaml")
        settings = study.merged.settings
        assert (settings.recipe, study.merged.origin["recipe"]) == (name, origin)
        assert {key: getattr(settings, key) for key in RECIPES[name].settings} == RECIPES[name].settings


@pytest.mark.parametrize(
    "name", ["recipe-x.yaml", "recipe modern", "default", "flag", "by podium prune", "a\nlr: 3.yaml"]
)
def test_a_file_of_any_name_is_compared_at_a_resume_and_told_from_other_origins(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("seed: 5\n")
    merged = settings_of(None, type(tmp_path)(name), {})
    with pytest.raises(UsageError, match="seed: the run has 1, not 5"):
        refuse_changes(merged.settings, {"seed": 1}, merged.origin, None)
    refuse_changes(merged.settings, {"seed": 5}, merged.origin, None)
    assert merged.origin["seed"] not in ("default", "flag")
    assert not merged.origin["seed"].startswith(("recipe ", "by "))
    write_file(tmp_path / "settings.yaml", merged.settings, merged.origin)
    assert Settings(**read_file(tmp_path / "settings.yaml")) == merged.settings


def test_a_run_goes_on_with_the_file_it_was_begun_with(podium, tmp_path):
    (tmp_path / "recipe-x.yaml").write_text("recipe: modern\nseed: 3\n")
    words = ("train", "lenet5_modern", "digits", "--steps", 2, "--config", "recipe-x.yaml", "-o", "run")
    assert podium(*words).code == 0
    assert podium(*words, "--resume").code == 0
    (tmp_path / "recipe-x.yaml").write_text("recipe: modern\nseed: 4\n")
    podium(*words, "--resume").refused(2, "seed: the run has 3, not 4")
    assert podium("train", "--resume", "-o", "run", "--config", "run/settings.yaml").code == 0


def test_settings_of_an_older_version_are_read(tmp_path):
    """Of a run begun before milestones, ranges and factors were looked at."""
    file = tmp_path / "settings.yaml"
    file.write_text("milestones: [2, 3]  # flag\ngamma: 2.0\ncrop: scale\ncrop_range: [0.25, 1.0]\nlayer_decay: 1.5\n")
    assert read_file(file)["milestones"] == (2, 3)
    assert Settings(**read_file(file)).gamma == 2.0


def test_a_seed_in_a_file_counts_as_asked_for_when_pruning(podium, run, tmp_path, monkeypatch):
    monkeypatch.setattr(shrink, "in_engines", lambda *_: [])
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    words = ("--macs", 0.7, "--steps", 1, "--no-controls", "--tolerance", 0.99, "-o", "small")
    said = podium("prune", run.path, "digits", "--config", "mine.yaml", *words)
    assert said.code == 0, said.err
    text = (tmp_path / "small" / "settings.yaml").read_text().splitlines()
    assert "seed: 7  # mine.yaml" in text
    assert "recipe: shrink  # default" in text  # the file names none
    (weights,) = [line for line in text if line.startswith("weights:")]
    assert weights.endswith("# by podium prune")


def test_a_crop_without_its_range_takes_the_range_of_its_kind(tmp_path):
    assert settings_of(None, None, {"crop": "scale"}).settings.crop_range == (256 / 224, 512 / 224)
    assert settings_of("mobilenet-2017", None, {"crop": "scale"}).settings.crop_range == (256 / 224, 512 / 224)
    assert settings_of("vgg-2014", None, {"crop": "area"}).settings.crop_range == (0.25, 1.0)
    assert settings_of("resnet-2015", None, {}).settings.crop_range == (256 / 224, 480 / 224)
    assert settings_of(None, None, {"crop": "scale", "crop_range": [1, 2]}).settings.crop_range == (1, 2)
    for crop, between in (("scale", (0.25, 1.0)), ("area", (0.5, 3.0))):
        with pytest.raises(UsageError, match="crop_range"):
            settings_of(None, None, {"crop": crop, "crop_range": between})


ASKED = {  # a setting that does nothing -> with what it acts
    "unfreeze": ("10%", {"freeze": "features"}),
    "alpha": (0.5, {"teacher": "runs/a"}),
    "temperature": (2.0, {"teacher": "runs/a"}),
    "crop_padding": (0.1, {"crop": "pad"}),
    "crop_range": ((0.2, 0.9), {"crop": "area"}),
    "momentum": (0.5, {"optimizer": "rmsprop"}),
    "nesterov": (True, {"optimizer": "sgd"}),
    "eps": (1e-3, {"optimizer": "adam"}),
    "decay_all": (True, {"weight_decay": 0.1}),
    "layer_decay": (0.5, {"freeze": None}),
    "lr_batch": (64, {"lr_scale": "sqrt"}),
    "milestones": ((0.3, 0.6), {"schedule": "step"}),
    "gamma": (0.5, {"schedule": "exponential"}),
    "decay_every": ("1ep", {"schedule": "exponential"}),
    "sync_batch_norm": (True, {"devices": 2}),
}
WITHOUT = {
    "crop_padding": {"crop": "none"},
    "eps": {"optimizer": "sgd"},
    "decay_all": {"weight_decay": 0.0},
    "layer_decay": {"freeze": "features"},
}


@pytest.mark.parametrize("name", ASKED)
def test_a_setting_that_does_nothing_is_refused_as_a_flag_and_named_in_a_file(tmp_path, caplog, name):
    caplog.set_level("INFO", "podium")
    value, acting = ASKED[name]
    idle = WITHOUT.get(name, {})
    with pytest.raises(UsageError, match=f"{name}: .* does nothing here") as caught:
        refuse_decided(settings_of(None, None, {name: value, **idle}), "train")
    assert f"--{name.replace('_', '-')}" in caught.value.fix
    refuse_decided(settings_of(None, None, {name: value, **acting}), "train")
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({name: list(value) if isinstance(value, tuple) else value, **idle}))
    refuse_decided(settings_of(None, file, {}), "train")
    repeats = value == FIELDS[name].default  # as the settings of another run would
    said = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert any(text.startswith(f"{file}: {name}: ") for text in said) is not repeats


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_and_the_defaults_are_never_refused(caplog, name):
    caplog.set_level("INFO", "podium")
    refuse_decided(settings_of(name, None, {"model": "lenet5", "data": "digits"}), "train")
    assert caplog.records == []


def test_what_an_operation_decides_is_refused():
    for operation, key in (("prune", "teacher"), ("prune", "weights"), ("distill", "teacher"), ("slim", "weights")):
        with pytest.raises(UsageError, match=f"{key}: 'runs/a' does nothing here"):
            refuse_decided(settings_of(None, None, {key: "runs/a"}), operation)
    data = library.load_data("digits")
    given = {"val": 0.1, "resize": "pad", "on_bad": "skip", "channels": 3, "max_pixels": 10, "label_column": "kind"}
    for key, value in given.items():
        for operation in ("train", "compare", "prune", "slim", "distill"):
            with pytest.raises(UsageError, match=f"{key}: .* load_data"):
                refuse_decided(settings_of(None, None, {key: value}), operation, data)


@pytest.mark.parametrize("operation", ["train", "compare", "prune", "slim", "distill"])
def test_how_a_loaded_data_set_is_read_is_said_to_load_data(run, tmp_path, operation):
    data, out = library.load_data("digits"), tmp_path / "out"
    calls = {
        "train": lambda **more: library.train("lenet5", data, out, **more),
        "compare": lambda **more: library.compare(["lenet5"], data, out, **more),
        "prune": lambda **more: library.prune(run.path, data, out, macs=0.5, **more),
        "slim": lambda **more: library.slim("lenet5", data, out, width=0.5, **more),
        "distill": lambda **more: library.distill(run.path, "lenet5", data, out, **more),
    }
    for given in ({"max_pixels": 10}, {"class_from": "(.)"}, {"on_bad": "skip"}):
        with pytest.raises(UsageError, match="does nothing here: the data set is loaded already: give it to load_data"):
            calls[operation](**given)
    assert not out.exists()


IDLE_ON_ARRAYS = {"--max-pixels": 99, "--on-bad": "skip", "--workers": 3, "--resize": "pad", "--split-seed": 0}


@pytest.mark.slow
def test_a_setting_that_does_nothing_with_these_data_is_named(podium, picture, tmp_path):
    flags = [word for pair in IDLE_ON_ARRAYS.items() for word in pair]
    for words in (
        ("train", "lenet5_modern", "digits", "-o", "run"),
        ("compare", "digits", "-m", "lenet5", "-o", "all"),
    ):
        said = podium(*words, "--steps", 0, *flags)
        assert said.code == 0, said.err
        idle = dict(IDLE_ON_ARRAYS)
        if words[0] == "compare":  # which holds out validation images, by this seed
            del idle["--split-seed"]
        for flag, value in idle.items():
            name = flag[2:].replace("-", "_")
            lines = said.err.splitlines()
            assert sum(line.startswith(f"note: {name}: {value!r} does nothing here: ") for line in lines) == 1
    (tmp_path / "mine.yaml").write_text("workers: 3\nmax_pixels: 50000000\n")
    said = podium("train", "lenet5_modern", "digits", "--steps", 0, "--config", "mine.yaml", "-o", "file")
    assert "workers: 3 does nothing here: the images are in memory" in said.err
    assert "max_pixels" not in said.err
    for number, name in enumerate("ab" * 5):
        picture(f"photos/{name}/{number}.png", (20, 30))
    said = podium("train", "lenet5_modern", "photos", "--steps", 0, *flags, "--max-pixels", 9999, "-o", "photo")
    assert said.code == 0, said.err
    assert "does nothing" not in said.err


@pytest.mark.slow
def test_a_split_that_an_earlier_run_made_is_kept_and_that_is_said(podium, picture):
    for number, name in enumerate("ab" * 5):
        picture(f"photos/{name}/{number}.png", (20, 30))
    assert podium("train", "lenet5_modern", "photos", "--steps", 0, "-o", "run").code == 0
    more = ("--steps", 0, "--split-seed", 5, "--val", 0.4)
    for words in (
        ("train", "lenet5_modern", "photos", "--weights", "run", "-o", "more"),
        ("distill", "run", "lenet5_modern", "photos", "--no-controls", "-o", "student"),
    ):
        said = podium(*words, *more)
        assert said.code == 0, said.err
        assert "split_seed: 5 does nothing here" in said.err
        assert "val: 0.4 does nothing here" in said.err


def test_an_origin_is_a_text():
    assert Origin("flag") == "flag"
    assert FLAG.given
    assert not Origin("recipe x").given
