"""What a board reads of a folder: each line of a log once, the state of every run and why, the same leaderboard, and nothing written."""

import asyncio
import itertools
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import torch

from conftest import ROOT, contents
from podium.board.answers import answer
from podium.board.app import Board
from podium.board.control import Control, command_of
from podium.board.live import Live
from podium.board.tails import COLUMNS, MOST, Log, signature
from podium.board.tree import Tree
from podium.errors import MachineError, UsageError
from podium.runs.folder import RunFolder
from podium.runs.recommended import STUDY_NOTE
from podium.web.problems import json_bytes
from podium.web.server import Stopping

HOLDER = """
import sys, signal
from podium.runs.folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("held", flush=True)
    signal.pause()
"""


@contextmanager
def another_process(code, *arguments):
    """A process that runs some Python and has said its first line."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def epoch(n, **more):
    row = {
        "event": "epoch",
        "epoch": n,
        "step": 10 * n,
        "seconds": 2.0 * n,
        "train_loss": 2 / n,
        "loss": 3 / n,
        "top1": 1 - 1 / (n + 1),
    }
    return {**row, "split": "val", **more}


def write_run(folder, *rows, settings="model: lenet5  # flag\ndata: digits  # flag\nseed: 0  # default\n", start=True):
    """A run folder whose log has these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text(settings)
    begin = [{"event": "start", "steps": 100, "model": "lenet5"}] if start else []
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*begin, *rows]))
    return folder


def state_of(root):
    live = Live(root)
    live.refresh()
    return live.since("")


def run_in(state, name):
    return next(run for run in state["runs"] if run["name"] == name)


# The log


def test_a_line_that_is_half_written_waits_for_its_end(tmp_path):
    path = tmp_path / "log.jsonl"
    log, line = Log(path), f"{json.dumps(epoch(1))}\n"
    assert not log.refresh(1), "there is no file yet"
    path.write_text(line + line[:20])
    assert log.refresh(2)
    assert log.points["epoch"] == [1]
    with path.open("a") as file:
        file.write(f"{line[20:]}{json.dumps(epoch(3))}\n")
    assert log.refresh(3)
    assert log.points["epoch"] == [1, 1, 3]
    assert log.since(2) == {"whole": False, **{name: log.points[name][1:] for name in COLUMNS}}
    assert not log.refresh(4), "nothing has changed"


def test_the_curves_are_those_of_the_log(run):
    log = Log(run / "log.jsonl")
    log.refresh(1)
    rows = run.epochs
    assert len(rows) == 2
    for name in COLUMNS:
        assert log.points[name] == pytest.approx([row[name] for row in rows], rel=1e-5)


def test_a_log_that_a_resume_has_cut_begins_anew(tmp_path):
    folder = RunFolder(
        write_run(tmp_path, epoch(1), epoch(2), {"event": "ended", "text": "stopped by SIGTERM", "exit_code": 143})
    )
    log = Log(folder / "log.jsonl")
    log.refresh(1)
    assert log.ended["exit_code"] == 143
    folder.keep_log(2)
    folder.log(epoch(2, top1=0.9))
    assert log.refresh(2)
    assert (log.points["top1"], log.ended) == ([0.5, 0.9], None)
    assert log.since(1)["whole"], "a page replaces what it has"


def test_another_log_with_the_inode_of_the_one_that_was_read_begins_anew(tmp_path):
    path = write_run(tmp_path, epoch(1), epoch(2)) / "log.jsonl"
    log = Log(path)
    log.refresh(1)
    inode = path.stat().st_ino
    write_run(tmp_path, epoch(1, top1=0.25), epoch(2, top1=0.375), epoch(3, top1=0.75))
    assert path.stat().st_ino == inode, "what a file system also does with a log that was deleted and is written again"
    log.refresh(2)
    assert log.points["top1"] == [0.25, 0.375, 0.75]
    assert log.since(1)["whole"]


def test_a_file_that_others_may_read_now_is_read_again(tmp_path):
    path = write_run(tmp_path, epoch(1)) / "settings.yaml"
    before = signature(path)
    path.chmod(0o600)
    assert signature(path) != before


