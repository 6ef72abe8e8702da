"""What runs and comparisons leave on disk for those who read along: why a run ended early, and what a comparison is about to do."""

import json
import os
import signal

import pytest

from podium.errors import UsageError
from podium.runs.folder import ENDED, InUse, RunFolder
from podium.runs.recommended import STUDY_NOTE, read_study_note
from podium.training.interrupt import Stopped

COMPARE = ("compare", "digits", "-m", "lenet5_modern,lenet5", "--steps", "3", "--jobs", "1")


def test_the_log_says_that_a_run_was_stopped_and_a_resume_takes_it_out(small_set, tmp_path):
    import podium

    def stop(step, steps, shown):
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        podium.train("lenet5_modern", small_set, tmp_path / "run", steps=4, progress=stop)
    run = RunFolder(tmp_path / "run")
    row = run.rows()[-1]
    assert (row["event"], row["exit_code"]) == (ENDED, 143)
    assert row["text"].startswith("stopped by SIGTERM after step 2 of 4")
    podium.train("lenet5_modern", small_set, tmp_path / "run", resume=True)
    assert [row["event"] for row in run.rows()] == ["start", "epoch", "done"]


def test_the_log_says_why_a_run_failed(small_set, tmp_path):
    import podium
    from podium.errors import NumericError

    with pytest.raises(NumericError) as failed:
        podium.train("lenet5_modern", small_set, tmp_path / "run", steps=60, lr=999.0, optimizer="sgd", patience=0)
    row = RunFolder(tmp_path / "run").rows()[-1]
    assert (row["event"], row["exit_code"], row["text"]) == (ENDED, 5, failed.value.what)


def test_what_is_refused_before_a_run_begins_leaves_no_row(small_set, tmp_path):
    import podium

    with pytest.raises(UsageError):
        podium.train("lenet5_modern", small_set, tmp_path / "run", steps=4, image_size=3)
    assert not (tmp_path / "run").exists()


def test_a_comparison_notes_its_command_its_runs_and_its_verdict(comparison):
    note = read_study_note(comparison)
    assert note["command"]["words"][:2] == ["compare", "digits"]
    assert note["command"]["folder"] == os.getcwd()
    assert note["runs"] == ["lenet5_modern-seed0", "lenet5-seed0"]
    assert note["protocol"] == json.loads((comparison / "protocol.json").read_text())
    report = (comparison / "report.md").read_text().replace("\\", "")
    assert all(sentence in report for sentence in note["verdict"])


def test_a_comparison_notes_which_runs_cannot_be_trained(small_set, tmp_path):
    import podium

    podium.compare(
        ["lenet5", "lenet5_modern", "resnet20"], small_set, tmp_path / "board", steps=2, image_size=12, seeds=2
    )
    note = read_study_note(tmp_path / "board")
    assert sorted(note["failed"]) == [f"{name}-seed{seed}" for name in ("lenet5", "lenet5_modern") for seed in (0, 1)]
    assert all("12 px" in why for why in note["failed"].values())
    assert not (tmp_path / "board" / "lenet5-seed0").exists()


def test_a_second_comparison_in_a_folder_is_told_who_has_it(own_comparison):
    from command import inside

    with RunFolder(own_comparison).locked():
        done = inside(*COMPARE[:4], "--epochs", "1", "-o", own_comparison)
    assert done.returncode == InUse.exit_code
    assert f"in use by process {os.getpid()} on " in done.stderr


def test_a_note_that_is_damaged_says_nothing(tmp_path):
    assert read_study_note(tmp_path) == {}
    for text in ("[1]", "{", '{"a": ' * 100_000):
        (tmp_path / STUDY_NOTE).write_text(text)
        assert read_study_note(tmp_path) == {}
