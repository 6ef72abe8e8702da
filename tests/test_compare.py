"""A comparison: its numbers are its runs', what is finished is kept, what fails is said, and what differs is refused."""

import csv
import dataclasses
import hashlib
import json
import shlex
import statistics

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import podium as library
from command import inside, one_error, podium
from podium.comparison.statistics import wilson
from podium.errors import DataError, UsageError
from podium.runs import checkpoint as state
from podium.runs.folder import RunFolder
from podium.settings import Settings, write_file
from podium.training.interrupt import Stopped

COMPARE = ("compare", "digits", "--epochs", "1")
BOTH = (*COMPARE, "-m", "lenet5_modern,lenet5")


def read(path):
    return json.loads(path.read_text())


def table(out):
    with (out / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(out):
    """Every file of a comparison's runs: its bytes and when it was written."""
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in out.glob("*-seed*/**/*")
        if path.is_file() and path.name != ".lock"
    }


def test_the_leaderboard_says_what_the_runs_found(comparison):
    rows = table(comparison)
    assert {row["model"] for row in rows} == {"lenet5_modern", "lenet5"}
    assert [float(row["top1"]) for row in rows] == sorted((float(row["top1"]) for row in rows), reverse=True)
    for row in rows:
        run = comparison / f"{row['model']}-seed0"
        result, timed = read(run / "result.json"), read(run / "speed.json")
        for key in ("top1", "top5", "loss", "ece", "macro_f1", "params", "macs", "steps", "epochs"):
            assert float(row[key]) == result[key], key
        assert float(row["train_seconds"]) == result["seconds"]
        assert float(row["size_mb"]) == (run / "model.safetensors").stat().st_size / 1e6
        assert float(row["latency_p50_ms"]) == timed["latency_ms"]["p50"]
        assert float(row["latency_p95_ms"]) == timed["latency_ms"]["p95"]
        assert float(row["images_per_second"]) == timed["images_per_second"]
        assert (row["seeds"], row["top1_std"]) == ("1", "")


def test_a_run_of_a_comparison_judges_as_eval_does(comparison):
    row = next(row for row in table(comparison) if row["model"] == "lenet5")
    scores = library.evaluate(comparison / "lenet5-seed0", "digits")
    assert (scores["top1"], scores["n"]) == (float(row["top1"]), 360)
    assert scores["loss"] == pytest.approx(float(row["loss"]))


