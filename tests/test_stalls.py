"""A run that goes nowhere says so, with the likely cause; single bad steps may be left out, small remainders never fail."""

import json
import logging
import math

import pytest
import torch

import podium
from podium.errors import NumericError, UsageError
from podium.settings import Settings
from podium.training import stalls, step
from podium.training.stalls import WINDOW, StallDetector
from test_training import toy

QUICK = {"epochs": 2, "batch_size": 16, "image_size": 32}


def said(losses, norms):
    """What is said over these steps, if anything is."""
    detector = StallDetector(classes=10)
    return [text for loss, norm in zip(losses, norms, strict=True) if (text := detector.update(loss, norm)) is not None]


def test_a_gradient_of_nothing_is_said_once_with_its_cause():
    assert len(said([1.7] * 3 * WINDOW, [0.0] * 3 * WINDOW)) == 1
    assert "frozen" in said([1.7] * WINDOW, [0.0] * WINDOW)[0]
    assert "labels" in said([0.0] * WINDOW, [0.0] * WINDOW)[0]
    assert said([1.7] * (WINDOW - 1), [0.0] * (WINDOW - 1)) == []
    assert said([1.7, 1.8] * WINDOW, ([0.0] * (WINDOW - 1) + [0.1]) * 2) == [], "one that moves begins the count again"


def test_a_loss_that_stays_at_guessing_is_said():
    (text,) = said([math.log(10) + 0.002 * (n % 3) for n in range(2 * WINDOW)], [0.1] * 2 * WINDOW)
    assert "2.305" in text
    assert "labels" in text


def test_a_run_that_learns_or_is_done_is_not_accused():
    assert said([math.log(10) - 0.001 * n for n in range(500)], [0.1] * 500) == []
    assert said([0.01 + 0.00001 * (n % 2) for n in range(500)], [1e-4] * 500) == []


def test_the_warning_is_in_the_log_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stalls, "WINDOW", 4)
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    for parameter in net.head.classifier.parameters():  # nothing behind it learns
        parameter.requires_grad_(False).zero_()
    run = podium.train(net, toy(size=32), tmp_path / "run", **QUICK)
    (row,) = [row for row in run.rows() if row["event"] == "warning"]
    assert row["step"] == 3, "the fourth step"
    assert run.finished
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert said.getMessage().startswith("the gradient has been zero for 4 steps")


def test_a_network_frozen_as_a_whole_is_refused(tmp_path):
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1).requires_grad_(False)
    with pytest.raises(UsageError, match="frozen as a whole"):
        podium.train(net, toy(size=32), tmp_path / "run", **QUICK)


@pytest.fixture
def poisoned(monkeypatch):
    """Steps whose loss is not a number."""

    def poison(*steps):
        places = {f"before:{number}" for number in steps}
        monkeypatch.setattr(step, "fault", lambda place: float("nan") if place in places else 0.0)

    return poison


def test_a_step_that_is_not_finite_may_be_left_out(tmp_path, poisoned, caplog):
    poisoned(2)
    run = podium.train("resnet20", toy(), tmp_path / "run", on_nan="skip:1", **QUICK)
    assert run.result["steps"] == 12
    assert all(bool(torch.isfinite(t).all()) for t in podium.load(run.path).model.state_dict().values())
    (row,) = [row for row in run.rows() if row["event"] == "warning"]
    assert row["step"] == 2
    assert len(row["images"]) == 16
    assert "left out" in row["text"]
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "step 2 left out" in said.getMessage()


def test_no_more_than_so_many_and_a_resume_remembers_how_many(tmp_path, poisoned):
    poisoned(2, 7)
    for resume in (False, True):
        with pytest.raises(NumericError, match="step 7"):
            podium.train("lenet5_modern", toy(), tmp_path / "run", resume=resume, on_nan="skip:1", **QUICK)
    assert json.loads((tmp_path / "run" / "nan_report.json").read_text())["step"] == 7


@pytest.mark.parametrize("text", ["skip", "skip:-1", "skip:x", "ignore"])
def test_what_on_nan_takes(text):
    with pytest.raises(UsageError, match="on_nan"):
        Settings(on_nan=text)


@pytest.mark.parametrize("rest", [1, 15])
def test_a_last_batch_of_one_image_is_no_trouble_for_batch_norm(tmp_path, rest):
    """Training leaves an incomplete batch for other epochs; judging takes it, with the statistics that are stored."""
    run = podium.train("resnet20", toy(n=32 + rest, test=16 + 1), tmp_path / "run", **{**QUICK, "epochs": 1})
    assert run.result["steps"] == 2
    assert run.result["n"] == 17


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "inception_v3"])
def test_an_image_smaller_than_the_network_needs_is_refused_before_training(podium, name, tmp_path):
    asked = ["--image-size", "8", "--no-small", "--steps", "1", "-o", "run"]
    podium("train", name, "digits", *asked).refused(2, name, "8")
    assert not (tmp_path / "run" / "settings.yaml").exists()


def test_what_the_library_logs_is_printed_by_the_command_line_alone(podium, monkeypatch):
    from podium.cli import models

    def run(arguments):
        logging.getLogger("podium").warning("of something")
        logging.getLogger("podium").info("on something")
        return 0

    monkeypatch.setattr(models, "run", run)
    assert podium("models").err == "warning: of something\nnote: on something\n"
    assert logging.getLogger("podium").handlers == []