@pytest.mark.parametrize("line", [b"{\n", b"[1]\n", b'{"a": 1}\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_after_a_damaged_line_nothing_counts_as_for_the_run_itself(tmp_path, line):
    folder = RunFolder(write_run(tmp_path, epoch(1)))
    with (folder / "log.jsonl").open("ab") as file:
        file.write(line + f"{json.dumps(epoch(2))}\n".encode())
    log = Log(folder / "log.jsonl")
    log.refresh(1)
    assert log.points["epoch"] == [1]
    if line != b"[" * 100_000 + b"\n":
        assert [row["epoch"] for row in folder.epochs] == [1]


def test_values_that_are_no_numbers_are_gaps(tmp_path):
    write_run(tmp_path, epoch(1, loss=math.nan, top1="<b>", train_loss=True, seconds=None))
    log = Log(tmp_path / "log.jsonl")
    log.refresh(1)
    assert {name: values[0] for name, values in log.points.items()} == {
        "epoch": 1,
        "step": 10,
        "seconds": None,
        "train_loss": None,
        "loss": None,
        "top1": None,
    }
    json.dumps(log.since(0), allow_nan=False)


@pytest.mark.parametrize(
    "value", [pytest.param(10**400, id="400 digits"), 1e308, -1e308, 5e-324, math.inf, ["a"], {"a": []}, "\ud800"]
)
def test_no_value_of_a_file_keeps_the_others_from_the_page(tmp_path, value):
    odd = dict.fromkeys((*COLUMNS, "steps", "text", "exit_code", "top1", "n", "latency_ms"), value)
    study = tmp_path / "study"
    rows = [{"event": "start", **odd}, epoch(1, step=value), epoch(2, seconds=value), {"event": "epoch", **odd}]
    for name in ("a-seed0", "b-seed0"):
        write_run(study / name, *rows, start=False)
    (study / "comparison.yaml").write_text("data: digits\n")
    (study / STUDY_NOTE).write_text(
        json.dumps({"runs": [value, "c-seed0"], "verdict": [value], "command": {"words": [value]}})
    )
    odd_ = write_run(tmp_path / "odd", *rows, {"event": "ended", **odd}, start=False)
    for name in ("result.json", "speed.json"):
        (odd_ / name).write_text(json.dumps(odd))
    with another_process(HOLDER, study / "a-seed0"), another_process(HOLDER, study / "b-seed0"):
        state = state_of(tmp_path)
    json.loads(json_bytes(state))
    assert {run["name"]: run["state"] for run in state["runs"]}["a-seed0"] == "running"
    assert state["studies"][0]["waiting"][-1] == "c-seed0"


def test_a_long_curve_is_thinned(tmp_path):
    write_run(tmp_path, *(epoch(n) for n in range(1, 4 * MOST)))
    log = Log(tmp_path / "log.jsonl")
    log.refresh(1)
    epochs = log.points["epoch"]
    assert MOST / 2 < len(epochs) <= MOST
    assert epochs[0] == 1
    assert len({b - a for a, b in itertools.pairwise(epochs)}) == 1
    assert log.last["epoch"] == 4 * MOST - 1


def test_the_time_left_goes_by_the_last_epochs(tmp_path):
    write_run(tmp_path, epoch(1, seconds=100.0), epoch(2, seconds=101.0), epoch(3, seconds=102.0))
    log = Log(tmp_path / "log.jsonl")
    log.refresh(1)
    assert log.seconds_a_step == pytest.approx(0.1)


# The state of a run


def test_a_run_that_trains_is_known_by_its_lock(tmp_path):
    write_run(tmp_path / "a", epoch(1), epoch(4))
    with another_process(HOLDER, tmp_path / "a") as process:
        found = run_in(state_of(tmp_path), "a")
        assert (found["state"], found["holder"]) == ("running", f"process {process.pid} on {socket.gethostname()}")
        assert found["ends_at"] == pytest.approx(found["written"] + 60 * 0.2, abs=0.2)
    process.wait()
    found = run_in(state_of(tmp_path), "a")
    assert (found["state"], found["ends_at"]) == ("interrupted", None)


@pytest.mark.parametrize(
    ("code", "text", "state"),
    [
        (143, "stopped by SIGTERM", "stopped"),
        (130, "KeyboardInterrupt", "stopped"),
        (5, "loss nan", "failed"),
        ("x", "<script>", "failed"),
    ],
)
def test_a_run_that_ended_early_says_why(tmp_path, code, text, state):
    write_run(tmp_path / "a", epoch(1), {"event": "ended", "exit_code": code, "text": text})
    found = run_in(state_of(tmp_path), "a")
    assert (found["state"], found["reason"][0]) == (state, text)


def test_a_run_on_another_machine_is_said_to_be_there(tmp_path):
    write_run(tmp_path / "a", epoch(1))
    (tmp_path / "a" / ".lock").write_text("process 1 on some-other-machine")
    assert run_in(state_of(tmp_path), "a")["state"] == "elsewhere"


def test_a_finished_run_has_its_scores(run):
    found = state_of(run.path.parent)["runs"][0]
    assert found["state"] == "finished"
    assert found["result"]["top1"] == pytest.approx(run.result["top1"], rel=1e-5)
    assert found["intact"]


# The folder


def test_a_page_that_follows_knows_what_a_page_that_comes_later_is_told(tmp_path):
    live, known = Live(tmp_path), {}
    mark = ""

    def follow():
        nonlocal mark
        live.refresh()
        news = live.since(mark)
        mark = news["mark"]
        for name in news["gone"]:
            del known[name]
        for run in news["runs"]:
            points, before = run.pop("points"), known.get(run["id"], (None, {name: [] for name in COLUMNS}))[1]
            if points is not None:
                whole = points.pop("whole")
                before = points if whole else {name: before[name] + points[name] for name in COLUMNS}
            known[run["id"]] = (run, before)
        return news

    follow()
    a, b = (write_run(tmp_path / name, epoch(1)) for name in "ab")
    assert len(follow()["runs"]) == 2
    RunFolder(a).log(epoch(2))
    news = follow()
    assert [run["name"] for run in news["runs"]] == ["a"], "b has not changed"
    assert follow()["runs"] == []
    for path in b.iterdir():
        path.unlink()
    b.rmdir()
    RunFolder(a).keep_log(2)
    RunFolder(a).log(epoch(5))
    follow()
    RunFolder(a).log(epoch(6))
    follow()
    whole = live.since("another board's.3")
    assert whole["whole"]
    assert len(known) == len(whole["runs"]) == 1
    for run in whole["runs"]:
        points = run.pop("points")
        del points["whole"]
        assert known[run["id"]] == (run, points)
    assert points["epoch"] == [1, 5, 6]


def test_only_what_has_changed_is_read(tmp_path, monkeypatch):
    for number in range(5):
        write_run(tmp_path / f"run{number}", epoch(1))
    live = Live(tmp_path)
    live.refresh()
    opened, real = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(path) or real(path, *more))
    assert not live.refresh()
    assert opened == []
    RunFolder(tmp_path / "run3").log(epoch(2))
    opened.clear()
    assert live.refresh()
    assert opened == [tmp_path / "run3" / "log.jsonl"]


def test_rounds_and_folds_belong_to_their_comparison(tmp_path):
    study = tmp_path / "deep" / "study"
    for name in ("lenet5-seed0", "heat-1/lenet5-seed0", "trials/1/lenet5-seed0", "alexnet-seed0/fold1"):
        write_run(study / name, epoch(1))
    for folder in (study, study / "heat-1", study / "trials" / "1"):
        (folder / "comparison.yaml").write_text("data: digits\n")
    write_run(tmp_path / "alone", epoch(1))
    (study / STUDY_NOTE).write_text(json.dumps({"runs": ["lenet5-seed0", "resnet20-seed0"]}))
    state = state_of(tmp_path)
    (found,) = state["studies"]
    assert (found["name"], found["waiting"]) == ("deep/study", ["resnet20-seed0"])
    own = {run["name"] for run in state["runs"] if run["study"] == found["id"]}
    assert own == {"lenet5-seed0", "heat-1/lenet5-seed0", "trials/1/lenet5-seed0", "alexnet-seed0/fold1"}
    assert [run["name"] for run in state["runs"] if run["study"] is None] == ["alone"]


@pytest.mark.parametrize(
    "failed", [{"lenet5-seed0": "cannot take 12 px images", "alexnet-seed0": "was begun"}, ["lenet5-seed0"], 3]
)
def test_a_run_that_failed_before_it_had_a_folder_does_not_wait(tmp_path, failed):
    study = tmp_path / "study"
    write_run(study / "alexnet-seed0", epoch(1))
    (study / "comparison.yaml").write_text("data: digits\n")
    (study / STUDY_NOTE).write_text(
        json.dumps({"runs": ["lenet5-seed0", "alexnet-seed0", "nin-seed0"], "failed": failed})
    )
    (found,) = state_of(tmp_path)["studies"]
    if isinstance(failed, dict):
        assert found["waiting"] == ["nin-seed0"]
        assert [(name, english) for name, (english, _) in found["failed"]] == [
            ("lenet5-seed0", "cannot take 12 px images")
        ]
    else:
        assert (found["waiting"], found["failed"]) == (["lenet5-seed0", "nin-seed0"], [])


def test_a_folder_may_itself_be_the_comparison(comparison):
    state = state_of(comparison)
    (found,) = state["studies"]
    assert (found["name"], found["state"]) == (comparison.name, "finished")
    assert {run["name"] for run in state["runs"]} == {"lenet5-seed0", "lenet5_modern-seed0"}


def test_the_leaderboard_and_the_verdict_are_those_on_disk(comparison):
    (found,) = state_of(comparison)["studies"]
    table = found["table"]
    lines = [",".join(cells) for cells in (table["columns"], *table["rows"])]
    assert lines == (comparison / "leaderboard.csv").read_text().replace('"', "").splitlines()
    report = (comparison / "report.md").read_text().replace("\\", "")
    assert found["verdict"]
    assert all(english in report and chinese for english, chinese in found["verdict"])


def test_the_leaderboard_of_what_has_finished_has_the_numbers_that_it_will_have(comparison):
    runs = [str(comparison / name) for name in ("lenet5-seed0", "lenet5_modern-seed0")]
    protocol = json.loads((comparison / "protocol.json").read_text())
    table = answer({"kind": "rank", "runs": runs, "protocol": protocol})["answer"]
    (found,) = state_of(comparison)["studies"]
    assert table == found["table"]


def test_links_strange_names_and_things_that_are_no_runs_are_no_trouble(tmp_path):
    write_run(tmp_path / "<img src=x onerror=alert(1)>", epoch(1), settings="model: '</script>'\ndata: [\n")
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    write_run(tmp_path / os.fsdecode(b"caf\xe9"), epoch(1))
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "log.jsonl")
    fifo = write_run(tmp_path / "fifo")
    (fifo / "log.jsonl").unlink()
    os.mkfifo(fifo / "log.jsonl")
    (tmp_path / "folder" / "settings.yaml").mkdir(parents=True)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "comparison.yaml").write_text("data: x\n")
    for name in ("leaderboard.csv", STUDY_NOTE):
        (tmp_path / "study" / name).write_bytes(b"\xff\x00")
    state = state_of(tmp_path)
    names = {run["name"] for run in state["runs"]}
    assert names == {"<img src=x onerror=alert(1)>", "caf\\xe9", "fifo"}
    json.dumps(state, allow_nan=False).encode()


