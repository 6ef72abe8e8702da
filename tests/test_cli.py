"""The command line as a person meets it: what it explains, and what each verb prints for people and for programs."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from podium import tables
from podium.cli import parser
from podium.models import list_models
from podium.settings import FIELDS
from podium.training.recipes.named import RECIPES

VERBS = [
    "models",
    "info",
    "draw",
    "recipes",
    "check",
    "pack",
    "train",
    "eval",
    "compare",
    "board",
    "diff",
    "predict",
    "explain",
    "bench",
    "prune",
    "slim",
    "distill",
    "quantize",
    "export",
    "serve",
    "verify",
    "weights",
    "import",
    "claims",
]


def test_a_module_that_has_what_a_verb_has_is_a_verb():
    folder = Path(parser.__file__).parent
    written = {
        path.stem
        for path in folder.glob("*.py")
        if "def add_flags(" in path.read_text() and path != Path(parser.__file__)
    }
    assert written == {verb.__name__.rpartition(".")[2] for verb in parser.VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(podium, verb):
    said = podium(verb, "--help")
    assert said.code == 0
    assert said.err == ""
    assert f"usage: podium {verb}" in said.out
    example = re.search(r"example: (podium .*)", said.out)[1]
    assert parser.parse(shlex.split(example)[1:]).verb == verb  # the example is one that it takes


def test_help_names_every_verb_and_exit_code(podium):
    said = podium("--help")
    assert said.code == 0
    for verb in VERBS:
        assert re.search(rf"^    {verb} ", said.out, re.M), verb
    for code in ("2 a flag", "3 data", "4 model file", "5 numbers", "6 disk", "130", "143"):
        assert code in said.out
    assert podium().code == 2
    assert re.fullmatch(r"podium \d+\.\d+\.\d+\n", podium("--version").out)


@pytest.mark.parametrize(
    "words", [("help", "train", "--json"), ("train", "--help", "--json"), ("--json", "train", "-h")]
)
def test_help_as_json_is_one_document(podium, words):
    said = podium(*words)
    assert (said.code, said.err) == (0, "")
    arguments = {name: each for each in said.json["arguments"] for name in each["names"]}
    assert said.json["name"] == "podium train"
    assert arguments["--resize"]["choices"] == ["crop", "pad", "stretch"]
    assert "fraction" in arguments["--val"]["help"]
    assert {"--epochs", "-o", "--out", "model"} <= arguments.keys()


@pytest.mark.parametrize("words", [("help", "--json"), ("--help", "--json")])
def test_the_verbs_as_json(podium, words):
    said = podium(*words)
    assert list(said.json["verbs"]) == [*VERBS, "help"]
    podium("help", "trian", "--json").refused(2, "no verb is called 'trian'", "did you mean train?")


def test_every_setting_is_a_flag_of_train_and_compare(podium):
    for verb in ("train", "compare"):
        text = podium(verb, "--help").out
        one_by_one = {"devices", "sync_batch_norm"} if verb == "compare" else set()  # its networks take one device each
        for name in FIELDS.keys() - {"model", "data", "recipe", "duration"} - one_by_one:
            assert f"--{name.replace('_', '-')}" in text


@pytest.mark.parametrize("program", ["import podium", "from podium.cli.main import main; main(['--help'])"])
def test_help_and_import_load_nothing_heavy(program):
    heavy = "{'torch', 'numpy', 'PIL', 'sklearn', 'yaml', 'rich', 'plotly'}"
    program = (
        f"import sys\ntry:\n    {program}\nexcept SystemExit: pass\nprint(*{heavy} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


@pytest.mark.slow
def test_a_training_does_not_wait_for_what_it_does_not_use(tmp_path):
    """torch's compiler takes two seconds to import, and the first operation on the meta device imports it."""
    words = ["train", "lenet5_modern", "digits", "--epochs", "1", "-o", str(tmp_path / "run")]
    program = f"import sys; from podium.cli.main import main; code = main({words}); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert {"torch._dynamo", "sympy", "matplotlib"} & loaded == set()