def test_the_same_again_repeats_nothing(own_comparison):
    runs, board = files(own_comparison), (own_comparison / "leaderboard.csv").read_bytes()
    again = inside(*BOTH, "--workers", "0", "-o", own_comparison)  # who decodes the images decides nothing
    assert again.returncode == 0, again.stderr
    assert files(own_comparison) == runs
    assert (own_comparison / "leaderboard.csv").read_bytes() == board
    assert str(own_comparison / "report.html") in again.stdout


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_was(comparison, tmp_path):
    out = tmp_path / "board"
    assert inside(*COMPARE, "-m", "lenet5_modern", "-o", out).returncode == 0
    first = files(out)
    often = ("--checkpoint-every", "0.001s", "-o", out)
    killed = podium(*BOTH, *often, fault="kill@step:9")
    assert killed.returncode == -9
    assert not (out / "lenet5-seed0" / "result.json").exists()
    assert state.load_newest(out / "lenet5-seed0")[1]["step"] >= 8
    done = podium(*BOTH, *often, fault="kill@step:7")  # a step that it does not take a second time
    assert done.returncode == 0, done.stderr
    assert first.items() <= files(out).items()
    for model in ("lenet5", "lenet5_modern"):
        ours, theirs = (folder / f"{model}-seed0" / "model.safetensors" for folder in (out, comparison))
        assert ours.read_bytes() == theirs.read_bytes()
    assert [row["model"] for row in table(out)] == [row["model"] for row in table(comparison)]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--lr", "0.5"], "lr"),
        (["--image-size", "28"], "image_size"),
        (["--flip"], "flip"),
        (["--seed", "3"], "seed"),
        (["--recipe", "modern"], "recipe"),
        (["--no-small"], "small"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused_by_name(comparison, flags, name):
    before = files(comparison)
    one_error(inside(*BOTH, *flags, "-o", comparison), 2, f"with {name} ", str(comparison), "-o")
    assert files(comparison) == before


def test_another_length_or_other_images_are_refused(comparison, tmp_path):
    one_error(inside("compare", "digits", "-m", "lenet5", "--epochs", "2", "-o", comparison), 2, "duration", "'2ep'")
    data = library.load_data("digits")
    fewer = dataclasses.replace(data, splits={**data.splits, "train": data.splits["train"].select(range(1000))})
    with pytest.raises(DataError, match="other images"):
        library.compare(["lenet5"], fewer, comparison, epochs=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    one_error(inside(*BOTH, "-o", tmp_path), 2, str(tmp_path), "-o")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["-m", "lenet5,lenet5_modrn"], "lenet5_modern"),
        (["-m", ","], "none given"),
        (["-m", "lenet5", "--seeds", "0"], "seeds: 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(tmp_path, flags, says):
    one_error(inside(*COMPARE, *flags, "-o", tmp_path / "out"), 2, says)
    assert not (tmp_path / "out").exists()


def test_a_network_that_cannot_take_the_images_fails_and_the_others_do_not(tmp_path):
    out = tmp_path / "board"
    flags = ("--image-size", "12", "-m", "lenet5_modern,resnet20", "-o", out)
    done = inside("compare", "digits", "--steps", "2", *flags)
    one_error(done, 2, "lenet5_modern", "12 px")
    ranked, failed = table(out)
    assert (ranked["model"], ranked["error"]) == ("resnet20", "")
    assert float(ranked["top1"]) == read(out / "resnet20-seed0" / "result.json")["top1"]
    assert (failed["model"], failed["top1"]) == ("lenet5_modern", "")
    assert "12 px" in failed["error"]
    assert "failed" in done.stdout
    assert "lenet5_modern failed" in (out / "report.html").read_text()


def test_where_nothing_could_start_the_folder_is_free_for_better_settings(tmp_path):
    flags = ("compare", "digits", "-m", "lenet5_modern", "--steps", "2", "-o", tmp_path / "board")
    refused = inside(*flags, "--image-size", "12")
    one_error(refused, 2, "12 px")
    assert "No network finished" in refused.stdout
    assert inside(*flags, "--image-size", "16").returncode == 0


def test_a_loss_that_is_no_number_fails_one_network(tmp_path, monkeypatch):
    out = tmp_path / "board"
    assert inside(*COMPARE, "-m", "lenet5", "-o", out).returncode == 0
    monkeypatch.setenv("PODIUM_FAULT", "nan@before:3")
    done = inside(*BOTH, "-o", out, "--json")
    one_error(done, 5, "lenet5_modern", "nan")
    ranked, failed = json.loads(done.stdout)["leaderboard"]
    assert (ranked["model"], failed["model"]) == ("lenet5", "lenet5_modern")
    assert "nan" in failed["error"]
    assert read(out / "lenet5_modern-seed0" / "nan_report.json")["step"] == 3
    monkeypatch.delenv("PODIUM_FAULT")
    assert inside(*BOTH, "-o", out).returncode == 0  # the step was not taken: it goes on from there
    assert [row["model"] for row in table(out)] == ["lenet5_modern", "lenet5"]


@pytest.mark.parametrize("number", [15, 2])
def test_an_interrupted_comparison_names_the_command_that_goes_on(comparison, tmp_path, monkeypatch, number):
    out = tmp_path / "two words"
    monkeypatch.setenv("PODIUM_FAULT", f"signal:{number}@step:5")
    stopped = inside(*COMPARE, "-m", "lenet5", "-o", out)
    one_error(stopped, 128 + number, "after step 5")
    assert "podium train" not in stopped.stderr
    monkeypatch.delenv("PODIUM_FAULT")
    words = shlex.split(stopped.stderr.partition("go on with: ")[2])
    assert words[:2] == ["podium", "compare"]
    assert inside(*words[1:]).returncode == 0
    ours, theirs = (folder / "lenet5-seed0" / "model.safetensors" for folder in (out, comparison))
    assert ours.read_bytes() == theirs.read_bytes()


def test_ctrl_c_while_networks_are_timed_loses_no_run(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    flags = ("compare", "digits", "-m", "lenet5_modern", "--steps", "2", "-o", tmp_path / "board")
    with monkeypatch.context() as patch:
        patch.setattr("podium.comparison.study.speed", interrupted)
        stopped = inside(*flags)
    assert stopped.returncode == 130
    assert f"go on with: podium compare digits -m lenet5_modern --steps 2 -o {tmp_path}" in stopped.stderr
    weights = tmp_path / "board" / "lenet5_modern-seed0" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert inside(*flags).returncode == 0
    assert weights.stat().st_mtime_ns == written


def test_each_speed_is_kept_as_it_is_measured_and_none_is_measured_again(tmp_path, monkeypatch):
    from podium.comparison import study

    flags = ("compare", "digits", "-m", "lenet5_modern,lenet5", "--steps", "2", "-o", tmp_path / "board")
    measured, honest = [], study.speed

    def speed(net, seconds, tick):
        if len(measured) == 1 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        measured.append(net.spec["model"])
        return honest(net, seconds, tick)

    monkeypatch.setattr(study, "speed", speed)
    assert inside(*flags).returncode == 130
    kept = (tmp_path / "board" / "lenet5_modern-seed0" / "speed.json").read_bytes()
    done = inside(*flags)
    assert done.returncode == 0, done.stderr
    assert measured == ["lenet5_modern", "lenet5"]
    assert (tmp_path / "board" / "lenet5_modern-seed0" / "speed.json").read_bytes() == kept
    assert "2/2 lenet5  timing, PyTorch, at most" in done.stderr  # not in silence
    for row in table(tmp_path / "board"):
        timed = read(tmp_path / "board" / f"{row['model']}-seed0" / "speed.json")
        counted = [timed[key] for key in ("n", "batches", "batch")]
        assert [float(row[key]) for key in ("latency_passes", "batch_passes", "batch")] == counted


def test_a_speed_that_an_older_podium_measured_is_taken_as_it_is(tmp_path):
    flags = ("compare", "digits", "-m", "lenet5", "--steps", "2", "-o", tmp_path / "board")
    assert inside(*flags).returncode == 0
    file = tmp_path / "board" / "lenet5-seed0" / "speed.json"
    file.write_text(json.dumps({key: value for key, value in read(file).items() if key not in ("batches", "n")}))
    assert inside(*flags).returncode == 0
    (row,) = table(tmp_path / "board")
    assert (row["batch_passes"], float(row["batch"])) == ("", read(file)["batch"])


@pytest.mark.parametrize(("occupied", "busy"), [(0.02, False), (0.6, True), (None, False)])
def test_a_speed_that_was_measured_on_a_busy_machine_is_flagged(tmp_path, occupied, busy):
    flags = ("compare", "digits", "-m", "lenet5", "--steps", "2", "-o", tmp_path / "board")
    assert inside(*flags).returncode == 0
    file = tmp_path / "board" / "lenet5-seed0" / "speed.json"
    file.write_text(json.dumps(read(file) | {"occupied": occupied}))
    said = inside(*flags).stdout
    latency = f"{read(file)['latency_ms']['p50']:.2f}*"
    assert latency in said
    assert (f"~{latency}" in said) == ("delete speed.json" in said) == busy
    assert table(tmp_path / "board")[0]["occupied"] == ("" if occupied is None else str(occupied))


def test_a_comparison_with_a_budget_says_first_what_it_will_take(tmp_path, monkeypatch):
    from podium.comparison import schedule
    from podium.comparison.running import trainer

    monkeypatch.setattr(trainer.Trainer, "train", lambda *_: None)
    words = ("compare", "digits", "-m", "lenet5_modern,lenet5,alexnet", "-o", tmp_path / "board")
    monkeypatch.setattr(schedule, "allowance", lambda trained: trained / 10)
    assert "6 runs of 2 min: 12 min 00 s, and up to 1 min 12 s" in inside(*words, "--seeds", 2, "--budget", "2m").stderr
    more = inside(*words, "--seeds", 2, "--budget", "2m", "--learning-curve").stderr
    assert "the learning curve of the best network takes 3 min 00 s more" in more, "a quarter and a half, of two seeds"
    assert "runs of" not in inside(*words, "--epochs", "3").stderr


def test_seeds_give_a_mean_and_its_spread(tmp_path):
    out = tmp_path / "board"
    done = inside("compare", "digits", "-m", "lenet5_modern", "--steps", "12", "--seeds", "2", "-o", out)
    assert done.returncode == 0, done.stderr
    runs = [read(out / f"lenet5_modern-seed{seed}" / "result.json") for seed in (0, 1)]
    assert runs[0]["loss"] != runs[1]["loss"]
    (row,) = table(out)
    assert row["seeds"] == "2"
    for key in ("top1", "loss", "ece"):
        assert float(row[key]) == pytest.approx(statistics.mean(run[key] for run in runs))
    spread = statistics.stdev(run["top1"] for run in runs)
    assert float(row["top1_std"]) == pytest.approx(spread)
    for text in (done.stdout, (out / "report.html").read_text().replace(" ± ", " ±")):
        assert f"{100 * float(row['top1']):.2f} ±{100 * spread:.2f}" in text


def test_a_run_that_another_process_holds_stops_the_comparison(tmp_path):
    held = RunFolder(tmp_path / "lenet5-seed0")
    flags = (*COMPARE, "-m", "lenet5", "-o", tmp_path)
    held.path.mkdir()
    write_file(tmp_path / "comparison.yaml", Settings())
    with held.locked():
        one_error(inside(*flags), 6, str(held.path), "in use by process")
    assert not (tmp_path / "leaderboard.csv").exists()
    assert inside(*flags).returncode == 0


def test_python_too_is_told_how_an_interrupted_comparison_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PODIUM_FAULT", "signal:15@step:2")
    with pytest.raises(Stopped, match="go on with the same comparison"):
        library.compare(["lenet5"], "digits", tmp_path / "board", epochs=1)


def test_the_interval_over_images_is_wilsons():
    for right, n in ((10, 10), (0, 20), (91, 100)):
        expected = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_python_and_the_command_line_compare_alike(own_comparison, tmp_path):
    board = library.compare(["lenet5_modern", "lenet5"], "digits", own_comparison, epochs=1)
    assert [row["model"] for row in board.ranked] == [row["model"] for row in table(own_comparison)]
    assert board.verdict().startswith(f"Take {board.taken.model}: ")
    assert f"{board.ranked[0]['model']} is first with {100 * board.ranked[0]['score']:.2f} %" in board.verdict()
    board.save(tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_bytes() == (own_comparison / "leaderboard.csv").read_bytes()
    board.save(tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_bytes() == (own_comparison / "report.html").read_bytes()
    with pytest.raises(UsageError, match=r"copy\.doc"):
        board.save(tmp_path / "copy.doc")


@pytest.mark.slow
def test_what_the_images_decide_is_said_by_a_comparison_as_by_a_run(tmp_path):
    """Mirroring and the range of values are of the data: said once for all networks, and in the JSON."""
    for number, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.full((32, 32), 100 + 3000 * number + 99 * i, np.uint16)
            pixels[i, 3] = 4000
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    words = ("--steps", "1", "--workers", "1")
    as_compared = ("--test", "0.2")  # the range of values is that of the training images
    alone = inside(
        "train", "lenet5", tmp_path / "photos", *words, *as_compared, "-o", tmp_path / "run"
    ).stderr.splitlines()
    lines = [line for line in alone if line.startswith(("mirroring off: grey images", "note: 16-bit images"))]
    assert len(lines) == 2
    words = ("compare", tmp_path / "photos", "-m", "lenet5,lenet5_modern", *words, "-o")
    said = inside(*words, tmp_path / "board").stderr.splitlines()
    assert [said.count(line) for line in lines] == [1, 1]
    noted = json.loads(inside(*words, tmp_path / "json", "--json").stdout)["notes"]
    assert [noted.count(line) for line in lines] == [1, 1]