def test_a_link_in_the_place_of_a_file_is_not_read(tmp_path):
    """In a folder that somebody else has packed it may lead to any file that the board may read."""
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: hidden\n")
    board = tmp_path / "board"
    for name in ("settings.yaml", "log.jsonl", "report.html"):
        run = write_run(board / name.partition(".")[0], epoch(1))
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(secret)
    live = Live(board)
    live.refresh()
    assert "hidden" not in json.dumps([run.settings.content for run in live.runs.values()])
    assert "hidden" not in json.dumps(live.since(""))
    assert not any(run.has_report for run in live.runs.values())


def test_links_to_runs_and_comparisons_are_followed_once_and_no_others(tmp_path):
    board, elsewhere = tmp_path / "board", tmp_path / "elsewhere"
    board.mkdir()
    for name in ("alone", "many/run", "study/lenet5-seed0"):
        write_run(elsewhere / name, epoch(1))
    (elsewhere / "study" / "comparison.yaml").write_text("data: digits\n")
    (elsewhere / "study" / "itself").symlink_to(elsewhere / "study")
    write_run(board / "study" / "nin-seed0", epoch(1))
    (board / "study" / "comparison.yaml").write_text("data: digits\n")
    links = {"a": elsewhere / "alone", "b": elsewhere / "alone", "c": elsewhere / "study", "d": elsewhere / "many"}
    for name, place in {**links, "best": board / "study" / "nin-seed0", "gone": tmp_path / "gone"}.items():
        (board / name).symlink_to(place)
    state = state_of(board)
    assert {study["name"] for study in state["studies"]} == {"study", "c"}
    owners = {study["id"]: study["name"] for study in state["studies"]}
    found = {(owners.get(run["study"]), run["name"]) for run in state["runs"]}
    assert found == {(None, "a"), ("c", "lenet5-seed0"), ("study", "nin-seed0")}
    tree = Tree(board)
    assert tree.places() == tree.places()
    (board / "a").unlink()
    assert {place.below.name for place in tree.places() if place.study is None and not place.is_study} == {"b"}