def test_models_as_a_table_and_as_json(podium, monkeypatch):
    rows = podium("models", "*5*", "--json").json
    assert {row["name"] for row in rows} == set(list_models("*5*"))
    facts = {
        "name",
        "family",
        "year",
        "params",
        "macs",
        "input",
        "depth",
        "top1_error",
        "top5_error",
        "protocol",
        "paper",
    }
    assert all(set(row) == facts for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert by_name["resnet50"]["params"] == 25_557_032
    assert by_name["resnet50"]["input"] == "3x224x224"
    years = [row["year"] for row in rows]
    assert years == sorted(years)
    assert podium("--json", "models", "*5*").json == rows
    monkeypatch.setenv("COLUMNS", "40")  # a file or a pipe has no width
    table = podium("models", "*50*")
    assert table.code == 0
    assert re.search(r"^ *resnet50 .* 50 +25,557,032 +4.1G +3x224x224 +23.9/7.14 *$", table.out, re.M)
    assert max(map(len, podium("models").out.splitlines())) <= 120


def test_recipes(podium):
    rows = podium("recipes", "--json").json
    assert [row["name"] for row in rows] == list(RECIPES)
    assert all(row["source"] and row["settings"]["duration"] for row in rows)
    assert "64000it" in podium("recipes", "resnet-cifar-2015").out


def test_dry_run_prints_each_value_with_where_it_came_from(podium, tmp_path):
    (tmp_path / "mine.yaml").write_text("clip: 3.0\nema: 0.9\n")
    words = shlex.split("train lenet5_modern digits --recipe modern --config mine.yaml --ema 0.5 --budget 2m --dry-run")
    values = podium(*words, "--json").json
    assert set(values) == set(FIELDS)
    expected = {
        "model": ("lenet5_modern", "flag"),
        "duration": ("2m", "flag"),
        "ema": (0.5, "flag"),
        "clip": (3.0, "mine.yaml"),
        "schedule": (RECIPES["modern"].settings["schedule"], "recipe modern"),
        "momentum": (FIELDS["momentum"].default, "default"),
    }
    for key, (value, origin) in expected.items():
        assert values[key] == {"value": value, "origin": origin}
    table = podium(*words).out
    assert re.search(r"^ *clip +3\.0 +mine\.yaml *$", table, re.M)
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.yaml"]


def test_train_then_eval_predict_and_bench_one_document_each(podium, tmp_path):
    trained = podium("train", "lenet5_modern", "digits", "--steps", 4, "--json", "-o", "run")
    assert (trained.code, trained.err) == (0, "")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    for key in ("top1", "steps", "images_per_second", "seconds"):
        assert trained.json[key] == result[key]
    assert trained.json["run"] == "run"
    assert result["steps"] == 4
    scores = podium("eval", "run", "digits", "--json").json
    assert scores["split"] == "test"
    for key in ("top1", "top5", "n", "confusion"):
        assert scores[key] == result[key]
    assert scores["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert podium("eval", "run", "digits", "--limit", 7, "--json").json["n"] == 7
    podium("eval", "run", "digits", "--limit", 0).refused(2, "limit: 0")
    podium("eval", "run", "digits", "--split", "tset").refused(2, "'tset'", "train, test")
    podium("train", "lenet5_modern", "digits", "-o", "run").refused(2, "run: exists already", "--resume", "-o")
    timed = podium("bench", "run", "lenet5", "--batch", 2, "--seconds", 0.01, "--json").json
    assert [row["model"] for row in timed] == ["run", "lenet5"]
    for row in timed:
        assert {"engine", "dtype", "batch", "threads", "images_per_second", "latency_ms"} <= set(row)
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]


def test_train_without_a_folder_takes_a_fresh_one_and_a_refusal_leaves_none(podium, tmp_path):
    podium("train", "lenet5_modern", "digits", "--image-size", 9).refused(2, "9 px")
    for name in ("lenet5_modern-digits", "lenet5_modern-digits-2"):
        said = podium("train", "lenet5_modern", "digits", "--steps", 1)
        assert said.code == 0
        assert f"runs/{name}" in said.out
        assert "epoch   1" in said.err
        assert (tmp_path / "runs" / name / "result.json").exists()


def test_predict_answers_the_good_and_names_the_bad(podium, run, picture, tmp_path):
    good, other = picture("a [red] rose.png"), picture("b.jpg", (9, 9))
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:90])
    (tmp_path / "empty").mkdir()
    said = podium("predict", run.path, good, "bad.png", "missing.png", "empty", other, "--top", 3, "--json")
    assert said.code == 3
    assert [answer["file"] for answer in said.json] == [str(good), str(other)]
    for answer in said.json:
        shares = [row["probability"] for row in answer["top"]]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
        assert all(row["class"] in "0123456789" for row in answer["top"])
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [name in line for name, line in zip(("bad.png", "missing.png", "empty"), errors, strict=True)] == [True] * 3
    plain = podium("predict", run.path, good)
    assert plain.code == 0
    assert re.fullmatch(rf"{re.escape(str(good))}: (\d [\d.]+ %(, |\n)){{5}}", plain.out)
    podium("predict", run.path, good, "--top", 0).refused(2, "top: 0")


def test_predict_takes_all_images_of_a_folder_in_natural_order(podium, run, picture, tmp_path):
    for name in ("10.png", "2.png", "deep/er/1.jpg"):
        picture(f"photos/{name}")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    said = podium("predict", run.path, "photos", "photos/2.png", "--json")
    assert (said.code, said.err) == (0, "")
    assert [a["file"] for a in said.json] == [f"photos/{n}" for n in ("2.png", "10.png", "deep/er/1.jpg", "2.png")]


