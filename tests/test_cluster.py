"""Runs on a cluster: the same board as on one machine, a lost one is repeated and no other, and what cannot work is refused."""

import dataclasses
import hashlib
import os
import re
import shutil
import signal
import tempfile
from multiprocessing.reduction import ForkingPickler

import psutil
import pytest
import torch

import podium as library
from podium.comparison.candidates import Candidate
from podium.comparison.running import cluster as running
from podium.comparison.running import on_ray, on_slurm, task
from podium.comparison.running.beside import Request
from podium.comparison.running.cluster import TRIES, Cluster
from podium.comparison.running.on_ray import RayTasks
from podium.comparison.running.side_by_side import Calls, Lost
from podium.comparison.running.task import Gone, Outcome, Task, perform
from podium.comparison.schedule import Schedule
from podium.data.pack import Pack, PackImages
from podium.errors import MachineError, NumericError, UsageError
from podium.runs.folder import SETTINGS, RunFolder
from podium.settings import Settings
from podium.training.interrupt import Stopped
from test_jobs import process_of, same_runs

NETWORKS = ["lenet5", "resnet20", "zfnet"]  # the last takes no images as small
HOW = {"steps": 150, "batch_size": 16, "image_size": 28, "small": False, "checkpoint_every": "1s"}
SAME = (
    "model",
    "seeds",
    "top1",
    "macro_f1",
    "loss",
    "score",
    "behind",
    "behind_at_most",
    "worse",
    "recommended",
    "error",
)


@pytest.fixture(scope="module")
def alone(small_set, tmp_path_factory):
    """The comparison one after the other, in the process of the test."""
    out = tmp_path_factory.mktemp("alone")
    return out, library.compare(NETWORKS, small_set, out, jobs=1, threads=1, **HOW)


def same_board(one, other):
    """Whether two comparisons have the same table, but for what tells of time."""
    rows = [[[row.get(key) for key in SAME] for row in board.to_list()] for board in (one, other)]
    assert rows[0] == rows[1]


class Handed:
    """Counts the tasks of each run."""

    def __init__(self, monkeypatch, kind):
        self.runs = []
        begin = kind.begin

        def counted(tasks, each):
            self.runs.append(each.request.path.name.removesuffix("-seed0"))
            return begin(tasks, each)

        monkeypatch.setattr(kind, "begin", counted)


def at_first_epoch(do):
    """Progress that does something at the first epoch of resnet20, once."""
    done = []

    def progress(number, count, model, seed, step, steps, shown):
        if model == "resnet20" and "event" in shown and not done:
            done.append(step)
            do()

    return progress


@pytest.fixture
def no_process_left():
    """Whether the test ends all processes that it has started."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not [child.name() for child in left if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_on_a_ray_of_two_workers_only_the_run_of_a_killed_one_is_repeated(
    alone, small_set, tmp_path, monkeypatch, caplog, capfd, no_process_left
):
    run, handed = tmp_path / "resnet20-seed0", Handed(monkeypatch, RayTasks)
    kill = at_first_epoch(lambda: os.kill(process_of(run), signal.SIGKILL))
    board = library.compare(NETWORKS, small_set, tmp_path, cluster="local", jobs=2, progress=kill, **HOW)
    assert sorted(handed.runs) == ["lenet5", "resnet20", "resnet20", "zfnet"]
    assert "resnet20: its process was ended from outside; another one goes on with it (1 of 3)" in caplog.text
    same_runs(alone[0], tmp_path)
    same_board(alone[1], board)
    assert RunFolder(run).result["bit_comparable"]
    assert "threads: 1  # by --cluster: 1 thread a task" in (run / SETTINGS).read_text().splitlines()
    assert not (tmp_path / running.FOLDER).exists()
    said = capfd.readouterr()  # of Ray, of its worker that was killed, and of the other one
    assert said.out == ""
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_a_stop_reaches_the_runs_on_ray_which_save_and_go_on(alone, small_set, tmp_path, monkeypatch, no_process_left):
    stop = at_first_epoch(lambda: signal.raise_signal(signal.SIGTERM))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    others = {"cluster": "local", "jobs": 2, **HOW}
    with pytest.raises(Stopped, match=r"resnet20 stopped by SIGINT after step \d+ of 150; the checkpoint") as one:
        library.compare(NETWORKS, small_set, tmp_path, progress=stop, **others)
    assert one.value.exit_code == 143
    assert "go on with the same comparison" in one.value.fix
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    handed = Handed(monkeypatch, RayTasks)
    same_board(alone[1], library.compare(NETWORKS, small_set, tmp_path, **others))
    assert "resnet20" in handed.runs
    same_runs(alone[0], tmp_path)


def test_a_ray_has_a_folder_whose_name_is_short_enough_for_its_sockets(monkeypatch):
    for long in ("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T", "/scratch/somebody/slurm_tmpdir/job.1234567"):
        monkeypatch.setattr(tempfile, "tempdir", long)
        assert on_ray._short_folder() == "/tmp"
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/tmp")
    assert on_ray._short_folder() is None  # what a person has decided


@pytest.fixture
def slurm_here(monkeypatch):
    """submitit's local executor in the place of Slurm: the same jobs, as processes of this machine."""
    from submitit.local.local import LocalJob

    monkeypatch.setattr(on_slurm, "EXECUTOR", "local")
    monkeypatch.setattr(LocalJob, "_results_timeout_s", 1)


