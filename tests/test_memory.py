"""What does not fit into memory at once: a step in parts, stages computed twice, the largest batch that fits."""

import gc
import json
import resource

import pytest
import torch

import podium
from command import CONTEXT, Done
from podium.data.memory import out_of_memory
from podium.errors import UsageError
from podium.models import ConvNet
from podium.platform import container_left
from podium.settings import Settings, read_file
from podium.training.autotune.batch_size import largest_power
from podium.training.autotune.trial import Trial, denormals_flushed
from test_resume import digest
from test_training import toy

QUICK = {"epochs": 2, "batch_size": 16, "image_size": 32, "amp": "off"}


def test_a_step_in_parts_has_the_gradient_of_the_whole_batch():
    """17 images in three parts of 6, 6 and 5; the reference is one mean over all of them."""
    net = podium.create_model("lenet5_modern", num_classes=4, image_size=32, in_chans=1)
    trial = Trial(net, Settings(lr=0.0, accumulate=3, weight_decay=0.0))
    batch = trial.images(17)
    trial.step(batch, amp=None)
    torch.nn.functional.cross_entropy(net(batch.x), batch.y).backward()
    for own, whole in zip(trial.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own.grad, whole.grad, rtol=1e-4, atol=1e-7)


def test_the_loss_curve_of_a_run_in_parts_is_that_of_the_run_without(tmp_path):
    curves = []
    for parts in (1, 3):
        run = podium.train("lenet5_modern", toy(), tmp_path / str(parts), accumulate=parts, **QUICK)
        curves.append([(row["train_loss"], row["loss"]) for row in run.epochs])
    assert curves[1] == [pytest.approx(row, rel=1e-4) for row in curves[0]]
    assert curves[0][1][0] < curves[0][0][0], "it learns"


@pytest.mark.parametrize(("batch", "parts"), [(16, 9), (2, 2)])
def test_parts_of_one_image_are_refused(tmp_path, batch, parts):
    with pytest.raises(UsageError, match=f"batch_size: {batch} images a step in {parts} parts"):
        podium.train("resnet20", toy(), tmp_path / "run", **{**QUICK, "batch_size": batch}, accumulate=parts)
    assert not list((tmp_path / "run").glob("settings.yaml"))


def test_both_keep_less_for_the_way_back():
    """Saved bytes are a fact: the same every time, whatever the machine does beside."""

    def kept(**settings):
        net = podium.create_model("resnet20", num_classes=2, image_size=32, small=True)
        net.checkpointing = settings.pop("checkpointing", False)
        trial = Trial(net, Settings(lr=0.0, **settings))
        return trial.saved_bytes(trial.images(16), amp=None)

    whole = kept()
    assert whole == kept()
    assert kept(accumulate=4) == pytest.approx(whole / 4, rel=0.05)
    assert kept(checkpointing=True) < whole / 5


def test_saved_bytes_are_what_one_can_count():
    """LeNet-5's first convolution keeps its images, the others their inputs; rectifiers and pools what they made."""
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    trial = Trial(net, Settings(lr=0.0))
    one, two = (trial.saved_bytes(trial.images(count), amp=None) for count in (8, 16))
    assert two == pytest.approx(2 * one, rel=0.01)
    maps = sum(t[0].numel() for t in net.endpoints(torch.zeros(1, 1, 32, 32)).values())
    assert one > 8 * 4 * maps / 2


def test_what_was_counted_is_freed():
    """The activations of every network that was forecast stayed for good, and counted as memory of the next one."""

    def alive():
        return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    net = podium.create_model("resnet20", num_classes=2, image_size=32, small=True)
    trial = Trial(net, Settings(lr=0.0))
    images = trial.images(16)
    trial.saved_bytes(images, amp=None)
    before = alive()
    trial.saved_bytes(images, amp=None)
    assert alive() <= before