def test_a_hundred_runs_are_told_once_and_then_only_the_news(tmp_path):
    for number in range(100):
        write_run(tmp_path / f"run{number}", *(epoch(n) for n in range(1, 21)))
    live = Live(tmp_path)
    live.refresh()
    first = live.since("")
    assert len(first["runs"]) == 100
    RunFolder(tmp_path / "run7").log(epoch(21))
    live.refresh()
    news = live.since(first["mark"])
    assert len(json.dumps(news)) < len(json.dumps(first)) / 50


def test_more_folders_than_a_board_shows_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("podium.board.tree.MOST_RUNS", 3)
    for number in range(5):
        write_run(tmp_path / f"run{number}")
    tree = Tree(tmp_path)
    assert len(tree.places()) == 3
    assert tree.full


def test_a_long_look_keeps_nobody_waiting(tmp_path):
    write_run(tmp_path / "a", epoch(1))
    run = live_run(tmp_path, "a")
    live = Live(tmp_path)
    live.refresh()
    with live._lock, ThreadPoolExecutor(1) as other:
        assert other.submit(live.find, run.id).result(timeout=60).name == "a"


def test_pages_that_are_closed_leave_nothing_behind(tmp_path):
    async def watch():
        board = Board(tmp_path, Stopping(), control=False)
        for _ in range(3):
            stream = board.events(board.live.mark)
            await anext(stream)
            waits = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            waits.cancel()
            await asyncio.wait([waits])
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()), board.viewers

    assert asyncio.run(watch()) == (1, 0)


