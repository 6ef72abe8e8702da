"""What a run promises: schedules, optimisers and losses as their papers have them, weights that were chosen fairly, a log of it."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import podium
from conftest import sampled
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.devices import pick_device
from podium.errors import MachineError, UsageError
from podium.models import ConvNet
from podium.settings import Settings
from podium.training.defaults import default_batch, default_rate
from podium.training.losses import cross_entropy
from podium.training.optim import EMA, learning_rate, make_optimizer
from podium.training.prepare import prepare


def rates(total=100, per_epoch=10, **settings):
    s = Settings(lr=1.0, **settings)
    return [learning_rate(step, total, per_epoch, s) for step in range(total)]


def test_step_schedule_falls_at_its_milestones():
    values = rates(schedule="step", milestones=(0.5, 0.75), gamma=0.1)
    assert values[0] == values[49] == 1.0
    assert values[50] == values[74] == pytest.approx(0.1)
    assert values[75] == values[99] == pytest.approx(0.01)


def test_cosine_starts_at_the_top_and_ends_near_nothing():
    values = rates(schedule="cosine")
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.5)
    assert values[99] == pytest.approx((1 + math.cos(0.99 * math.pi)) / 2)


def test_exponential_falls_every_two_epochs_as_the_inception_papers_have_it():
    values = rates(schedule="exponential", gamma=0.94, decay_every="2ep")
    assert values[19] == 1.0
    assert values[20] == values[39] == pytest.approx(0.94)
    assert values[80] == pytest.approx(0.94**4)


def test_warmup_rises_in_a_line_before_any_schedule():
    for schedule in ("constant", "step", "cosine", "exponential"):
        values = rates(schedule=schedule, warmup="1ep")
        assert values[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])


def test_one_cycle_is_that_of_torch():
    ours = rates(schedule="one-cycle", warmup="30%")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=31 / 101, final_div_factor=1e9
    )
    theirs = []
    for _ in range(100):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()
    assert ours == pytest.approx(theirs, abs=2e-8)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("muon", torch.optim.AdamW),
    ],
)
def test_norms_and_biases_decay_only_if_the_recipe_says_so(name, kind):
    net = podium.create_model("resnet20", num_classes=2)
    optimizer = make_optimizer(net, Settings(optimizer=name, lr=0.1, weight_decay=0.5))
    assert isinstance(optimizer, kind)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for parameter in net.parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0)
    everything = make_optimizer(net, Settings(optimizer=name, lr=0.1, weight_decay=0.5, decay_all=True))
    assert [group["weight_decay"] for group in everything.param_groups] == [0.5]


def test_label_smoothing_is_the_mixture_of_the_paper():
    logits, y = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    target = 0.9 * nn.functional.one_hot(y, 5) + 0.1 / 5
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert float(cross_entropy(0.1)(logits, y)) == pytest.approx(float(expected), rel=1e-6)
    assert float(cross_entropy()(logits, target)) == pytest.approx(
        float(expected), rel=1e-6
    )  # soft targets, as of mixup


def test_averaged_weights_follow_their_formula_and_step_aside():
    net = podium.create_model("lenet5_modern", num_classes=2)
    name, weight = next(iter(net.named_parameters()))
    average, expected = EMA(net, 0.5), weight.detach().clone()
    for step in (1, 2, 20):
        with torch.no_grad():
            weight.add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    own = weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, own)
    assert name in average.values


@pytest.mark.parametrize(("images", "batch"), [(60_000, 128), (5_120, 128), (1_437, 32), (400, 16), (20, 16)])
def test_small_sets_get_small_batches(images, batch):
    assert default_batch(images) == batch


@pytest.mark.parametrize(
    ("name", "rate"), [("vgg16", 3e-4), ("vgg11", 3e-3), ("vgg16_bn", 3e-3), ("alexnet", 3e-3), ("resnet110", 3e-3)]
)
def test_deep_networks_without_norms_get_a_tenth_of_the_rate(name, rate):
    with torch.device("meta"):
        net = podium.create_model(name, num_classes=2, image_size=32, small=True)
    assert default_rate(net, "adamw") == pytest.approx(rate)


def toy(n=96, size=16, classes=2, val=0, test=32):
    """Bright and dark noise."""
    draw = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % classes
        pixels = draw.normal(60 + 60 * labels[:, None, None, None], 20, (count, size, size, 1)).clip(0, 255)
        return Split(labels.astype(np.int64), ArrayImages(pixels.astype(np.uint8)))

    counts = {"train": n, "val": val, "test": test}
    splits = {name: split(count) for name, count in counts.items() if count}
    return Dataset("toy", tuple(f"c{i}" for i in range(classes)), splits, 1, size, False, (0.4,), (0.2,), source="toy")


def test_what_would_fail_later_is_refused_before():
    with pytest.raises(UsageError, match="patience: 3 needs held-out images other than those"):
        prepare(Settings(model="lenet5_modern", patience=3), toy(size=32))
    with pytest.raises(UsageError, match="32") as caught:
        prepare(Settings(model="vgg16", image_size=20, small=False), toy())
    assert "vgg16" in caught.value.what
    net = podium.create_model("lenet5_modern", num_classes=7)
    with pytest.raises(UsageError, match="has 7 classes, toy has 2"):
        prepare(Settings(model="lenet5_modern"), toy(size=32), net)


def test_a_device_is_never_replaced_by_another(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="no cuda"):
        pick_device("cuda")
    with pytest.raises(UsageError, match="'gpu'"):
        pick_device("gpu")
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("amp", ["bf16", "off"])
@pytest.mark.parametrize("optimizer", sampled(["sgd", "adam", "adamw", "rmsprop", "muon"], 1))
def test_every_optimizer_learns_in_both_precisions(tmp_path, optimizer, amp):
    rate = 0.02 if optimizer == "sgd" else 0.001
    settings = {"optimizer": optimizer, "amp": amp, "lr": rate, "epochs": 6, "batch_size": 16, "image_size": 32}
    run = podium.train("lenet5_modern", toy(), tmp_path / "run", **settings)
    assert run.result["top1"] == 1.0
    losses = [row["train_loss"] for row in run.epochs]
    assert losses[-1] < losses[0] / 2


def test_the_best_weights_are_chosen_on_validation_and_judged_on_test(tmp_path):
    """The rate is so high at the end that the last epoch is not the best."""
    settings = {
        "optimizer": "sgd",
        "lr": 0.3,
        "schedule": "constant",
        "epochs": 8,
        "batch_size": 16,
        "image_size": 32,
        "clip": 0.0,
    }
    run = podium.train("lenet5_modern", toy(val=32), tmp_path / "run", **settings)
    rows = run.epochs
    best = max(rows, key=lambda row: (row["top1"], -row["loss"]))
    assert {row["split"] for row in rows} == {"val"}
    assert run.result["split"] == "test"
    assert run.result["weights"] == f"best of validation, epoch {best['epoch']}"
    card = podium.load(run.path).card
    assert (card["split"], card["scores"]["top1"]) == ("test", run.result["top1"])
    again = podium.evaluate(run.path, toy(val=32), split="val")
    assert again["top1"] == pytest.approx(best["top1"])
    assert again["loss"] == pytest.approx(best["loss"], rel=1e-5)


def test_without_validation_the_last_epoch_ships(run):
    assert run.result["weights"] == "last epoch"
    assert run.result["top1"] == pytest.approx(run.epochs[-1]["top1"])


def test_no_epochs_only_judge(tmp_path):
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    run = podium.train(net, toy(size=32, val=32), tmp_path / "run", epochs=0)
    assert run.epochs == []
    assert run.result["top1"] == podium.evaluate(run.path, toy(size=32))["top1"]
    for name, tensor in podium.load(run.path).model.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])


def test_a_batch_that_does_not_fit_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ConvNet, "training_loss", full)
    with pytest.raises(UsageError, match="batch_size: 16 images a step of lenet5_modern"):
        podium.train("lenet5_modern", toy(size=32), tmp_path / "run", epochs=1)


def test_early_stopping_waits_for_its_patience(tmp_path):
    settings = {"lr": 0.0, "epochs": 50, "patience": 3, "batch_size": 16, "image_size": 32}
    run = podium.train("lenet5_modern", toy(val=32), tmp_path / "run", **settings)
    assert len(run.epochs) == 4  # the first is the best; three are no better
    assert run.result["steps"] == 4 * 6


def test_a_run_folder_tells_its_story(run):
    names = {path.name for path in run.path.iterdir()}
    assert {
        "settings.yaml",
        "log.jsonl",
        "model.safetensors",
        "card.json",
        "result.json",
        "events",
    } <= names
    assert not [name for name in names if name.endswith(".ckpt")]
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events == ["start", "epoch", "epoch", "done"]
    card = json.loads((run / "card.json").read_text())
    assert card["podium"] == podium.__version__
    assert card["scores"]["top1"] == run.result["top1"]
    assert len(card["data_sha256"]) == 64
    assert list((run / "events").glob("events.out.tfevents.*"))


def test_a_network_handed_in_is_where_training_starts(tmp_path):
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    net.freeze("features")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run = podium.train(net, toy(size=32), tmp_path / "run", epochs=1, batch_size=16)
    after = podium.load(run.path).model.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == name.startswith(("stem", "stages")), name
        assert torch.equal(net.state_dict()[name], tensor), "the network itself stays as it is"


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    settings = {"epochs": 1, "batch_size": 16, "image_size": 32, "mixup": 0.3, "erase": 0.2}
    weights = [
        (
            podium.train("lenet5_modern", toy(), tmp_path / str(n), seed=seed, **settings) / "model.safetensors"
        ).read_bytes()
        for n, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]


def test_a_recorded_run_runs_again_from_its_settings_file(tmp_path):
    first = podium.train("lenet5_modern", "digits", tmp_path / "a", steps=3, seed=5)
    again = podium.train("lenet5_modern", "digits", tmp_path / "b", config=first / "settings.yaml")
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
