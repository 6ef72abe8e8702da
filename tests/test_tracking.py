"""Runs in MLflow and TensorBoard: sent from their folders, read back with MLflow's own client and from the event files."""

import json
import logging
import shutil
import struct
import threading

import pytest

import podium as library
from podium.errors import MachineError, UsageError
from podium.runs.folder import LOG, RESULT, RunFolder
from podium.settings import read_file
from podium.tracking import following as following_module
from podium.tracking import notes
from podium.tracking.following import following
from podium.tracking.mlflow_runs import MLflow, without_passwords

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow and SQLAlchemy about themselves
NOWHERE = "http://127.0.0.1:9"  # where nothing answers


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A local store of MLflow, whose tables take seconds to make."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tables, tmp_path, monkeypatch):
    """MLflow's own client of an empty store, which MLFLOW_TRACKING_URI names; the current folder is empty."""
    import mlflow

    shutil.copy(tables, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def copied(run, tmp_path):
    """A finished run that a test may change."""
    shutil.copytree(run.path, tmp_path / "lenet")
    return RunFolder(tmp_path / "lenet")


def runs_of(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def steps(client, run_id, metric="train_loss"):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, metric)]


def log_of(folder, metric="train_loss"):
    return [(row["step"], row[metric]) for row in folder.epochs]


# --- MLflow


@pytest.mark.slow
def test_a_run_is_in_mlflow_with_parameters_metrics_and_files(store, podium):
    said = podium("train", "lenet5_modern", "digits", "--epochs", 2, "-o", "a", "--log-to", "mlflow", "--json")
    assert said.code == 0
    (sent,) = runs_of(store, "digits")
    folder, result = RunFolder("a"), RunFolder("a").result
    assert (sent.info.run_name, sent.info.status) == ("a", "FINISHED")
    settings = read_file(folder / "settings.yaml")
    assert sent.data.params == {key: str(value) for key, value in settings.items() if value is not None}
    assert steps(store, sent.info.run_id) == log_of(folder)
    split = result["split"]  # which is also evaluated after each epoch
    assert steps(store, sent.info.run_id, f"{split}_top1") == log_of(folder, "top1")
    assert sent.data.metrics[f"{split}_macro_f1"] == result["macro_f1"]
    assert sent.data.metrics["macs"] == result["macs"]
    files = {file.path for file in store.list_artifacts(sent.info.run_id)}
    assert files == {"settings.yaml", "log.jsonl", "result.json", "report.html", "model.safetensors", "card.json"}
    assert podium("train", "--resume", "-o", "a").code == 0  # and is left as it is there too
    assert [each.info.run_id for each in runs_of(store, "digits")] == [sent.info.run_id]
    assert steps(store, sent.info.run_id) == log_of(folder)


@pytest.mark.slow
def test_a_killed_run_goes_on_in_its_own_and_is_closed_and_no_point_is_there_twice(store, copied):
    whole, end = (copied / LOG).read_bytes(), (copied / RESULT).read_bytes()
    (copied / RESULT).unlink()
    (copied / LOG).write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))  # the start and an epoch
    MLflow(copied.path, False).send()
    (begun,) = runs_of(store, "digits")
    assert begun.info.status == "RUNNING"
    assert steps(store, begun.info.run_id) == log_of(copied)
    assert len(log_of(copied)) == 1

    (copied / LOG).write_bytes(whole)
    (copied / RESULT).write_bytes(end)
    for _ in range(2):
        again = MLflow(copied.path, False)
        again.send()
        again.end("FINISHED")
        (ended,) = runs_of(store, "digits")
        assert (ended.info.run_id, ended.info.status) == (begun.info.run_id, "FINISHED")
        assert steps(store, ended.info.run_id) == log_of(copied)
        assert len(log_of(copied)) == 2


