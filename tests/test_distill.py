"""A student learns from its teacher's answers: the loss is the paper's, and the run is exact like any other."""

import json

import pytest
import torch
import torch.nn.functional as F

import podium as library
from podium.compression import shrink
from podium.training.losses import criterion
from podium.weights.create import create_model


def test_the_loss_is_that_of_the_paper():
    torch.manual_seed(0)
    logits, target, y = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    value = criterion(0.0, lambda x: target, 0.7, 4.0)(torch.zeros(5, 1, 2, 2))(logits, y)
    p, q = (F.softmax(z.double() / 4, 1) for z in (target, logits))
    divergence = (p * (p.log() - q.log())).sum(1).mean()
    expected = 0.3 * F.cross_entropy(logits.double(), y) + 0.7 * 16 * divergence
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_a_student_who_answers_as_its_teacher_has_nothing_to_learn():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = criterion(0.0, lambda x: logits.detach(), 1.0, 2.0)(torch.zeros(4, 1, 2, 2))(
        logits, torch.zeros(4, dtype=torch.int64)
    )
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.abs().max() < 1e-6


def test_no_gradient_reaches_the_teacher_and_its_statistics_stay(run, tmp_path):
    before = library.load(run.path).model.state_dict()
    library.train("lenet5_modern", "digits", tmp_path / "student", teacher=str(run.path), steps=3)
    after = library.load(run.path).model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.slow
def test_a_student_of_pure_imitation_agrees_with_its_teacher_more_than_one_alone(run, tmp_path):
    data = library.load_data("digits")
    runs = [
        library.train("lenet5_modern", data, tmp_path / f"{alpha}", epochs=3, seed=5, **more)
        for alpha, more in ((0, {}), (1, {"teacher": str(run.path), "alpha": 1.0}))
    ]
    images = (
        torch.from_numpy(data.splits["test" if "test" in data.splits else "val"].pixels).float().permute(0, 3, 1, 2)
    )
    teacher, alone, taught = (library.load(r.path) for r in (run, *runs))
    p = teacher.preprocessing
    images = F.interpolate(images, (p.image_size, p.image_size))
    x = (images / 255 - torch.tensor(p.mean).view(1, -1, 1, 1)) / torch.tensor(p.std).view(1, -1, 1, 1)
    with torch.no_grad():
        asked, one, two = (m.model(x).log_softmax(1) for m in (teacher, alone, taught))
    gaps = [float(F.kl_div(z, asked, reduction="batchmean", log_target=True)) for z in (one, two)]
    assert gaps[1] < gaps[0]


@pytest.mark.parametrize(
    ("setting", "word"),
    [({"teacher": "nowhere"}, "nowhere"), ({"alpha": 1.5}, "alpha"), ({"temperature": 0.0}, "temperature")],
)
def test_what_cannot_be_meant_is_refused(tmp_path, setting, word):
    with pytest.raises(library.PodiumError, match=word):
        library.train("lenet5_modern", "digits", tmp_path / "run", steps=1, **setting)


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    net = create_model("lenet5_modern", num_classes=7)
    from podium.data.preprocessing import Preprocessing
    from podium.runs import bundle

    bundle.save(tmp_path / "teacher", net, tuple("abcdefg"), Preprocessing(32, 1), {})
    with pytest.raises(library.PodiumError, match="7 classes"):
        library.train("lenet5_modern", "digits", tmp_path / "run", steps=1, teacher=str(tmp_path / "teacher"))


def test_an_engine_that_fails_costs_its_rows_and_nothing_else(run, podium, tmp_path, monkeypatch):
    monkeypatch.setattr(shrink, "SECONDS", 0.01)

    def refused(*_, **__):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(shrink.engine_speed, "time_bundle", refused)
    words = [
        "distill",
        run.path,
        "lenet5_modern",
        "digits",
        "--steps",
        "1",
        "--no-controls",
        "-o",
        tmp_path / "student",
    ]
    said = podium(*words, "--json")
    assert (said.code, [row["engines"] for row in said.json["rows"]]) == (0, [[], []])
    assert "teacher: not timed in onnxruntime, openvino (RuntimeError: no such operator)" in said.json["notes"]


@pytest.mark.slow
def test_the_verb_teaches_and_shows_the_student_alone(run, podium, tmp_path, monkeypatch):
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    words = ["distill", run.path, "lenet5_modern", "digits", "--epochs", "1", "-o", tmp_path / "student", "--json"]
    said = podium(*words).json
    assert [row["name"] for row in said["rows"]] == ["teacher", "student", "student alone"]
    assert said["gate"] is None
    for row in said["rows"]:  # each exported, and timed in every engine that is here
        assert [(e["engine"], e["dtype"]) for e in row["engines"]] == [
            ("onnxruntime", "float32"),
            ("openvino", "float32"),
            ("openvino", "bfloat16"),
        ]
        for timed in row["engines"]:
            assert 0 < timed["latency_ms"]["p50"] <= timed["latency_ms"]["p95"]
            assert timed["images_per_second"] >= 1000 / timed["latency_ms"]["p50"] * 0.99
            assert timed["agreement"] == 1 or timed["dtype"] == "bfloat16"
    card = json.loads((tmp_path / "student" / "card.json").read_text())
    assert "@sha256:" in card["teacher"]
    steps = [library.load(tmp_path / "student" / part).card["steps"] for part in ("", "controls/alone")]
    assert steps[0] == steps[1]