@pytest.mark.slow
def test_a_killed_job_of_slurm_is_sent_again(alone, small_set, tmp_path, monkeypatch, slurm_here, no_process_left):
    run, handed = tmp_path / "resnet20-seed0", Handed(monkeypatch, on_slurm.SlurmTasks)
    kill = at_first_epoch(lambda: os.kill(process_of(run), signal.SIGKILL))
    board = library.compare(NETWORKS, small_set, tmp_path, cluster="slurm", jobs=2, progress=kill, **HOW)
    assert sorted(handed.runs) == ["lenet5", "resnet20", "resnet20", "zfnet"]
    same_runs(alone[0], tmp_path)
    same_board(alone[1], board)


# Hand-out, repetition and stop, with tasks that end as a test says


@dataclasses.dataclass
class Scripted:
    """Tasks that end in the order in which they begin, each as the script says."""

    script: list
    waiting: list = dataclasses.field(default_factory=list)
    most: int = 0

    def begin(self, each):
        self.waiting.append(object())
        self.most = max(self.most, len(self.waiting))
        return self.waiting[-1]

    def ended(self, handles, seconds):
        assert handles == self.waiting
        yield self.waiting.pop(0), self.script.pop(0)

    def cancel(self, handle):
        pass

    def close(self):
        pass


FINE = Outcome("node7")


def trained(tmp_path, script, jobs=1, models=("lenet5",)):
    """Train runs by tasks that end as the script says; returns the runs that have ended, and the tasks."""
    parts = Schedule(tmp_path, Settings(), 1, [Candidate(model) for model in models]).parts()
    calls = Calls(
        request=lambda part: Request(Settings(), part.path, {}, None),
        may_begin=lambda part, others: True,
        skipped=lambda part: False,
        progress=lambda *told: None,
        notes=lambda *told: None,
        label=lambda part: part.candidate.name,
    )
    tasks = Scripted(list(script))
    ended = list(Cluster(tasks, jobs, 1, tmp_path, {}, calls, 1.0).train(parts))
    assert not tasks.script
    return [(part.candidate.name, error) for part, error in ended], tasks


def test_a_lost_run_has_four_processes_and_is_then_a_row(tmp_path, caplog):
    lost = Gone("its machine left the cluster")
    assert trained(tmp_path, [lost, lost, lost, FINE])[0] == [("lenet5", None)]
    assert "(3 of 3)" in caplog.text
    ((_, error),), _ = trained(tmp_path, [lost] * TRIES)
    assert isinstance(error, Lost)
    assert error.what == "lenet5-seed0: its machine left the cluster, 4 times"
    stopped = MachineError("stopped by SIGUSR1 after step 3 of 9; the checkpoint is saved")
    stopped.exit_code = 143  # a job whose time is over
    assert trained(tmp_path, [Outcome("node7", stopped), FINE])[0] == [("lenet5", None)]


def test_an_error_of_the_run_or_of_its_memory_is_not_repeated(tmp_path):
    (_, diverged), (_, full), (_, disk) = trained(
        tmp_path,
        [
            Outcome("node7", NumericError("loss nan", "lower lr")),
            Gone("the memory of its machine ran out", again=False),
            Outcome("node7", MachineError("disk full", "free some space")),
        ],
        models=("lenet5", "resnet20", "plain20"),
    )[0]
    assert (type(diverged), diverged.what) == (NumericError, "loss nan")
    assert (type(full), full.what) == (Lost, "resnet20-seed0: the memory of its machine ran out")
    assert (type(disk), disk.what) == (Lost, "disk full (on node7)")
    blind = MachineError("node7 does not see the images", "share them")
    ((_, error),), _ = trained(tmp_path, [Outcome("node7", blind, everywhere=True)])
    assert error is blind  # which the comparison raises


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_so_many_runs_are_on_the_cluster_at_a_time(tmp_path, jobs):
    ended, tasks = trained(tmp_path, [FINE] * 3, jobs, ("lenet5", "resnet20", "plain20"))
    assert len(ended) == 3
    assert tasks.most == jobs
    assert list(tmp_path.iterdir()) == []  # the images were removed


