"""How a recommendation came about is on record, and another protocol is another ranking of the same runs."""

import json
import shutil

import pytest

from command import inside
from podium.comparison.candidates import Choice
from podium.comparison.protocol import Protocol

USUAL = {
    "rank_by": "top1",
    "rank_on": "val",
    "within": 1.0,
    "max_latency_ms": None,
    "max_size_bytes": None,
    "max_params": None,
    "max_macs": None,
    "finetune": None,
    "heats": None,
    "seeds": 1,
    "folds": None,
}


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(), ""),
        (Choice(heats=3, jobs=2), ""),  # which is said with the training
        (Choice(rank_by="macro-f1"), "by macro-F1"),
        (Choice(rank_on="test", within=0.0), "on the same held-out images that report; within 0 points of the best"),
        (Choice(max_latency=20.0, max_size=10e6), "at most 20 ms for an image and 10 MB"),
        (Choice(max_params=5e6, finetune=2), "networks of at most 5.0M parameters; the best 2 by linear probe"),
    ],
)
def test_the_report_names_what_differs_from_the_default(choice, words):
    assert Protocol.of(choice, 1, None).words() == words


def test_the_record_is_that_of_the_last_ranking_and_the_same_runs_are_ranked(comparison, tmp_path):
    out = tmp_path / "board"
    shutil.copytree(comparison, out)
    assert json.loads((out / "protocol.json").read_text()) == USUAL
    assert "Ranking" not in (out / "report.html").read_text()
    weights = {path: path.stat().st_mtime_ns for path in out.glob("*/model.safetensors")}
    words = ("compare", "digits", "-m", "lenet5_modern,lenet5", "--epochs", "1", "-o", out)
    done = inside(*words, "--within", "2.5", "--rank-by", "balanced-accuracy", "--max-size", "9MB", "--json")
    assert done.returncode == 0, done.stderr
    now = USUAL | {"within": 2.5, "rank_by": "balanced-accuracy", "max_size_bytes": 9e6}
    assert json.loads((out / "protocol.json").read_text()) == json.loads(done.stdout)["protocol"] == now
    text = " ".join((out / "report.html").read_text().split())
    assert "by balanced accuracy; within 2.5 points of the best; at most 9 MB" in text
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/model.safetensors")} == weights