def test_what_a_page_that_closes_has_found_is_told_to_the_others(tmp_path):
    async def watch():
        board = Board(tmp_path, Stopping(), control=False)
        await board.refresh()
        news = board.news
        write_run(tmp_path / "a", epoch(1))
        closed = asyncio.create_task(board.refresh())
        await asyncio.sleep(0)  # its look has begun
        closed.cancel()
        await asyncio.wait([closed])
        await board.refresh()
        return news.is_set()

    assert asyncio.run(watch())


def test_a_board_writes_nothing(own_comparison):
    before = contents(own_comparison), {path: path.stat().st_mtime_ns for path in own_comparison.rglob("*")}
    one, two = (str(own_comparison / f"{name}-seed0") for name in ("lenet5", "lenet5_modern"))
    state_of(own_comparison)
    for question in ({"kind": "compare", "first": one, "second": two}, {"kind": "pictures", "run": one}):
        assert "answer" in answer(question)
    after = contents(own_comparison), {path: path.stat().st_mtime_ns for path in own_comparison.rglob("*")}
    assert after == before


# What the networks answered


def test_the_pictures_of_a_run_are_those_it_has_wrong(comparison):
    run = RunFolder(comparison / "lenet5_modern-seed0")
    found = answer({"kind": "pictures", "run": str(run.path)})["answer"]
    logits, labels = run.predictions
    wrong = logits.argmax(1) != labels
    assert (found["n"], found["right"]) == (len(labels), int((~wrong).sum()))
    assert sum(count for _, _, count, _ in found["cells"]) == wrong.sum()
    names = run.result["classes"]
    for truth, guess, count, numbers in found["cells"]:
        assert count == ((labels == truth) & (logits.argmax(1) == guess)).sum()
        for number in numbers:
            image = found["images"][number]
            assert (image["truth"], image["predicted"]) == (names[truth], names[guess])
            assert image["picture"]
    sure = [found["images"][number]["percent"] for number in found["mistakes"]]
    assert sure == sorted(sure, reverse=True)
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels), reduction="none")
    largest = sorted(loss.tolist(), reverse=True)
    assert [loss for _, loss in found["losses"]] == pytest.approx(largest[: len(found["losses"])], rel=5e-3)
    assert all(found["images"][number]["picture"] for number, _ in found["losses"])


