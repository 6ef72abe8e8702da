"""Claims: the arms are what they say, the verdict is right as often as it says, and what was decided stays decided."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import podium as library
from conftest import ROOT
from podium.comparison.statistics import Answers, Difference
from podium.errors import DataError, NumericError, UsageError
from podium.experiments import blocks, kernels, measure, raw
from podium.experiments.catalogue import CLAIMS
from podium.experiments.claim import SCALES, Arm, Claim, Protocol
from podium.experiments.experiment import Experiment, settings_for
from podium.experiments.images import load, part
from podium.experiments.page import needed as what_would_decide
from podium.experiments.page import page, write_page
from podium.experiments.plan import plan
from podium.experiments.run import decide_all
from podium.experiments.schedules import SGD, sketch
from podium.experiments.statements import better, between, exactly, not_worse
from podium.experiments.verdict import FAILS, HOLDS, OPEN, Evidence, needed, verdict_on_gain, verdict_on_loss
from podium.models.registry import architecture, build_model, list_models, rebuild
from podium.runs.folder import RunFolder

POINTS = 0.005
RECORDED = ROOT / "docs" / "results" / "claims"


# --- networks that are written as a line


def count(layers, **more):
    net = measure.build_skeleton({"model": "sketch", "layers": layers, **more})
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [
        ("3x3:8 -> average", 3 * 8 * 9 + 8 + 8 * 10 + 10),
        ("3x3:8 bn relu max2/2 -> flat", 3 * 8 * 9 + 8 + 16 + 8 * 16 * 16 * 10 + 10),
        ("5x5/2:4 -> flat fc6 relu drop0.5", 3 * 4 * 25 + 4 + 4 * 16 * 16 * 6 + 6 + 6 * 10 + 10),
        ("dw3x3 1x1:5 -> average", 3 * 9 + 3 * 5 + 5 + 5 * 10 + 10),
        ("1x7:4 7x1:4g2 -> average", 3 * 4 * 7 + 4 + 2 * 4 * 7 + 4 + 4 * 10 + 10),
        ("[1x1:2 | 1x1:3 3x3:4 | max3/1] -> average", 3 * 2 + 2 + 3 * 3 + 3 + 3 * 4 * 9 + 4 + (2 + 4 + 3) * 10 + 10),
        ("3x3:8 aux; 3x3:8 -> average", 3 * 72 + 8 + 8 * 72 + 8 + 90 + 8 * 32 + 32 + 32 * 4 * 10 + 10),
    ],
)
def test_a_line_of_layers_has_the_weights_counted_by_hand(layers, parameters):
    assert count(layers) == parameters


@pytest.mark.parametrize("size", [13, 16, 28, 32])
def test_a_line_of_layers_is_a_network_for_every_size(size):
    line = "5x5:8 relu lrn max3/2; [1x1:4 | max3/1 1x1:4] tanh aux; 3x3/2:8 sigmoid max2/2v avg2/2 -> flat fc9 relu"
    net = build_model("sketch", layers=line, image_size=size)
    x = torch.randn(2, 3, size, size)
    assert net(x).shape == (2, 10)
    assert net.training_loss(x, torch.tensor([1, 2]), torch.nn.functional.cross_entropy).item() > 0
    again = rebuild(net.strip().spec)
    again.load_state_dict(net.strip().state_dict())
    assert torch.equal(again.eval()(x), net.eval()(x))


def test_alexnet_as_a_line_is_alexnet():
    arms = CLAIMS["overlapping-pooling"].paper.arms
    own = measure.cost_of({**arms[0].model, "num_classes": 1000})
    assert own == measure.cost_of({"model": "alexnet"})
    assert measure.cost_of({**arms[1].model, "num_classes": 1000}) == own  # 2x2 windows leave maps of the same size


@pytest.mark.parametrize(
    "line", ["3x3:8", "3x3:8 foo -> average", "[3x3:8 -> average", "3x3:8] -> average", "1x1:2 ->"]
)
def test_a_line_that_is_no_network_is_refused(line):
    with pytest.raises(UsageError, match="layers"):
        build_model("sketch", layers=line)


def test_a_way_to_write_networks_is_no_network_to_choose():
    assert "sketch" not in list_models()
    assert architecture("sketch").own.keys() == {"layers", "aux"}


@pytest.mark.parametrize(
    ("layers", "side"),
    [("5x5:1", 5), ("3x3:1 3x3:1", 5), ("7x7:1", 7), ("3x3:1 3x3:1 3x3:1", 7), ("3x3:1 max2/2 3x3:1", 8)],
)
def test_receptive_fields_are_the_pixels_that_move_an_output(layers, side):
    assert measure.receptive_field(layers) == side
    net = build_model("sketch", layers=f"{layers} -> average", in_chans=1, image_size=32).eval()
    for p in net.parameters():
        torch.nn.init.constant_(p, 1.0)
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    for layer in net.stages.modules():  # a maximum sees all of its window, but passes one gradient on
        if isinstance(layer, torch.nn.MaxPool2d):
            layer.forward = torch.nn.AvgPool2d(2, 2).forward
    out = net.forward_features(x)
    out[0, 0, out.shape[-2] // 2, out.shape[-1] // 2].backward()
    seen = x.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [side, side]


# --- arms and costs


def test_costs_that_papers_and_articles_state():
    found = CLAIMS["separable"].measure() | CLAIMS["small-kernels"].measure() | CLAIMS["googlenet-parameters"].measure()
    assert found["weights of the dense 3x3"] == 3 * 3 * 3 * 64 == 1728
    assert found["weights of the depthwise 3x3"] == 3 * 3 * 3 == 27
    assert found["weights of the 1x1 behind it"] == 3 * 64 == 192
    assert found["weights of two 3x3"] == 18 * 64**2
    assert found["weights of three 3x3"] == 27 * 64**2
    assert found["weights of 7x7"] == 49 * 64**2
    assert found["parameters, AlexNet over GoogLeNet"] == 60_965_224 / 6_998_552
    assert found["parameters of Inception v3, millions"] == 23.834568
    verdicts = {each.text: each.decide(Evidence({}, found)).verdict for each in CLAIMS["separable"].statements[:5]}
    assert [*verdicts.values()] == [HOLDS, HOLDS, HOLDS, FAILS, HOLDS]
    assert "23 and Xception 6 million" in [*verdicts][3]


def macs_of(claim):
    protocol = CLAIMS[claim].small
    side = {"image_size": protocol.side, "num_classes": 10}
    return {arm.name: measure.cost_of({**side, **arm.model})[1] for arm in protocol.arms}


@pytest.mark.parametrize("claim", ["branches", "cardinality", "separable"])
def test_arms_that_are_compared_at_equal_cost_have_it(claim):
    macs = macs_of(claim).values()
    assert max(macs) < 1.04 * min(macs)


def test_depths_are_trained_for_the_same_number_of_multiply_adds():
    work = [row.work for row in plan(CLAIMS["depth"], "small")]
    assert max(work) < 1.04 * min(work)


@pytest.mark.parametrize(
    "claim", ["lrn", "average-pooling", "batch-norm", "batch-norm-dropout", "small-kernels", "factorised"]
)
def test_networks_of_the_papers_size_differ_in_one_thing_as_the_small_ones_do(claim):
    for pair in (("AlexNet, LRN", "AlexNet", " lrn"), ("BN", "plain", " bn"), ("plain, dropout", "plain", " drop0.4")):
        arms = {arm.name: arm for arm in CLAIMS[claim].paper.arms}
        if pair[0] in arms and pair[1] in arms:
            first, second = arms[pair[0]], arms[pair[1]]
            assert " ".join(first.model["layers"].replace(pair[2], "").split()) == " ".join(
                second.model["layers"].split()
            )
            assert (first.settings, first.rates, first.recipe) == (second.settings, second.rates, second.recipe)
    ways = {arm.model["model"] for arm in CLAIMS[claim].paper.arms if not arm.name.startswith("VGG")}
    assert ways == {"sketch"}  # so their weights start alike


def test_modules_of_googlenet_as_a_line_have_its_weights():
    # In GoogLeNet the first of the two 3x3 is a 5x5; bias and weights of the second come on top.
    line = CLAIMS["batch-norm"].paper.arms[0].model["layers"]
    for reduced, five in ((16, 32), (32, 96), (16, 48), (24, 64), (32, 64), (48, 128), (32, 128)):
        line = line.replace(f"1x1:{reduced} relu 3x3:{five} relu 3x3:{five}", f"1x1:{reduced} relu 5x5:{five}")
    own = measure.cost_of({"model": "sketch", "image_size": 224, "num_classes": 1000, "layers": line})
    assert own == measure.cost_of({"model": "googlenet"})


def test_alexnet_is_trained_as_alexnet_beside_vgg():
    protocol = CLAIMS["lrn"].paper
    batches = {arm.name: settings_for(protocol, arm, None, 0).batch_size for arm in protocol.arms}
    assert batches == {"AlexNet": 128, "AlexNet, LRN": 128, "VGG-A": 256, "VGG-A, LRN": 256}


def test_nothing_regularises_the_networks_of_the_figure_of_activations():
    protocol = CLAIMS["relu"].paper
    settings = settings_for(protocol, protocol.arms[0], 0.1, 0)
    assert (settings.weight_decay, settings.crop, settings.flip) == (0.0, "none", False)


def test_a_pruned_network_is_compared_with_one_that_was_trained_as_long():
    for scale in SCALES:
        rows = {row.arm: row for row in plan(CLAIMS["pruning"], scale)}
        assert rows["whole, as long"].steps == rows["whole"].steps + rows["fewer filters"].steps
        assert rows["whole, as long"].steps == rows["few filters, scratch"].steps


def test_the_whole_image_is_more_than_one_window_for_the_dense_form():
    arm = CLAIMS["dense"].small.arms[0]
    net = rebuild({**arm.model, "image_size": 28}).eval()
    assert net.to_dense()(torch.zeros(1, 3, 32, 32)).shape[-2:] == (2, 2)


def test_auxiliary_classifiers_stand_after_the_fourth_and_the_seventh_convolution():
    net = measure.build_skeleton(CLAIMS["auxiliary-heads"].small.arms[1].model)
    counts = [sum(isinstance(m, torch.nn.Conv2d) for m in stage.modules()) for stage in net.stages.children()]
    assert np.cumsum(counts).tolist() == [4, 7, 10]
    assert [*net.auxiliary] == ["stage1", "stage2"]


def test_two_thirds_and_two_sevenths():
    assert kernels._factorised_costs() == {
        "multiply-adds, 1x7-7x1 over 7x7": pytest.approx(2 / 7),
        "multiply-adds, 3x1-1x3 over 3x3": pytest.approx(2 / 3),
    }
    assert blocks._gate_costs()["parameters, SE-ResNet-50 over ResNet-50"] == 28_088_024 / 25_557_032


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.name)
def test_statements_read_what_the_arms_give(claim):
    protocols = [claim.protocol(scale) for scale in SCALES if claim.protocol(scale) is not None]
    assert len(protocols) in (0, 2), "trained at both scales or at none"
    for protocol in protocols:
        names = [arm.name for arm in protocol.arms]
        assert len(set(names)) == len(names)
        assert all(arm.parent in names[:place] for place, arm in enumerate(protocol.arms) if arm.parent)
        for statement in claim.statements:
            trained = [read for read in statement.reads if read.partition("@")[0] in names]
            assert trained == [*statement.reads] or (claim.measure is not None and not trained)
    assert claim.source
    assert protocols or claim.measure is not None


WORK = 1.5e10  # multiply-adds a second of training on two cores, about


def test_small_experiments_have_three_seeds_and_end_within_minutes():
    for claim in CLAIMS.values():
        if claim.small is not None:
            rows = plan(claim, "small")
            assert claim.small.seeds >= 3
            assert sum(row.work or 0 for row in rows) < 20 * 60 * WORK, claim.name


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.name)
def test_the_papers_own_experiments_can_be_planned(claim):
    for row in plan(claim, "paper"):
        assert row.steps > 1000
        assert row.runs >= 3
        assert row.macs is None or row.macs > 1e6


# --- the verdict


def test_the_verdict_follows_from_the_interval():
    def gain(by, half):
        return verdict_on_gain(Difference(by, half), POINTS)

    assert [gain(0.02, 0.01), gain(0.001, 0.0005), gain(0.02, 0.03)] == [HOLDS, HOLDS, OPEN]
    assert [gain(-0.02, 0.01), gain(0.0, 0.004), gain(0.0, 0.006)] == [FAILS, FAILS, OPEN]
    assert verdict_on_loss(Difference(-0.002, 0.005), 0.01) == HOLDS
    assert verdict_on_loss(Difference(-0.03, 0.005), 0.01) == FAILS
    assert verdict_on_loss(Difference(-0.01, 0.005), 0.01) == OPEN


def drawn(rng, seeds, images, gain=0.0, between_seeds=0.004):
    """The answers of two arms: images differ in how hard they are, and seeds in how good they are."""
    hard = rng.beta(2, 1, images)
    return [
        np.stack([rng.random(images) < np.clip(hard + by + rng.normal(0, between_seeds), 0, 1) for _ in range(seeds)])
        for by in (gain, 0.0)
    ]


def test_equal_arms_are_rarely_called_better_and_a_clear_gain_is_found():
    rng, trials = np.random.default_rng(0), 400
    called = {0.0: [], 0.06: []}
    for gain in called:
        for _ in range(trials):
            found = Answers(drawn(rng, 3, 1000, gain)).difference(0, 1)
            called[gain].append(verdict_on_gain(found, POINTS))
    wrong = called[0.0].count(HOLDS) / trials  # one side of a two-sided 95 % interval: 2.5 %
    assert wrong <= 0.05
    assert called[0.06].count(HOLDS) / trials > 0.9
    assert called[0.06].count(FAILS) == 0


def test_what_would_decide_does():
    rng = np.random.default_rng(1)
    right = drawn(rng, 3, 500, 0.02)
    answers = Answers(right)
    found = answers.difference(0, 1)
    assert verdict_on_gain(found, POINTS) == OPEN
    seeds, images = needed(answers, found, max(found.by, POINTS - found.by))
    assert seeds >= 3
    assert images > 500
    halves = [Answers(drawn(rng, seeds, images, 0.02)).difference(0, 1).half for _ in range(5)]
    assert np.median(halves) < 1.5 * max(found.by, POINTS - found.by)  # the variances of three seeds are guesses


def test_more_seeds_are_enough_where_the_images_are():
    rng = np.random.default_rng(2)
    answers = Answers(drawn(rng, 3, 20_000, 0.01, between_seeds=0.01))
    found = answers.difference(0, 1)
    seeds, images = needed(answers, found, 0.01)
    assert images == 20_000
    assert 3 < seeds < 1000


def test_measured_numbers_are_decided_with_their_interval():
    evidence = Evidence({}, {"exact": 8.7, "timed": [1.4, 1.2, 1.6, 15]})
    assert between("", "exact", 8).decide(evidence).verdict == HOLDS
    assert exactly("", "exact", 12).decide(evidence).verdict == FAILS
    assert between("", "timed", 1.1, 1.7).decide(evidence).verdict == HOLDS
    still_open = between("", "timed", 1.3, 1.7).decide(evidence)
    assert (still_open.verdict, still_open.rounds) == (
        OPEN,
        pytest.approx(60, abs=1),
    )  # half the width: four times the rounds
    assert between("", "timed", 1.7, 1.9).decide(evidence).verdict == FAILS


def test_paired_times_give_a_ratio_with_its_interval():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        slow = rng.lognormal(0, 0.2, 15)  # what else the machine does meets both
        value, low, high, _ = measure.ratio((1.5 * slow * rng.lognormal(0, 0.05, 15)).tolist(), slow.tolist())
        assert low <= value <= high
        inside += low <= 1.5 <= high
    assert inside / 200 > 0.93


# --- an experiment from end to end


WORTHLESS = 999.0  # a learning rate


@pytest.fixture
def sets(small_set, tmp_path):
    """A folder that holds a drawn set of grey images under the name of MNIST."""
    shutil.copytree(small_set, tmp_path / "sets" / "mnist")
    return tmp_path / "sets"


@pytest.fixture
def tiny(monkeypatch):
    arms = (
        sketch("convolution", "3x3:8 bn relu max2/2; 3x3:8 bn relu -> average"),
        sketch("again", "3x3:8 bn relu max2/2; 3x3:8 bn relu -> average"),
        sketch("nothing", "1x1:1 sigmoid -> average"),
        sketch("too fast", "3x3:4 relu 3x3:4 relu 3x3:4 relu -> average", rates=(WORTHLESS,)),
    )
    settings = {**SGD, "duration": "2ep", "crop": "none", "flip": False, "batch_size": 16}
    protocol = Protocol("tiny", "mnist", arms, settings, (0.03, 0.1), val=40, seeds=2)
    claim = Claim(
        "tiny",
        "A convolution sees more than nothing.",
        "nobody",
        (
            better("it sees more", "convolution", "nothing"),
            better("it learns more", "convolution@train", "nothing@train"),
            not_worse("too high a rate is as good", "too fast", "convolution"),
            exactly("one is one", "one", 1, unit="one"),
        ),
        protocol,
        protocol,
        lambda: {"one": 1},
    )
    monkeypatch.setitem(CLAIMS, "tiny", claim)
    return claim


def decide(claim, sets, out, tell=lambda *_: None):
    return decide_all([claim], "small", out, sets, tell=tell)[0]


def test_a_claim_is_decided_from_the_command_line(tiny, sets, podium, tmp_path):
    done = podium("claims", "tiny", "--data", sets, "--out", tmp_path / "out", "--write", tmp_path / "docs")
    assert done.code == 0, done.err
    assert "one is one: 1 one" in done.out
    content = raw.read(tmp_path / "out" / "tiny.json")
    arms = content["arms"]
    assert arms["too fast"]["diverged"]
    assert arms["convolution"]["rate"] in (0.03, 0.1)
    assert set(arms["convolution"]["answers"]) == {"test", "train"}
    written = (tmp_path / "docs" / "claims.md").read_text()
    assert "did not learn" in written
    assert "<svg" in (tmp_path / "docs" / "results" / "claims" / "tiny.svg").read_text()
    recorded = (tmp_path / "docs" / "results" / "claims" / "tiny.json").read_text()
    assert json.loads(recorded) == content

    # An equal network with equal settings is the same run.
    assert arms["again"]["answers"]["test"] == arms["convolution"]["answers"]["test"]
    assert not [*(tmp_path / "out" / "runs").glob("tiny-again-*")]
    assert content["data_fingerprint"] == part(tiny.small, load("mnist", sets)).fingerprint()

    # The answers in the raw file are those of the runs, and the verdicts follow from them.
    evidence = raw.evidence_in(content)
    runs = [RunFolder(path) for path in sorted((tmp_path / "out" / "runs").glob("tiny-convolution-seed0-*"))]
    chosen = next(run for run in runs if f"lr: {arms['convolution']['rate']}" in (run / "settings.yaml").read_text())
    logits, labels = chosen.predictions
    assert (evidence.right["convolution"][0] == (logits.argmax(1) == labels)).all()
    for statement, kept in zip(tiny.statements, content["statements"], strict=True):
        assert raw.plain(statement.decide(evidence)).items() <= kept.items()


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again_and_what_was_stopped_goes_on(tiny, sets, tmp_path):
    whole = decide(tiny, sets, tmp_path / "whole")
    steps = []

    def stop(name, step, total, shown):
        steps.append(step)
        if len(steps) == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decide(tiny, sets, tmp_path / "out", stop)
    assert not (tmp_path / "out" / "tiny.json").exists()
    again = decide(tiny, sets, tmp_path / "out")
    assert [arm["answers"] for arm in again["arms"].values()] == [arm["answers"] for arm in whole["arms"].values()]
    heard = []
    decide(tiny, sets, tmp_path / "out", lambda *step: heard.append(step))
    assert heard == []
    longer = dataclasses.replace(tiny.small, settings={**tiny.small.settings, "duration": "3ep"})
    changed = decide(dataclasses.replace(tiny, small=longer), sets, tmp_path / "out", lambda *step: heard.append(step))
    assert heard  # another protocol is another experiment
    assert changed["arms"]["convolution"]["steps"] > whole["arms"]["convolution"]["steps"]


def test_seeds_that_learn_count_beside_one_that_does_not(tiny, sets, tmp_path, monkeypatch):
    protocol = dataclasses.replace(tiny.small, arms=tiny.small.arms[:1], rates=(0.03,), seeds=3)
    data = part(protocol, load(protocol.data, sets))
    experiment = Experiment(protocol, data, tmp_path)
    learned = np.arange(len(data.splits["test"])) % 2 == 0

    class Run:
        result, epochs, validation = {"steps": 7}, [{"train_loss": 0.5}], (np.eye(2), np.array([0, 1]))
        predictions = np.stack([learned, ~learned], 1) * 1.0, np.zeros(len(learned), int)

    monkeypatch.setattr(experiment, "_train", lambda arm, rate, seed: None if seed == 1 else Run())
    found = experiment.run(lambda _: ["test"])["convolution"]
    first_class = data.splits["test"].labels == 0
    assert found.right["test"].tolist() == [learned.tolist(), first_class.tolist(), learned.tolist()]
    assert (found.diverged, found.loss, found.seeds) == (False, [0.5, 0.5], [0, 1, 2])


def test_a_parent_that_did_not_learn_costs_its_own_claim_only(tiny, sets, tmp_path, monkeypatch):
    child = Arm("child", parent="too fast", change=lambda net, data, seed: net)
    small = dataclasses.replace(tiny.small, arms=(tiny.small.arms[-1], child))
    orphan = dataclasses.replace(tiny, name="orphan", statements=(not_worse("same", "child", "too fast"),), small=small)
    counted = dataclasses.replace(tiny, name="counted", statements=tiny.statements[-1:], small=None)
    done = []
    with pytest.raises(NumericError, match="orphan: child: its parent too fast did not learn"):
        decide_all([orphan, counted], "small", tmp_path, sets, done=lambda claim, _: done.append(claim.name))
    assert done == ["counted"]
    assert raw.read(tmp_path / "counted.json")["statements"][0]["verdict"] == HOLDS
    assert not (tmp_path / "orphan.json").exists()


def test_a_claim_that_asks_for_more_than_before_is_decided_again(tmp_path, monkeypatch):
    def claim(low, key="one"):
        return Claim("asked", "One.", "nobody", (between("one is enough", key, low),), measure=lambda: {key: 1})

    decide_all([claim(1)], "small", tmp_path)
    monkeypatch.setitem(CLAIMS, "asked", claim(2))
    with pytest.raises(UsageError, match="has changed since"):
        write_page(tmp_path, tmp_path / "docs")
    for changed, verdict in ((claim(2), FAILS), (claim(1, "another"), HOLDS)):
        assert decide_all([changed], "small", tmp_path)[0]["statements"][0]["verdict"] == verdict
        assert raw.read(tmp_path / "asked.json")["measured"].keys() == {changed.statements[0].reads[0]}


def test_a_damaged_raw_file_is_named(tiny, sets, tmp_path):
    (tmp_path / "tiny.json").write_text('{"claim": "tiny"}')
    with pytest.raises(DataError, match="not the raw file of a claim"):
        decide(tiny, sets, tmp_path)


def test_a_page_that_cannot_be_written_is_noticed_before_the_first_claim_is_decided(tiny, sets, podium, tmp_path):
    out, docs, file = tmp_path / "out", tmp_path / "docs", tmp_path / "file"
    decide_tiny = ("claims", "tiny", "--data", sets, "--out", out, "--write")
    file.write_text("kept")
    podium(*decide_tiny, file).refused(2, "file: a file, and the page needs a folder", "give a folder with --write DIR")
    podium(*decide_tiny, file / "docs").refused(2, "file: a file")
    with pytest.raises(UsageError, match="file: a file"):
        library.claims("tiny", data=sets, out=out, write=file, progress=False)
    (docs / "claims.md").mkdir(parents=True)
    podium(*decide_tiny, docs).refused(6, "claims.md")
    (docs / "claims.md").rmdir()
    podium("claims", "--plan", "--write", docs).refused(2, "--write does nothing", "leave out --plan")
    assert not out.exists()
    assert not [*docs.iterdir()]

    # Another claim's raw file that no longer fits is noticed too, and the claims that are decided again may have one.
    stale = json.loads((RECORDED / "googlenet-parameters.json").read_text())
    raw.write(out, {**stale, "source": "somebody else"})
    podium(*decide_tiny, docs).refused(2, "googlenet-parameters.json: the claim has changed", "decide it again")
    assert [path.name for path in out.iterdir()] == ["googlenet-parameters.json"]
    done = podium("claims", "googlenet-parameters", "--out", out, "--write", docs)
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["scale", "command", "seconds", "measured", "statements"])
def test_a_raw_file_that_lacks_something_is_named_before_a_page_is_written(podium, tmp_path, name):
    content = json.loads((ROOT / "docs" / "results" / "claims" / "googlenet-parameters.json").read_text())
    (tmp_path / "relu.json").write_text(json.dumps({**content, name: None}))
    done = podium("claims", "--out", tmp_path, "--write", tmp_path / "docs")
    done.refused(3, "relu.json", f"it has no {name}", "delete it")
    assert not (tmp_path / "docs").exists()


def test_errors_name_what_is_wrong(podium, tmp_path, monkeypatch):
    unknown = podium("claims", "rlu")
    assert (unknown.code, "did you mean relu?" in unknown.err) == (2, True)
    podium("claims", "all", "rlu").refused(2, "did you mean relu?")
    with pytest.raises(UsageError, match="no claim is called 'rlu'"):
        library.claims(["all", "rlu"], progress=False)
    podium("claims", "relu", "--data", tmp_path, "-o", tmp_path / "a").refused(3, "there is no cifar10 in it")
    podium("claims", "relu", "--data", tmp_path / "nowhere", "-o", tmp_path / "a").refused(
        3, "no such folder", "--data"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PODIUM_DATA", raising=False)
    podium("claims", "relu", "-o", tmp_path / "a").refused(
        3, "cifar10", "https://", "has cifar10 in it with --data DIR"
    )
    imagenet = ("claims", "dropout", "--scale", "paper", "-o", tmp_path / "a")
    podium(*imagenet).refused(
        3, "imagenet: no such data", "fix: name the folder that has imagenet in it with --data DIR"
    )
    assert not (tmp_path / "a").exists(), "nothing is made where nothing can be decided"
    (tmp_path / "file").write_text("")
    podium("claims", "relu", "-o", tmp_path / "file").refused(2, "a file", "give a folder with --out DIR")
    podium("claims", "relu", "-o", tmp_path / "file" / "a").refused(2, "file: a file", "give a folder with --out DIR")


def test_images_that_are_not_there_are_noticed_before_the_first_claim_is_decided(tiny, tmp_path):
    counted = dataclasses.replace(tiny, name="counted", statements=tiny.statements[-1:], small=None)
    done = []
    with pytest.raises(DataError, match="no mnist in it"):
        decide_all([counted, tiny], "small", tmp_path / "out", tmp_path, done=lambda claim, _: done.append(claim))
    assert done == []
    decide_all([counted], "small", tmp_path / "out", tmp_path / "nowhere")  # it takes no images


def test_the_most_seeds_that_are_tried_are_no_answer():
    assert what_would_decide({"seeds": 12, "images": 3000}) == "12 seeds, 3,000 images"
    assert what_would_decide({"seeds": 1000, "images": 3000}) == "1,000 seeds or more, 3,000 images"


def test_another_scale_is_refused():
    with pytest.raises(UsageError, match="scale"):
        library.claims("relu", scale="huge", progress=False)


def test_the_list_names_every_claim_and_its_source(podium):
    rows = json.loads(podium("claims", "--json").out)
    assert [row["name"] for row in rows] == [*CLAIMS]
    assert all(row["source"] and row["statements"] for row in rows)
    lines = podium("claims").out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1:2]] == [*CLAIMS]
    assert [line.removeprefix("  source: ") for line in lines[1::2]] == [row["source"] for row in rows]
    assert max(map(len, lines)) < 200, "a line is read in a pipe as it is"


# --- the page


def test_the_page_says_what_the_raw_files_say():
    found = {name: raw.read(RECORDED / f"{name}.json") for name in CLAIMS if (RECORDED / f"{name}.json").is_file()}
    assert found
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == page(found)
    for name, content in found.items():
        assert raw.same_experiment(content, CLAIMS[name], content["scale"]), f"{name}: run `podium claims {name}` again"
        evidence = raw.evidence_in(content)
        for statement, kept in zip(CLAIMS[name].statements, content["statements"], strict=True):
            assert raw.plain(statement.decide(evidence)).items() <= kept.items(), statement.text
        assert all(len(arm["seeds"]) >= 3 for arm in content["arms"].values())