@pytest.mark.slow
def test_a_run_in_parts_with_stages_computed_twice_resumes_exactly(tmp_path):
    from command import podium as command

    words = ["resnet20", "digits", "--steps", "8", "--batch-size", "8", "--image-size", "16"]
    words += ["--accumulate", "2", "--grad-checkpointing", "--mixup", "0.2", "--checkpoint-every", "0.001s"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert command("train", *words, "-o", whole).returncode == 0
    assert command("train", *words, "-o", out, fault="kill@step:5").returncode < 0
    done = command("train", "--resume", "-o", out)
    assert done.returncode == 0, done.stderr
    assert digest(out) == digest(whole)


@pytest.mark.parametrize(
    ("room", "guess", "most", "found"),
    [
        (100_000, 64, 10_000, 64),
        (100_000, 1, 10_000, 64),  # from too small a guess it goes up
        (100_000, 5_000, 10_000, 64),  # from too large a one down
        (100_000, 64, 50, 32),  # no more images than there are
        (2_000, 64, 10_000, 2),
        (1_999, 64, 10_000, None),
    ],
)
def test_the_largest_power_of_two_that_fits(room, guess, most, found):
    """A thousand bytes an image."""
    assert largest_power(lambda batch: 1000 * batch, room, guess, most) == found


def test_the_end_of_memory_counts_whatever_was_reckoned():
    tried = []

    def step(batch):
        tried.append(batch)
        return None if batch > 16 else 10 * batch

    assert largest_power(step, 10**9, 256, 10_000) == 16
    assert tried == [256, 128, 64, 32, 16, 32]


def test_denormals_are_zero_while_training_and_not_after():
    tiny = torch.full((4,), 7, dtype=torch.int32).view(torch.float32)  # some 1e-44

    def lasts():
        return bool((tiny * 1.0).view(torch.int32).any())

    assert lasts()
    with denormals_flushed():
        with denormals_flushed():
            assert not lasts()
        assert not lasts(), "the inner one does not switch the outer one off"
    assert lasts()


def test_what_torch_and_python_say_at_the_end_of_memory_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError())
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_a_container_leaves_what_its_narrowest_group_leaves(tmp_path):
    """Version 2, and a group in a group; files it could drop count as free."""
    own, inner = tmp_path / "cgroup", tmp_path / "fs" / "outer" / "inner"
    own.write_text("3:cpu:/elsewhere\n0::/outer/inner\n")
    inner.mkdir(parents=True)
    for folder, limit in ((inner, "max"), (inner.parent, "1000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("700\n")
        (folder / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert container_left(own, tmp_path / "fs") == [450]
    assert container_left(tmp_path / "none", tmp_path / "fs") == []


def test_a_container_of_the_first_version_leaves_what_it_leaves(tmp_path):
    own, group = tmp_path / "cgroup", tmp_path / "fs" / "memory" / "a"
    own.write_text("4:memory:/a\n")
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1000")
    (group / "memory.usage_in_bytes").write_text("100")
    (group / "memory.stat").write_text("cache 5\n")
    assert container_left(own, tmp_path / "fs") == [900]


def full_from(monkeypatch, images):
    """A machine whose memory ends at so many images at a time."""
    real = ConvNet.training_loss

    def loss(net, x, y, loss):
        if len(x) >= images:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            )
        return real(net, x, y, loss)

    monkeypatch.setattr(ConvNet, "training_loss", loss)


def test_a_batch_that_does_not_fit_is_named_with_one_that_does(tmp_path, monkeypatch):
    full_from(monkeypatch, 30)
    with pytest.raises(UsageError, match="batch_size: 64 images a step of lenet5_modern do not fit") as caught:
        podium.train("lenet5_modern", toy(size=32), tmp_path / "run", epochs=1, batch_size=64)
    assert "16 do" in caught.value.what
    assert "batch_size=16" in caught.value.fix


def test_auto_takes_the_largest_that_fits_and_writes_it_down(tmp_path, monkeypatch):
    full_from(monkeypatch, 30)
    run = podium.train("lenet5_modern", toy(size=32), tmp_path / "run", epochs=1, batch_size="auto")
    recorded = read_file(run / "settings.yaml")
    assert recorded["batch_size"] == 16
    assert "batch_size: 16  # auto from flag\n" in (run / "settings.yaml").read_text()
    assert run.result["steps"] == 96 // 16
    again = podium.train("lenet5_modern", toy(size=32), tmp_path / "b", config=run / "settings.yaml")
    assert digest(again.path) == digest(run.path)
    same = podium.train("lenet5_modern", toy(size=32), run.path, resume=True, batch_size="auto", epochs=1)
    assert same.result == run.result
    with pytest.raises(UsageError, match="duration: the run has '1ep', not '2ep'"):
        podium.train("lenet5_modern", toy(size=32), run.path, resume=True, batch_size="auto", epochs=2)
    with pytest.raises(UsageError, match="recipe: the run has 'quick', not 'modern'"):
        podium.train("lenet5_modern", toy(size=32), run.path, resume=True, recipe="modern")


@pytest.mark.slow
def test_a_comparison_takes_auto(tmp_path, monkeypatch):
    full_from(monkeypatch, 30)
    asked = {"epochs": 1, "seeds": 2, "batch_size": "auto"}
    podium.compare(["lenet5_modern"], toy(size=32), tmp_path / "c", **asked)
    for seed in (0, 1):
        assert read_file(tmp_path / "c" / f"lenet5_modern-seed{seed}" / "settings.yaml")["batch_size"] == 16
    podium.compare(["lenet5_modern"], toy(size=32), tmp_path / "c", **asked)  # the same again is no other


@pytest.mark.parametrize(("text", "says"), [("lots", "auto"), ("1", "at least 2"), ("2.5", "auto")])
def test_a_batch_is_a_number_or_auto(podium, text, says):
    podium("train", "lenet5_modern", "digits", "--batch-size", text, "--dry-run").refused(2, "batch", says)


def limited(megabytes, words, out):
    import os
    import sys
    from pathlib import Path

    from podium.cli.main import main

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = (Path(out) / "said").open("w")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    code = main(words)
    sys.stdout.flush()
    os._exit(code)


def under(megabytes, words, out):
    """Run `podium WORDS` with so much address space more than it has at its start."""
    process = CONTEXT.Process(target=limited, args=(megabytes, [str(word) for word in words], str(out)))
    process.start()
    process.join()
    return Done(process.exitcode, "", (out / "said").read_text())


LARGE = ["train", "resnet20", "digits", "--small", "--steps", "1", "--amp", "off", "--image-size", "64"]


@pytest.mark.slow
def test_auto_stays_within_a_real_limit_of_memory(tmp_path):
    done = under(900, [*LARGE, "--batch-size", "auto", "-o", tmp_path / "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    batch = read_file(tmp_path / "run" / "settings.yaml")["batch_size"]
    assert 8 <= batch <= 256
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 1


def test_a_real_end_of_memory_is_one_line_with_a_batch_that_fits(tmp_path):
    done = under(900, [*LARGE, "--batch-size", "1024", "-o", tmp_path / "run"], tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error: batch_size: 1024 images a step of resnet20 do not fit" in done.stderr
    assert "fix: give --batch-size " in done.stderr
    assert "Traceback" not in done.stderr