# What a machine of the cluster refuses


@pytest.fixture
def on_a_machine(tmp_path, monkeypatch):
    """Train a run as a machine of a cluster does, in this process, which keeps its folder and its variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(task, "LOCK_LASTS", 0.0)
    monkeypatch.setattr(task, "LOOK", 0.0)

    def call(data, **changes):
        content = bytes(ForkingPickler.dumps({None: data}))
        images = tmp_path / "images"
        images.write_bytes(content)
        request = Request(Settings(model="lenet5"), tmp_path / "run", {}, None)
        sha256 = hashlib.sha256(content).hexdigest()
        given = Task(request, images, sha256, torch.get_num_threads(), tmp_path)
        return perform(dataclasses.replace(given, **changes))

    return call


def test_a_machine_that_does_not_see_the_storage_says_so(on_a_machine, tmp_path, picture):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        picture(f"photos/{name}")
    data = library.load_data("photos", val=0.5)  # a relative path, as people give it
    missing = {
        "images.gone": on_a_machine(data, images=tmp_path / "images.gone"),
        "another file": on_a_machine(data, sha256="0" * 64),
        "1.2.3 where the comparison": on_a_machine(data, versions=("1.2.3", torch.__version__)),
    }
    shutil.rmtree("photos")
    missing["photos/"] = on_a_machine(data)
    for said, outcome in missing.items():
        assert outcome.everywhere
        assert type(outcome.error) is MachineError
        assert re.match(rf"{re.escape(outcome.machine)}, a machine of the cluster: .*{said}", outcome.error.what)
        assert re.search("under the same path|install the same", outcome.error.fix)


def test_a_pack_that_a_machine_does_not_see_is_named(on_a_machine, tmp_path):
    import numpy as np

    pixels = np.memmap(tmp_path / "images.bin", np.uint8, "w+", shape=300)
    pack = Pack(tmp_path, pixels, np.array([[0, 10, 10, 0, 0]], np.int64), np.ones(1, bool))
    sent = PackImages(pack, np.array([0]))
    content = bytes(ForkingPickler.dumps(sent))
    (tmp_path / "images.bin").unlink()
    (tmp_path / "sent").write_bytes(content)
    with pytest.raises(MachineError, match=r"images\.bin: No such file"):
        task.images_of(tmp_path / "sent", hashlib.sha256(content).hexdigest())


def test_a_run_that_another_process_holds_is_a_row(on_a_machine, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    with folder.locked():
        outcome = on_a_machine(library.load_data("digits"))
    assert not outcome.everywhere
    assert f"in use by process {os.getpid()}" in outcome.error.what


# What is refused before any work


@pytest.mark.parametrize(
    ("place", "jobs", "said", "fix"),
    [
        ("rey://head:10001", None, "cluster: 'rey://head:10001'", "give local, auto, slurm or ray://HOST:PORT"),
        ("slrum", None, "cluster: 'slrum'", "did you mean slurm?"),
        ("local", 0, "jobs: 0", "give at least 1"),
        ("ray://127.0.0.1:x", None, "cluster: ray://127.0.0.1:x: Port could not be", "such as ray://HOST:10001"),
        ("ray://127.0.0.1:9", None, "nothing answers at 127.0.0.1, port 9", "such as ray://HOST:10001"),
        ("ray://", None, "cluster: ray://: no name of a machine", "such as ray://HOST:10001"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_refused_before_any_work(tmp_path, place, jobs, said, fix):
    with pytest.raises((UsageError, MachineError)) as refused:
        library.compare(["lenet5"], "digits", tmp_path / "board", cluster=place, jobs=jobs, steps=1)
    assert said in refused.value.what
    assert fix in refused.value.fix
    assert not (tmp_path / "board").exists()


def test_a_cluster_without_its_packages_or_commands_is_refused_with_what_brings_them(podium, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = podium("compare", "digits", "--cluster", "slurm")
    assert said.code == 6
    assert "there is no sbatch on this machine" in said.err
    monkeypatch.setattr(running.importlib.util, "find_spec", lambda name: None)
    for place, package in (("local", "ray"), ("slurm", "submitit")):
        said = podium("compare", "digits", "--cluster", place)
        assert said.code == 6
        assert f"{package} is not installed" in said.err
        assert 'pip install "podium[cluster]"' in said.err


def test_a_task_that_no_machine_of_ray_is_large_enough_for_is_refused(monkeypatch):
    """Ray would wait for ever."""
    import ray

    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(ray, "is_initialized", lambda: True)  # by the caller
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(UsageError, match="8 threads, but no machine of it has more than 2 processors") as refused:
        RayTasks("auto", 1, 8, gpu=True)
    assert refused.value.fix == "give --threads 2"
