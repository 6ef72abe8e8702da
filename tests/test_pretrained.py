"""Comparisons that start from weights: which ones, a linear probe of all first, what is trained, and what the board says of it."""

import csv
import json
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import podium as library
from command import inside, one_error
from command import podium as process
from podium.comparison import candidates
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.outlook import Foreseen, Outlook, outlook
from podium.comparison.starts import Starts
from podium.comparison.study import Study
from podium.data.dataset import Dataset, Split
from podium.data.groups import GROUP
from podium.data.images import ArrayImages
from podium.errors import UsageError
from podium.settings import Settings, read_file
from podium.training.recipes.named import settings_of
from podium.training.transfer.linear_probe import FOLDS, linear_probe_of, parts_of
from podium.training.transfer.source import adapted, read_source
from podium.weights.create import create_model

CLASSES = {"ash": (200, 60, 40), "birch": (40, 60, 200), "cedar": (60, 180, 60)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of 90 x 70 px in class folders, 8 of each class to train on and 4 to validate."""
    root, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, colour in CLASSES.items():
            for number in range(count):
                pixels = np.clip(draw.normal(colour, 60, (70, 90, 3)), 0, 255).astype(np.uint8)
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


def theirs(path, net):
    """Save a CIFAR ResNet as akamaster/pytorch_resnet_cifar10 names its weights."""
    state = {}
    for key, value in net.state_dict().items():
        name = key.replace("stem.", "").replace("stages.stage", "layer").replace("residual.", "")
        state[f"module.{name.replace('head.classifier', 'linear')}"] = value
    torch.save({"state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of resnet20 and resnet32: random features, which tell colours apart, and features that are all the same."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    made = {}
    for name in ("resnet20", "resnet32"):
        net = create_model(name, shortcut="A-split")
        if name == "resnet20":
            for key, value in net.state_dict().items():
                if "bn" in key and key.endswith(("weight", "bias")):
                    value.zero_()
        made[name] = f"akamaster:{name}={theirs(root / f'{name}.th', net)}"
    return made


QUICK = ("--steps", "2", "--image-size", "32", "--batch-size", "8")


@pytest.fixture(scope="module")
def board(photos, files, tmp_path_factory):
    """A finished comparison in which only the network with the best linear probe was trained."""
    out = tmp_path_factory.mktemp("board") / "both"
    done = inside("compare", photos, "-m", ",".join(files.values()), "--finetune", "1", *QUICK, "-o", out)
    assert done.returncode == 0, done.stderr
    return out, done


def table(out):
    with (out / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


WHOLE = {"source": "runs/a@sha256:0", "start": "ImageNet (x)", "linear_probe": None}


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"a": 3}', *(json.dumps({"a": {k: v for k, v in WHOLE.items() if k != gone}}) for gone in WHOLE)],
)
def test_a_damaged_record_of_starts_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "starts.json").write_text(json.dumps({"a": WHOLE}))
    assert Starts.read(tmp_path).label("a") == "ImageNet (x)"
    (tmp_path / "starts.json").write_text(content)
    with pytest.raises(library.PodiumError, match="damaged") as caught:
        Starts.read(tmp_path)
    assert "delete it" in caught.value.fix


def entries(out):
    return json.loads((out / "starts.json").read_text())


# The linear probe


def arrays(labels, pixels):
    split = Split(np.asarray(labels), ArrayImages(pixels))
    classes = tuple(map(str, range(max(labels) + 1)))
    return Dataset("arrays", classes, {"train": split}, 3, 32, False, (0.5,) * 3, (0.2,) * 3, source="arrays")


def found_on(data):
    from podium.data.preprocessing import Preprocessing

    torch.manual_seed(0)
    net = create_model("resnet20", num_classes=len(data.classes))
    return linear_probe_of(net, Preprocessing(32, 3, mean=(0.5,) * 3, std=(0.2,) * 3), data, Settings(workers=0))


def test_labels_that_mean_nothing_give_chance_though_a_classifier_could_learn_them_by_heart():
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (60, 32, 32, 3), np.uint8)
    labels = draw.permutation(np.arange(60) % 2)
    assert abs(found_on(arrays(labels, pixels)).top1 - 0.5) < 0.25
    four_times = arrays(np.tile(labels, 4), np.tile(pixels, (4, 1, 1, 1)))  # a copy in another part would give it away
    assert abs(found_on(four_times).top1 - 0.5) < 0.25


def test_classes_that_differ_are_told_apart():
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = draw.integers(0, 90, (60, 32, 32, 3)) + 50 * labels[:, None, None, None]
    found = found_on(arrays(labels, pixels.astype(np.uint8)))
    assert found.top1 > 0.95
    assert found.loss < 0.7  # of guessing it is 1.1
    assert (found.images, found.folds) == (60, FOLDS)


def test_parts_hold_their_share_of_every_class_and_copies_stay_together():
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], (20, 30, 50))
    pixels = draw.integers(0, 255, (100, 8, 8, 3), np.uint8)
    pixels[3], pixels[25] = pixels[7], pixels[40]
    part = parts_of(arrays(labels, pixels).splits["train"], 1)
    counts = np.array([np.bincount(part[labels == label], minlength=FOLDS) for label in range(3)])
    assert (np.ptp(counts, axis=1) <= 2).all()
    assert part[3] == part[7]
    assert part[25] == part[40]


def test_photos_of_a_group_stay_together():
    """Fifteen patients of one class each, drawn by lot: a photo of a known patient tells the class, one of a new patient nothing."""
    alone, grouped = [], []
    patient = np.repeat(np.arange(15), 4)
    for seed in range(3):
        draw = np.random.default_rng(seed)
        faces = draw.integers(60, 190, (15, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
        pixels = np.clip(faces[patient] + draw.integers(-20, 20, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
        data = arrays((draw.permutation(15) % 3)[patient], pixels)
        alone.append(found_on(data).top1)
        data.splits["train"].columns = {GROUP: patient.astype(np.str_)}
        grouped.append(found_on(data).top1)
        part = parts_of(data.splits["train"], seed)
        assert all(len(set(part[patient == number])) == 1 for number in range(15))
    assert np.mean(grouped) < 0.45 < 0.6 < np.mean(alone)  # chance is a third


def test_a_class_of_one_image_needs_no_classifier_where_it_is_left_out():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    assert found_on(arrays([0, 0, 0, 0, 0, 1], pixels)).top1 <= 5 / 6


def test_where_nothing_can_be_left_out_there_is_no_linear_probe():
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    assert found_on(arrays([0, 1], pixels)) is None


@pytest.mark.slow
def test_real_features_tell_flowers_apart(shared):
    """A logistic regression on these features has 80 % on the photos that are not for training [data/README.md there]."""
    file = shared / "data" / "weights" / "mobilenet_7_5_224_tf.h5"
    if not file.is_file():
        pytest.skip("needs ../shared/data/weights")
    s = Settings(model="mobilenet_v1_075", weights=f"keras:MobileNet_0.75={file}")
    data = library.load_data(shared / "data" / "flowers" / "flowers-500.tar")
    found = linear_probe_of(*adapted(read_source(s.weights), s, data), data, s)
    assert found.top1 >= 0.8
    assert found.images == 400


# What is trained, and what the board says


def test_the_best_linear_probe_is_trained_and_the_other_says_that_it_was_not(board, files):
    out, done = board
    trained, other = table(out)
    assert (trained["model"], trained["run"], trained["steps"]) == ("resnet32", "akamaster-resnet32-seed0", "2.0")
    assert (other["model"], other["trained"], other["top1"], other["run"]) == ("resnet20", "False", "", "")
    found = {name: entry["linear_probe"]["top1"] for name, entry in entries(out).items()}
    assert found["akamaster-resnet32"] > 0.6 > found["akamaster-resnet20"]
    assert float(trained["linear_probe"]) == found["akamaster-resnet32"]
    assert float(other["linear_probe"]) == found["akamaster-resnet20"]
    assert "not trained" in done.stdout
    assert "Not trained, so not in this verdict: resnet20." in done.stdout
    assert not (out / "akamaster-resnet20-seed0").exists()


def test_the_start_stands_in_card_settings_board_and_report(board, files):
    out, done = board
    run = out / "akamaster-resnet32-seed0"
    card, where = json.loads((run / "card.json").read_text()), files["resnet32"]
    assert card["start"] == "CIFAR-10 (akamaster:resnet32)"
    assert card["parent"].startswith("akamaster:resnet32=resnet32.th@sha256:")
    assert read_file(run / "settings.yaml")["weights"].startswith(f"{where}@sha256:")
    assert table(out)[0]["start"] == "CIFAR-10 (akamaster:resnet32)"
    assert "akamaster:resnet32" in done.stdout
    page = (out / "report.html").read_text()
    assert "CIFAR-10 (akamaster:resnet32)" in page
    assert "out of fold, on 18 training images" in " ".join(page.split())
    pixels = card["preprocessing"]
    assert pixels["mean"] == pytest.approx([0.485, 0.456, 0.406])  # the weights' own, not the data's


@pytest.mark.slow
def test_more_are_trained_later_and_nothing_is_done_twice(board, photos, files, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(board[0], out)
    before, weights = (out / "starts.json").read_bytes(), out / "akamaster-resnet32-seed0" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    done = inside("compare", photos, "-m", ",".join(files.values()), *QUICK, "-o", out)
    assert done.returncode == 0, done.stderr
    assert (out / "starts.json").read_bytes() == before
    assert weights.stat().st_mtime_ns == written
    assert {row["model"] for row in table(out)} == {"resnet20", "resnet32"}
    assert all(row["top1"] for row in table(out))
    again = inside("compare", photos, "-m", ",".join(files.values()), "--finetune", "1", *QUICK, "-o", out)
    assert again.returncode == 0, again.stderr
    assert all(row["top1"] for row in table(out))  # what was begun stays


@pytest.mark.slow
def test_a_killed_comparison_of_pretrained_networks_ends_with_the_same_bits(board, photos, files, tmp_path):
    out, words = tmp_path / "out", ("compare", photos, "-m", ",".join(files.values()), "--finetune", "1", *QUICK)
    killed = process(*words, "--checkpoint-every", "0.001s", "-o", out, fault="kill@step:1")
    assert killed.returncode == -signal.SIGKILL
    before = (out / "starts.json").read_bytes()
    assert process(*words, "--checkpoint-every", "0.001s", "-o", out).returncode == 0
    assert (out / "starts.json").read_bytes() == before
    ours, whole = (folder / "akamaster-resnet32-seed0" / "model.safetensors" for folder in (out, board[0]))
    assert ours.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_two_starts_of_one_network_are_two_rows(photos, files, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "best_source", {"resnet32": files["resnet32"]}.get)
    names = ["resnet32", f"akamaster:resnet32={files['resnet20'].partition('=')[2]}"]
    settings = {"steps": 2, "image_size": 32, "batch_size": 8}
    with pytest.raises(
        library.PodiumError, match="resnet20"
    ):  # the file is of another network: said before any training
        library.compare(names, photos, tmp_path / "out", **settings)
    library.compare(names[:1], photos, tmp_path / "out", **settings)
    run = tmp_path / "out" / "resnet32-seed0"
    other = json.loads((run / "result.json").read_text())
    other |= {"start": "ImageNet (torchvision:resnet32)", "parent": "torchvision:resnet32=other.pth@sha256:12"}
    shutil.copytree(run, tmp_path / "other-seed0")
    (tmp_path / "other-seed0" / "result.json").write_text(json.dumps(other))
    rows = Leaderboard.read([run, tmp_path / "other-seed0"]).ranked
    assert {row["model"] for row in rows} == {"resnet32 (akamaster:resnet32)", "resnet32 (torchvision:resnet32)"}
    (tmp_path / "other-seed0" / "result.json").write_text(
        json.dumps(other | {"start": "CIFAR-10 (akamaster:resnet32)"})
    )
    rows = Leaderboard.read([run, tmp_path / "other-seed0"]).ranked  # two files of one name are no two seeds
    assert {row["model"]: row["seeds"] for row in rows} == {"resnet32": 1, "other": 1}


def test_the_same_weights_by_two_names_are_one_candidate(tmp_path):
    named = candidates.candidates_of(["resnet18", "torchvision:resnet18", "torchvision:resnet18.v1"])
    assert candidates.with_sources(named, {})[0].name == "resnet18"
    assert [c.source for c in candidates.with_sources(named[:2], {})] == ["torchvision:resnet18"]


# Which weights


def photos_like(size=90):
    return arrays([0, 1], np.zeros((2, size, size, 3), np.uint8))


def test_photos_start_from_official_weights_and_small_images_from_random_ones(photos):
    data, s = library.load_data(photos), Settings()
    assert candidates.start_pretrained([], s, data)
    assert candidates.start_pretrained(["resnet18", "lenet5"], s, data)
    assert not candidates.start_pretrained(["lenet5", "plain20"], s, data)  # of none of them is there a file
    assert not candidates.start_pretrained([], s.replace(small=True), data)
    assert not candidates.start_pretrained([], s, library.load_data("digits"))


def test_every_default_network_has_official_weights():
    found = candidates.with_sources(candidates.candidates_of(candidates.PRETRAINED), {})
    assert all(":" in candidate.source for candidate in found)
    assert [candidate.name for candidate in found] == list(candidates.PRETRAINED)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "resnet18,lenet5", "--pretrained"], ("lenet5", "--scratch")),
        (["-m", "torchvision:resnet18", "--scratch"], ("torchvision:resnet18",)),
        (["-m", "torchvision:resnet81"], ("resnet81", "resnet18")),
        (["-m", "resnet18,resnet50", "--weights", "torchvision:resnet18"], ("1 given for 2", "--weights A,B")),
        (["--weights", "torchvision:resnet18"], ("1 given for networks that are not named", "--weights A,B")),
        (["-m", "keras:MobileNet=a.h5,keras:MobileNet=b.h5"], ("a.h5", "b.h5")),
        (["-m", "keras:Xception=gone.h5"], ("xception", "gone.h5", "no such file")),
        (["-m", "resnet18", "--weights", "nowhere"], ("resnet18", "nowhere")),
        (["--small", "--pretrained"], ("small", "--scratch")),
        (["--scratch", "--finetune", "2"], ("finetune",)),
        (["--finetune", "0"], ("finetune", "at least 1")),
        (["-m", "lenet5", "--scratch", "--recall", "nowhere=0.9"], ("no class is called 'nowhere'", "fix: ")),
    ],
)
def test_what_cannot_start_is_refused_before_anything_is_written(photos, tmp_path, words, says):
    one_error(inside("compare", photos, *words, "--steps", "2", "-o", tmp_path / "out"), 2, *says)
    assert not (tmp_path / "out").exists()


def test_without_network_and_cache_one_error_names_all_files_addresses_places_and_scratch(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODIUM_MIRROR", "http://127.0.0.1:9")  # where nothing answers
    done = inside("compare", photos, "-m", "resnet18,resnet50,keras:MobileNet", "-o", tmp_path / "out")
    paths = ("models/resnet18-f37072fd.pth", "models/resnet50-0676ba61.pth")
    paths += ("tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf.h5",)
    places = (f"http://127.0.0.1:9/{path} at {tmp_path / 'cache' / path.rpartition('/')[2]}" for path in paths)
    one_error(done, 6, *places, "torchvision:resnet50", "--scratch")
    assert not (tmp_path / "out").exists()


def test_one_comparison_has_one_kind_of_start(board, photos, files, tmp_path):
    out = board[0]
    scratch = inside("compare", photos, "-m", "resnet20", "--scratch", *QUICK, "-o", out)
    one_error(scratch, 2, "pretrained", "-o")
    fresh = tmp_path / "fresh"
    words = ("compare", photos, "-m", "lenet5_modern", *QUICK, "-o", fresh)
    assert inside(*words).returncode == 0  # no official weights: from random ones
    assert table(fresh)[0]["start"] == "random weights"
    one_error(inside("compare", photos, "-m", files["resnet20"], *QUICK, "-o", fresh), 2, "random", "-o")


def test_other_weights_of_the_same_name_are_refused(board, photos, files):
    other = f"akamaster:resnet20={files['resnet32'].partition('=')[2]}"
    one_error(inside("compare", photos, "-m", other, *QUICK, "-o", board[0]), 2, "akamaster-resnet20", "resnet32.th")


@pytest.mark.slow
def test_weights_of_runs_are_given_one_for_each_network(photos, files, tmp_path):
    parent = library.train("resnet20", photos, tmp_path / "parent", steps=2, image_size=32, batch_size=8)
    out = tmp_path / "out"
    words = ("compare", photos, "-m", "resnet20", "--weights", parent.path, "--steps", "2", "-o", out)
    one_error(inside(*words), 3, "the weights were trained on all 24 images", "--rank-on test")  # none could test
    done = inside(*words, "--rank-on", "test")
    assert done.returncode == 0, done.stderr
    (row,) = table(out)
    assert row["start"] == f"{parent.result['data']} (parent)"
    assert "no linear probe: its weights have learned from 24 of these images" in done.stderr + done.stdout
    assert not row["linear_probe"]  # its features know the classes of these images
    assert read_file(out / "resnet20-seed0" / "settings.yaml")["recipe"] == "finetune"


def test_weights_of_another_network_are_refused_before_any_training(photos, files, tmp_path):
    words = ("-m", "resnet20,resnet32", "--weights", f"{files['resnet20']},{files['resnet20']}", *QUICK)
    done = inside("compare", photos, *words, "-o", tmp_path / "out")
    one_error(done, 2, "is a resnet20, not a resnet32", "give weights of resnet32")
    assert not list(tmp_path.glob("out/resnet20-seed0/epochs*"))


def test_a_file_alone_does_not_say_whose_names_its_weights_have(files):
    path = files["resnet20"].partition("=")[2]
    with pytest.raises(UsageError, match="a file, and no run or bundle") as caught:
        read_source(path)
    assert f"LIBRARY:NAME={path}" in caught.value.fix


# The length of the runs of one network


@pytest.mark.slow
def test_later_seeds_take_as_many_steps_as_the_first_has_measured(tmp_path, monkeypatch):
    from podium.training import loop

    measured, honest = iter([5, 7, 9, 11]), loop.steps_of

    def pace(plan, part=None, spent=0.0):
        return next(measured) if plan.settings.duration.endswith("m") else honest(plan, part, spent)

    monkeypatch.setattr(loop, "steps_of", pace)
    out = tmp_path / "out"
    library.compare(["lenet5_modern", "lenet5"], "digits", out, seeds=2, budget="2m")
    steps = {path.parent.name: read_file(path)["duration"] for path in out.glob("*-seed*/settings.yaml")}
    assert steps == {
        "lenet5_modern-seed0": "5it",
        "lenet5-seed0": "7it",
        "lenet5_modern-seed1": "5it",
        "lenet5-seed1": "7it",
    }
    line = next(
        line for line in (out / "lenet5-seed1" / "settings.yaml").read_text().splitlines() if "duration" in line
    )
    assert line == "duration: 7it  # by the steps of lenet5-seed0"
    library.compare(["lenet5_modern", "lenet5"], "digits", out, seeds=2, budget="2m")  # goes on as it was
    with pytest.raises(UsageError, match="duration"):
        library.compare(["lenet5_modern"], "digits", out, seeds=2, budget="3m")


# With folds, seeds and plans


@pytest.fixture(scope="module")
def folded(photos, files, tmp_path_factory):
    """A cross-validation of a network that starts from weights."""
    out = tmp_path_factory.mktemp("folded") / "one"
    words = ("compare", photos, "-m", files["resnet32"], *QUICK[2:], "--epochs", "20", "--folds", "2", "-o", out)
    done = inside(*words)
    assert done.returncode == 0, done.stderr
    return out, words, done


@pytest.mark.slow
def test_every_fold_starts_from_the_weights_and_no_image_that_reports_chooses(folded, files):
    out, _, done = folded
    runs = [
        *(out / "akamaster-resnet32-seed0" / f"fold{number}" for number in (1, 2)),
        out / "akamaster-resnet32-final",
    ]
    assert all(read_file(run / "settings.yaml")["weights"].startswith(files["resnet32"]) for run in runs)
    assert entries(out)["akamaster-resnet32"]["linear_probe"] is None
    assert "no linear probes are made" in done.stderr
    (row,) = table(out)
    assert (row["start"], row["folds"], row["linear_probe"]) == ("CIFAR-10 (akamaster:resnet32)", "2", "")


@pytest.mark.slow
def test_the_network_that_is_handed_over_started_from_them_too(folded, photos):
    out, *_ = folded
    (row,) = table(out)
    assert (row["model"], row["run"]) == ("resnet32", "akamaster-resnet32-final")
    card = json.loads((out / row["run"] / "card.json").read_text())
    assert card["start"] == "CIFAR-10 (akamaster:resnet32)"
    assert card["cross_validation"]["folds"] == 2
    assert card["cross_validation"]["top1"] == pytest.approx(float(row["top1"]))
    done = inside("predict", out, photos / "val" / "ash" / "0.png", "--json")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_folds_are_gone_on_with_and_nothing_is_trained_twice(folded):
    out, words, _ = folded
    written = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(written) == 3
    assert inside(*words).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == written
    scratch = ("compare", words[1], "-m", "resnet32", "--scratch", *words[4:])
    one_error(inside(*scratch), 2, "pretrained", "-o")


def test_which_networks_are_trained_is_not_chosen_by_images_that_report(photos, files, tmp_path):
    words = ("compare", photos, "-m", ",".join(files.values()), "--folds", "2", "--finetune", "1")
    one_error(inside(*words, "-o", tmp_path / "out"), 2, "finetune", "folds", "-m")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_seeds_and_folds_of_a_network_take_as_many_steps_as_its_first_has_measured(tmp_path, monkeypatch):
    from podium.training import loop

    measured, honest = iter([2, 3, 4]), loop.steps_of

    def pace(plan, part=None, spent=0.0):
        return next(measured) if plan.settings.duration.endswith("m") else honest(plan, part, spent)

    monkeypatch.setattr(loop, "steps_of", pace)
    out = tmp_path / "out"
    library.compare(["lenet5"], "digits", out, budget="2m", folds=2, seeds=2)
    settings = {path.parent.relative_to(out).as_posix(): path for path in out.rglob("settings.yaml")}
    assert {read_file(path)["duration"] for path in settings.values()} == {"2it"}
    line = settings["lenet5-seed1/fold2"].read_text().partition("duration: ")[2].splitlines()[0]
    assert line == "2it  # by the steps of lenet5-seed0/fold1"


@pytest.mark.slow
def test_a_plan_says_which_networks_are_timed(tmp_path):
    """Timing takes some seconds for each network, in which a person would see nothing."""
    settings = settings_of("quick", None, {"data": "digits", "duration": "2it"})
    calls = []
    found = outlook(
        Study(["lenet5", "lenet5_modern"], settings, tmp_path / "out", seeds=1), lambda *call: calls.append(call)
    )
    assert calls == [(1, 2), (2, 2)] * 2, "their multiply-adds are counted first"
    assert found.lines()[0].startswith("lenet5: 1 run of ")
    assert " each" not in found.lines()[0]


@pytest.mark.slow
def test_a_plan_needs_no_weights_and_covers_them(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODIUM_MIRROR", "http://127.0.0.1:9")  # where nothing answers
    words = ("compare", photos, "-m", "mobilenet_v1_025,mobilenet_v1_050", "--image-size", "32", "--steps", "2")
    more = ("--finetune", "1", "--seeds", "3", "--jobs", "1", "--plan", "--json", "-o", tmp_path / "out")
    done = inside(*words, *more)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["start"] for row in found["networks"]] == ["keras:MobileNet_0.25", "keras:MobileNet_0.50"]
    assert (found["runs"], found["finetune"]) == (3, 1)
    assert found["seconds"] == pytest.approx(max(row["seconds"] for row in found["networks"]), abs=0.2)
    lines = Outlook(**{**found, "networks": tuple(Foreseen(**row) for row in found["networks"])}).lines()
    assert lines[0].startswith("mobilenet_v1_025 from keras:MobileNet_0.25: 3 runs of ")
    assert lines[-1].startswith("in all 3 runs of the network with the best linear probe, at most: ")
    assert not (tmp_path / "out").exists()
    assert not [*tmp_path.rglob("*.h5")]