@pytest.mark.slow
def test_a_stopped_run_is_killed_there_until_it_is_resumed(store, copied):
    (copied / RESULT).unlink()
    first = MLflow(copied.path, False)
    first.send()
    first.end("KILLED")
    (stopped,) = runs_of(store, "digits")
    assert stopped.info.status == "KILLED"
    MLflow(copied.path, False).send()
    assert store.get_run(stopped.info.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_a_run_that_was_deleted_there_or_is_sent_elsewhere_is_made_anew(store, tables, copied, tmp_path, monkeypatch):
    MLflow(copied.path, False).send()
    (first,) = runs_of(store, "digits")
    store.delete_run(first.info.run_id)
    MLflow(copied.path, False).send()
    (second,) = runs_of(store, "digits")
    assert second.info.run_id != first.info.run_id
    assert steps(store, second.info.run_id) == log_of(copied)

    import mlflow

    shutil.copy(tables, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := f"sqlite:///{tmp_path / 'other.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    MLflow(copied.path, False).send()
    (elsewhere,) = runs_of(mlflow.MlflowClient(uri), "mine")
    assert elsewhere.info.status == "FINISHED"


@pytest.mark.slow
def test_the_runs_of_a_comparison_are_nested_in_one(store, podium):
    words = ("compare", "digits", "-m", "lenet5,lenet5_modern", "--steps", 2, "-o", "board")
    said = podium(*words, "--log-to", "mlflow", "--json")
    parent, *_ = [run for run in runs_of(store, "board") if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs_of(store, "board") if run is not parent and "mlflow.parentRunId" in run.data.tags]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    named = {run.info.run_name: run for run in children}
    assert set(named) == {"lenet5-seed0", "lenet5_modern-seed0"}
    assert {run.info.status for run in children} == {"FINISHED"}
    result = RunFolder("board/lenet5-seed0").result
    assert steps(store, named["lenet5-seed0"].info.run_id, "test_top1") == [(2, result["top1"])]
    assert steps(store, named["lenet5-seed0"].info.run_id, "val_top1") == log_of(
        RunFolder("board/lenet5-seed0"), "top1"
    )
    assert steps(store, named["lenet5-seed0"].info.run_id) == log_of(RunFolder("board/lenet5-seed0"))
    best = said.json["best"]
    assert parent.data.tags.get("recommended") == (RunFolder(best).result["model"] if best else None)
    files = {file.path for file in store.list_artifacts(parent.info.run_id)}
    assert files == {"report.html", "leaderboard.csv", "comparison.yaml", "protocol.json"}
    before = {run.info.run_id: run.info.end_time for run in children}
    assert podium(*words).code == said.code  # goes on where it was
    again = {r.info.run_id: r.info.end_time for r in runs_of(store, "board") if r.info.run_id != parent.info.run_id}
    assert again == before
    assert store.get_run(parent.info.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_does_not_answer_costs_a_warning_and_what_is_missing_is_sent_later(store, podium, monkeypatch):
    uri = f"sqlite:///{RunFolder('.').path.resolve() / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE.replace("//", "//me:secret@"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = podium("train", "lenet5_modern", "digits", "--steps", 3, "-o", "a", "--log-to", "mlflow")
    assert said.code == 0
    warnings = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1, said.err
    assert f"MLflow at {NOWHERE}" in warnings[0]
    command = "podium train --resume -o a --log-to mlflow"
    assert warnings[0].endswith(f"To send it later: {command}")
    assert "secret" not in said.err + (RunFolder("a") / "tracking.json").read_text()
    assert RunFolder("a").intact

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert podium(*command.split()[1:]).code == 0
    (sent,) = runs_of(store, "digits")
    assert sent.info.status == "FINISHED"
    assert steps(store, sent.info.run_id) == log_of(RunFolder("a"))


def test_an_address_is_kept_without_its_password():
    assert without_passwords("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert without_passwords("of http://u:p@a and sqlite:////tmp/a@b.db") == "of http://a and sqlite:////tmp/a@b.db"


# --- TensorBoard


def summaries(folder):
    """(tag, step, value) of every scalar in a folder of events, and the metadata of all else by tag."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, others = [], {}
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += size + 16
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.append((value.tag, event.step, value.simple_value))
                else:
                    others[value.tag] = value
    return scalars, others


def test_tensorboard_gets_hyper_parameters_and_final_scores_once(podium):
    words = ("train", "lenet5_modern", "digits", "--steps", 3, "-o", "a", "--log-to", "tensorboard")
    assert podium(*words).code == 0
    assert podium("train", "--resume", "-o", "a", "--log-to", "tensorboard").code == 0
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    result = RunFolder("a").result
    scalars, others = summaries(RunFolder("a") / "events")
    ((step, loss),) = log_of(RunFolder("a"))
    assert [row[1:] for row in scalars if row[0] == "train_loss"] == [(step, pytest.approx(loss, rel=1e-6))]
    final = [(step, value) for tag, step, value in scalars if tag == f"{result['split']}_top1"]
    assert final == [(3, pytest.approx(result["top1"]))]
    start = others["_hparams_/session_start_info"].metadata.plugin_data.content
    given = HParamsPluginData.FromString(start).session_start_info.hparams
    settings = read_file(RunFolder("a") / "settings.yaml")
    assert {key for key, value in settings.items() if value is not None} == set(given)
    assert given["lr"].number_value == settings["lr"]
    assert given["model"].string_value == "lenet5_modern"
    assert b"model: lenet5_modern" in b"".join(others["settings/text_summary"].tensor.string_val)


@pytest.mark.slow
def test_the_run_that_is_the_best_trial_of_tuning_is_one_of_its_own_in_both(store):
    pytest.importorskip("optuna")
    how = {"tune": ["lr"], "trials": 2, "steps": 3, "jobs": 1, "workers": 0, "log_to": "mlflow,tensorboard"}
    library.compare(["lenet5"], "digits", "board", **how)
    sent = {each.info.run_name: each for each in runs_of(store, "board")}
    assert set(sent) == {"board", "lenet5-seed0", "trials/1/lenet5-seed0", "trials/2/lenet5-seed0"}
    assert len({each.info.run_id for each in sent.values()}) == 4
    assert steps(store, sent["lenet5-seed0"].info.run_id) == log_of(RunFolder("board/lenet5-seed0"))
    scalars, _ = summaries(RunFolder("board/lenet5-seed0") / "events")
    assert [tag for tag, *_ in scalars].count("macs") == 1  # what the copied trial had


# --- what is followed


def test_names_that_are_no_trackers_are_refused(podium, tmp_path):
    podium("train", "lenet5", "digits", "--log-to", "mlfow").refused(2, "log_to: 'mlfow'", "mlflow")
    podium("compare", "digits", "--log-to", "wandb").refused(2, "log_to: 'wandb'", "mlflow or tensorboard")
    with pytest.raises(UsageError, match="tensorbord"):
        library.train("lenet5", "digits", tmp_path / "a", log_to=["tensorbord"])
    assert not (tmp_path / "a").exists()


def test_mlflow_that_is_not_installed_is_said_before_anything_is_trained(podium, tmp_path, monkeypatch):
    monkeypatch.setattr(notes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"podium\[mlflow\]"):
        library.compare(["lenet5"], "digits", tmp_path / "a", log_to="mlflow")
    assert not (tmp_path / "a").exists()


class Fails:
    """A tracker of which nothing is known but that it fails."""

    name, place, calls = "mlflow", "MLflow at nowhere", 0

    def send(self):
        self.calls += 1
        raise ConnectionError("no answer")

    def end(self, status):
        raise AssertionError("nothing is open")


def test_a_tracker_that_fails_is_said_once_and_tried_again(tmp_path, monkeypatch, caplog):
    fails = Fails()
    monkeypatch.setattr(following_module, "OFTEN", 0.001)
    monkeypatch.setattr(following_module, "AGAIN", 0.001)
    monkeypatch.setattr(following_module, "MLflow", lambda *_: fails)
    with caplog.at_level(logging.INFO, "podium"), following(tmp_path, ["mlflow"], "do it again") as follower:
        follower.begin()
        while fails.calls < 3:
            pass
    assert [record.message for record in caplog.records][-1] == (
        "not all is in MLflow at nowhere. To send the rest: do it again"
    )
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "MLflow at nowhere has not taken what was sent (ConnectionError: no answer). The training goes on, and sends it when "
        "it can. To send it later: do it again"
    ]
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"log_to": ["mlflow"]}
    with following(tmp_path, [], "") as resumed:
        assert resumed.names == ("mlflow",)


class Silent(Fails):
    """A tracker that answers after the command has ended."""

    def __init__(self):
        self.free = threading.Event()

    def send(self):
        self.free.wait()


def test_a_stopped_command_does_not_wait_for_a_tracker_that_says_nothing(tmp_path, monkeypatch, caplog):
    silent = Silent()
    monkeypatch.setattr(following_module, "OFTEN", 0.001)
    monkeypatch.setattr(following_module, "LAST", 0.001)
    monkeypatch.setattr(following_module, "MLflow", lambda *_: silent)
    follower = following_module.Following(tmp_path, ["mlflow"], False, "do it again")
    follower.begin()
    with caplog.at_level(logging.INFO, "podium"):
        follower.end("KILLED")
    assert [record.message for record in caplog.records] == [
        "sending the last of it to MLflow at nowhere",
        "not all is in MLflow at nowhere. To send the rest: do it again",
    ]
    silent.free.set()


def test_nothing_is_sent_of_a_command_that_is_refused(copied, monkeypatch):
    monkeypatch.setattr(following_module.Following, "_follow", lambda self: pytest.fail("it was followed"))
    with pytest.raises(UsageError, match="exists already"):
        library.train("lenet5_modern", "digits", copied.path, log_to="tensorboard")
    assert not (copied / notes.NOTE).exists()