def test_the_pictures_of_the_score_that_ranks_are_of_the_validation_images(comparison):
    run = RunFolder(comparison / "lenet5_modern-seed0")
    found = answer({"kind": "pictures", "run": str(run.path), "split": "val"})["answer"]
    logits, labels = run.validation
    assert (found["split"], found["n"], found["right"]) == ("val", len(labels), int((logits.argmax(1) == labels).sum()))
    assert all(image["picture"] for image in found["images"])


def test_two_runs_are_compared_as_podium_diff_compares_them(comparison):
    import podium

    one, two = (comparison / f"{name}-seed0" for name in ("lenet5", "lenet5_modern"))
    found = answer({"kind": "compare", "first": str(one), "second": str(two)})["answer"]
    expected = podium.diff(one, two, progress=False)
    assert found["table"] == expected.table
    english, chinese = found["verdict"]
    assert english.split(".")[0] == expected.verdict().split(".")[0]
    assert chinese
    assert found["disagreements"]["first"]["count"] == len(expected.rows("first"))


def test_a_damaged_run_is_an_answer_that_says_so(own_comparison):
    folder = own_comparison / "lenet5-seed0"
    (folder / "predictions.npz").write_bytes(b"PK")
    said = answer({"kind": "pictures", "run": str(folder)})
    assert "damaged" in said["error"]
    assert said["fix"]


# Stopping and resuming


def live_run(root, name):
    live = Live(root)
    live.refresh()
    return next(run for run in live.runs.values() if run.name == name)


def test_only_the_process_that_holds_the_lock_is_stopped(tmp_path):
    write_run(tmp_path / "a", epoch(1))
    with another_process(HOLDER, tmp_path / "a") as process:
        assert Control().stop(live_run(tmp_path, "a")) == process.pid
        assert process.wait() == -signal.SIGTERM
    with another_process("print(1, flush=True); import signal; signal.pause()") as process:
        (tmp_path / "a" / ".lock").write_text(f"process {process.pid} on {socket.gethostname()}")
        with pytest.raises(MachineError, match="no process of yours"):
            Control().stop(live_run(tmp_path, "a"))
        assert process.poll() is None


STOPPER = """
import sys
from pathlib import Path
from podium.board.platform import stop_holder
print(stop_holder(Path(sys.argv[1])), flush=True)
sys.exit(stop_holder(Path(sys.argv[1])) != int(sys.argv[2]))
"""


def test_who_says_stop_twice_loses_no_checkpoint(tmp_path):
    write_run(tmp_path / "a", epoch(1))
    code = """
import sys, signal
from podium.runs.folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print("held", flush=True)
    signal.sigwait({signal.SIGTERM})
    print("told", flush=True)
    print(signal.sigtimedwait({signal.SIGTERM}, float(sys.argv[2])), flush=True)
"""
    with another_process(code, tmp_path / "a", 1) as process:
        run = live_run(tmp_path, "a")
        assert Control().stop(run) == process.pid
        assert process.stdout.readline() == b"told\n"
        assert Control().stop(run) == process.pid, "it is being stopped, also where another board is told to"
        with another_process(STOPPER, tmp_path / "a" / ".lock", process.pid) as board:
            assert board.wait() == 0
        assert process.stdout.readline() == b"None\n", "a second signal would have ended it at once"