def test_names_that_are_no_markup_and_no_utf8_are_shown(podium, run, picture, tmp_path):
    for name in ("[bold]", ":smile:", "<b>"):
        for number in range(2):
            image = picture(f"photos/{name}/{number}.png", (20, 20 + number))
            image.write_bytes(image.read_bytes() + name.encode())  # so that no two are the same
    table = podium("check", "photos")
    assert table.code == 0, table.out
    for name in ("[bold]", ":smile:", "<b>"):
        assert name in table.out
    odd = os.fsdecode(b"\xff\xfe.png")
    os.rename(picture("plain.png"), odd)
    for flags in ([], ["--json"]):
        said = podium("predict", run.path, odd, *flags)
        assert said.code == 0, said.err
        assert r"\udcff\udcfe.png" in said.out


def test_check_lists_what_is_wrong_and_says_so_in_its_exit_code(podium, picture, tmp_path):
    for name in ("cat", "dog"):
        for number, letter in enumerate("abc"):
            picture(f"photos/{name}/{letter}.png", (20, 20 + number if name == "cat" else 30 + number))
    assert podium("check", "photos").code == 0
    (tmp_path / "photos" / "cat" / "half.png").write_bytes((tmp_path / "photos" / "cat" / "a.png").read_bytes()[:700])
    (tmp_path / "photos" / "dog" / "nothing.png").write_bytes(b"")
    said = podium("check", "photos", "--json")
    assert said.code == 3
    report = said.json
    assert report["images"] == 8
    assert report["classes"] == {"cat": {"train": 4}, "dog": {"train": 4}}
    kinds = {problem["path"].rsplit("/", 1)[-1]: problem["kind"] for problem in report["problems"]}
    assert kinds == {"half.png": "truncated", "nothing.png": "zero-byte"}
    plain = podium("check", "photos")
    assert plain.code == 3
    assert "half.png" in plain.out
    assert "2 problems" in plain.out


@pytest.mark.slow
def test_import_writes_a_bundle_and_never_over_one(podium, shared, tmp_path, picture):
    file = shared / "data" / "weights" / "resnet20-12fca82f.th"
    if not file.exists():
        pytest.skip("needs ../shared/data/weights")
    made = podium("import", "akamaster:resnet20", file, "-o", "peer", "--json").json
    assert made["run"] == "peer"
    assert made["classes"][3] == "cat"
    assert podium("predict", "peer", picture(), "--top", 1).code == 0
    podium("import", "akamaster:resnet20", file, "-o", "peer").refused(2, "peer: exists already", "-o")
    page = tmp_path / "page.th"
    page.write_text("<!doctype html><title>404</title>")
    podium("import", "akamaster:resnet20", page, "-o", "other").refused(4, "page.th", "not a model file")
    podium("import", "akamaster:resnet56", file, "-o", "other").refused(4, "resnet20-12fca82f.th", "missing")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("width", [20, 60, 200])
def test_a_narrow_terminal_costs_no_name(monkeypatch, width):
    screen = Console(width=width, file=io.StringIO())
    monkeypatch.setattr(tables, "screen", lambda: screen)
    figures = {f"figure {n}": f"{n}234.5" for n in range(6)}
    tables.table("", ["model", *figures], [["wide_resnet50_2", *figures.values()]], set(figures))
    shown = screen.file.getvalue()
    assert all(text in shown for text in ("wide_resnet50_2", *figures, *figures.values()))


@pytest.mark.parametrize("damage", ["truncated", "TGA"])
def test_the_mend_of_an_image_is_one_that_the_command_has(podium, picture, run, tmp_path, damage):
    """Only what takes --on-bad speaks of it, and with it the command goes through."""
    for name in ("cat", "dog"):
        for number in range(60):
            picture(f"photos/{name}/{number}.png", (20 + number, 21 if name == "cat" else 22))
    bad = tmp_path / "photos" / "cat" / "bad.png"
    whole = picture("whole.png").read_bytes()
    other = io.BytesIO()
    Image.new("RGB", (9, 9)).save(other, "TGA")
    bad.write_bytes(whole[:400] if damage == "truncated" else other.getvalue())
    for words in (["predict", run.path, bad], ["predict", run.path, bad, "--json"]):
        said = podium(*words)
        assert said.code == 3
        assert "bad.png" in said.err
        assert "--on-bad" not in said.err
        assert re.search("fix: (copy|save)", said.err)
    said = podium("pack", "photos", "-o", "packed")
    said.refused(3, "bad.png", "--on-bad skip", "podium check photos")
    assert podium("pack", "photos", "-o", "packed", "--on-bad", "skip").code == 0
    assert podium("check", "photos").code == 3
    flags = ["--steps", "1", "--image-size", "32", "--batch-size", "128"]
    said = podium("train", "lenet5_modern", "photos", "-o", "a", *flags)
    assert said.code == 3
    assert "--on-bad skip with a new -o" in said.err
    assert podium("train", "lenet5_modern", "photos", "-o", "b", *flags, "--on-bad", "skip").code == 0