def test_a_run_of_a_comparison_is_not_stopped_by_itself(tmp_path):
    write_run(tmp_path / "lenet5-seed0", epoch(1))
    (tmp_path / "comparison.yaml").write_text("data: digits\n")
    with another_process(HOLDER, tmp_path / "lenet5-seed0") as process:
        with pytest.raises(UsageError, match="is a run of a comparison"):
            Control().stop(live_run(tmp_path, "lenet5-seed0"))
        assert process.poll() is None


def test_a_run_is_resumed_by_its_folder_and_a_comparison_by_its_command(tmp_path):
    words = ["--json", "compare", "digits", "-o", "elsewhere"]
    study = tmp_path / "study"
    write_run(study / "lenet5-seed0", epoch(1))
    (study / "comparison.yaml").write_text("data: digits\n")
    (study / STUDY_NOTE).write_text(json.dumps({"command": {"words": words, "folder": str(tmp_path)}}))
    run = write_run(tmp_path / "alone", epoch(1))
    live = Live(tmp_path)
    live.refresh()
    by_name = {each.name: each for each in (*live.runs.values(), *live.studies.values())}
    assert command_of(by_name["alone"]) == (["train", "--resume", "-o", str(run)], run)
    assert command_of(by_name["study"]) == ([*words, "-o", str(study)], tmp_path)
    with pytest.raises(UsageError, match="is a run of a comparison"):
        command_of(by_name["lenet5-seed0"])


@pytest.mark.parametrize(
    "command",
    [
        None,
        1,
        {},
        {"words": 1},
        {"words": ["train", "compare"]},
        {"words": [], "folder": "/"},
        {"words": ["compare"], "folder": "gone"},
    ],
)
def test_a_command_on_record_that_is_no_comparison_is_refused(tmp_path, command):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "comparison.yaml").write_text("data: digits\n")
    (tmp_path / "study" / STUDY_NOTE).write_text(json.dumps({"command": command}))
    live = Live(tmp_path)
    live.refresh()
    (study,) = live.studies.values()
    with pytest.raises(UsageError, match=r"on record|is gone"):
        command_of(study)


def test_what_is_finished_or_trains_is_not_resumed(run, tmp_path):
    with pytest.raises(UsageError, match="is finished"):
        Control().resume(live_run(run.path.parent, "lenet"))
    write_run(tmp_path / "a", epoch(1))
    with another_process(HOLDER, tmp_path / "a"), pytest.raises(UsageError, match="trains already"):
        Control().resume(live_run(tmp_path, "a"))


def test_two_resumes_at_once_start_one_process(tmp_path, monkeypatch):
    write_run(tmp_path / "a", epoch(1))
    run, control, started = live_run(tmp_path, "a"), Control(), []
    meeting = threading.Barrier(2)

    class Started:
        pid = 7

        def __init__(self, words, env, **_):
            started.append((words, env))
            with suppress(threading.BrokenBarrierError):  # nobody else comes
                meeting.wait(timeout=0.5)

        def poll(self):
            return None

    monkeypatch.setattr(subprocess, "Popen", Started)
    with ThreadPoolExecutor(2) as people:
        answers = [people.submit(control.resume, run) for _ in range(2)]
    assert [type(answer.exception()) for answer in answers].count(UsageError) == 1
    ((words, environment),) = started
    control.started[run.id].said.close()
    assert words[1:] == ["-P", "-m", "podium", "train", "--resume", "-o", str(run.folder)]
    assert environment["PYTHONSAFEPATH"] == "1", "a torch.py in the folder is none of ours"
    assert "PODIUM_TOKEN" not in environment


def test_the_command_that_a_resume_starts_is_told_before(tmp_path):
    write_run(tmp_path / "lenet5-seed0", epoch(1))
    (tmp_path / "comparison.yaml").write_text("data: digits\n")
    words = ["compare", "my photos", "--cluster", "ray://somewhere:10001"]
    (tmp_path / STUDY_NOTE).write_text(json.dumps({"command": {"words": words, "folder": "/"}}))
    assert state_of(tmp_path)["studies"][0]["again"] == "podium compare 'my photos' --cluster ray://somewhere:10001"


def test_the_board_itself_needs_neither_torch_nor_numpy():
    code = "import sys, podium.board.app; print(sorted({'torch', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.strip() == "[]", done.stderr
