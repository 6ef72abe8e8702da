"""The official weights on record: which file a source names, and what is known of it."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from podium.errors import UsageError
from podium.imagenet import class_names, wordnet_ids
from podium.models import list_models
from podium.weights import official
from podium.weights.official import best_source, find_official, pixels_of, recognised
from podium.weights.official_files import official_files
from podium.weights.peers import find_peer

EVERY = [record for own in official_files().values() for record in own]


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("resnet50", "torchvision:resnet50"),
        ("resnet50_v1", "keras:ResNet50"),  # the stride in the first 1x1, as the paper has it
        ("alexnet_owt", "torchvision:alexnet"),
        ("googlenet_tv", "torchvision:googlenet"),
        ("xception", "keras:Xception"),
        ("seresnet50", "timm:legacy_seresnet50"),
        ("senet154", "timm:legacy_senet154"),
        ("inception_v4", "timm:inception_v4"),
        ("mobilenet_v1_075", "keras:MobileNet_0.75"),
        ("lenet5", None),
        ("alexnet", None),  # in two groups: torchvision's is the one of 2014
        ("googlenet", None),
        ("resnet20", None),
        ("no_such_network", None),
    ],
)
def test_a_network_has_its_own_best_known_weights(model, source):
    assert best_source(model) == source


@pytest.mark.parametrize("model", list_models())
def test_the_best_known_weights_are_of_exactly_this_network(model):
    source = best_source(model)
    if source is not None:
        assert find_peer(source).model == model
        assert find_official(source).peer == source
        assert "nc" not in find_official(source).licence, "what is taken by default may be used for anything"


def test_every_official_file_can_be_read_and_has_an_address():
    for record in EVERY:
        assert find_peer(record.peer) == find_peer(record.source)
        assert find_official(record.source) == record
        assert record.address.startswith("https://")
    for one in ("source", "address", "cached_as"):
        values = [getattr(record, one) for record in EVERY]
        assert len(set(values)) == len(values), "two files have the same name"


def test_a_tag_names_one_of_several_files():
    assert find_official("torchvision:resnet50.v2").address.endswith("/models/resnet50-11ad3fa6.pth")
    assert find_official("torchvision:resnet50.v1") == find_official("torchvision:resnet50")
    assert find_official("timm:resnet50.tv2_in1k").repository == "timm/resnet50.tv2_in1k"
    assert find_official("keras:MobileNet_0.75").cached_as == "mobilenet_7_5_224_tf.h5"
    assert find_official("torchvision:resnext101_32x4d") is None, "torchvision has the network, and no weights of it"
    with pytest.raises(UsageError, match=r"torchvision:resnet50 has no weights 'v3'\nfix: .*v2"):
        find_official("torchvision:resnet50.v3")
    with pytest.raises(UsageError, match="has no weights 'x'"):
        find_official("keras:Xception.x")


# torchvision's second weights, which it resizes to 232 pixels before it cuts 224 out; and the one network whose only weights
# are of that recipe too.
SECOND = [record for record in EVERY if record.library == "torchvision" and record.tag == "v2"]
LATER = [*SECOND, find_official("torchvision:resnext101_64x4d")]


def test_torchvision_has_second_weights_of_seven_networks():
    assert {record.name for record in SECOND} == {
        *("resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
        *("wide_resnet50_2", "wide_resnet101_2"),
    }


@pytest.mark.parametrize("record", LATER, ids=lambda record: record.source)
def test_second_weights_have_their_own_preprocessing_by_the_digest_in_the_files_name(record):
    for name in (record.file, f"backup of {record.file}", record.file.replace(".pth", " (1).pth")):
        pixels, found, notes = pixels_of(record.peer, Path("somewhere") / name)
        assert (pixels["crop_pct"], found, notes) == (224 / 232, record, [])


@pytest.mark.parametrize("record", [r for r in EVERY if r.library == "torchvision"], ids=lambda record: record.source)
def test_torchvisions_files_are_resized_as_torchvision_does(record):
    resize = 232 if record in LATER else 342 if record.name == "inception_v3" else 256
    crop = 299 if record.name == "inception_v3" else 224
    pixels, found, notes = pixels_of(record.peer, Path(record.file))
    assert (pixels["crop_pct"], found, notes) == (pytest.approx(crop / resize), record, [])
    assert pixels.get("interpolation", "bilinear") == "bilinear"


def test_a_file_is_known_by_its_content_whatever_its_name(tmp_path, monkeypatch):
    file = tmp_path / "model.pth"
    file.write_bytes(b"weights")
    own = tuple(
        dataclasses.replace(r, sha256=hashlib.sha256(b"weights").hexdigest()[:8]) if r.tag == "v2" else r
        for r in official_files()["torchvision:resnet50"]
    )
    monkeypatch.setattr(official, "official_files", lambda: {**official_files(), "torchvision:resnet50": own})
    for source in ("torchvision:resnet50", "timm:resnet50", "torchvision:resnet50.v1"):
        pixels, found, notes = pixels_of(source, file)
        assert (found.source, pixels["crop_pct"]) == ("torchvision:resnet50.v2", 224 / 232)
        assert bool(notes) == (source != "torchvision:resnet50" and "." in source), (
            "what was said is overruled, and told"
        )


def test_an_unknown_file_says_that_its_preprocessing_is_assumed(tmp_path):
    file = tmp_path / "best.pth"
    file.write_bytes(b"of somebody")
    pixels, found, (note,) = pixels_of("torchvision:resnet50", file)
    assert (pixels["crop_pct"], found) == (0.875, None)
    for word in ("best.pth", "is assumed", "torchvision:resnet50.v1", "give torchvision:resnet50.v2"):
        assert word in note
    assert pixels_of("torchvision:resnet50.v2", file) == ({**pixels, "crop_pct": 224 / 232}, None, []), "what it says"
    for source in ("torchvision:resnet18", "keras:Xception", "akamaster:resnet20"):
        assert pixels_of(source, file)[1:] == (None, []), "there is one preprocessing only"


@pytest.mark.parametrize(
    ("source", "path", "expected", "crop", "interpolation"),
    [
        ("timm:resnet50", "resnet50.tv2_in1k.safetensors", "timm:resnet50.tv2_in1k", 0.965, "bilinear"),
        ("timm:resnet50", "resnet50_a1_0-14fe96d1.pth", "timm:resnet50.a1_in1k", 0.95, "bicubic"),
        (
            "timm:resnet18",
            "hub/models--timm--resnet18.gluon_in1k/snapshots/0123/model.safetensors",
            "timm:resnet18.gluon_in1k",
            0.875,
            "bicubic",
        ),
        ("timm:resnet50", "resnet50-11ad3fa6.pth", "torchvision:resnet50.v2", 224 / 232, "bilinear"),
        ("timm:seresnext50_32x4d", "seresnext50_32x4d_racm-a304a460.pth", "timm:seresnext50_32x4d.racm_in1k", 0.875, "bicubic"),
        ("torchvision:resnet18", "resnet18-5c106cde.pth", "torchvision:resnet18.v1", 0.875, "bilinear"),
        ("keras:ResNet50", "resnet50_weights_tf_dim_ordering_tf_kernels.h5", "keras:ResNet50", 0.875, "bilinear"),
    ],
)  # fmt: skip
def test_names_of_timm_and_keras_are_recognised(source, path, expected, crop, interpolation):
    pixels, found, notes = pixels_of(source, Path(path))
    assert (found.source, pixels["crop_pct"], notes) == (expected, crop, [])
    assert pixels.get("interpolation", "bilinear") == interpolation


def test_a_digest_of_another_network_is_not_recognised():
    assert recognised("torchvision:resnet18", Path("resnet50-11ad3fa6.pth")) is None


def test_gluons_inception_has_its_own_statistics():
    assert pixels_of("timm:inception_v3.gluon_in1k", Path("x"))[0]["mean"] == (0.485, 0.456, 0.406)
    assert pixels_of("timm:inception_v3.tf_in1k", Path("x"))[0]["mean"] == (0.5, 0.5, 0.5)


def test_imagenets_classes_have_their_wordnet_ids_and_unlike_names(shared):
    names, ids = class_names(), wordnet_ids()
    assert len(names) == len(set(names)) == len(ids) == 1000
    assert list(ids) == sorted(set(ids))
    known = dict(zip(ids, names, strict=True))
    assert known["n02012849"] == "crane bird"
    assert known["n03126707"] == "crane machine"
    assert (known["n03710637"], known["n03710721"]) == ("maillot", "tank suit")
    lines = (shared / "data" / "weights" / "imagenet_classes.txt").read_text().splitlines()
    for (index, wordnet, name), own, its in zip((line.split(" ", 2) for line in lines), names, ids, strict=True):
        assert its == wordnet == ids[int(index)]
        assert own == name.replace("_", " ") or name in ("crane", "maillot")


def test_names_at_known_places():
    """As every tutorial prints them: 0 is a tench, 207 a golden retriever, 281 a tabby, 985 a daisy, 999 toilet tissue."""
    at = {0: "tench", 1: "goldfish", 207: "golden retriever", 281: "tabby", 985: "daisy", 999: "toilet tissue"}
    assert {place: class_names()[place] for place in at} == at
    assert (wordnet_ids()[0], wordnet_ids()[999]) == ("n01440764", "n15075141")


def test_the_verb_lists_what_is_on_record(podium, monkeypatch, tmp_path):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    (row,) = podium("weights", "resnet18", "--json").json[:1]
    assert (row["source"], row["model"], row["best"], row["licence"]) == (
        "torchvision:resnet18.v1", "resnet18", True, "bsd-3-clause",
    )  # fmt: skip
    assert (row["bytes"], row["top1"], row["cached"]) == (46_830_571, 69.758, None)
    assert row["preprocessing"]["crop_pct"] == 0.875
    place = Path(row["by_hand"])
    place.parent.mkdir()
    place.write_bytes(b"")
    assert podium("weights", "torchvision:resnet18", "--json").json[0]["cached"] == str(place)
    said = podium("weights", "keras:*")
    assert said.code == 0
    assert "keras:MobileNet_0.75 *" in said.out
    assert "no digest is published" in said.out
    podium("weights", "lenet5").refused(2, "no official weights of 'lenet5'", "lists those that are")
    podium("weights", "resnet51").refused(2, "resnet51", "did you mean")


@pytest.mark.parametrize(
    ("variable", "source"), [("PODIUM_MIRROR", "torchvision:resnet18"), ("HF_ENDPOINT", "timm:legacy_seresnet18")]
)
def test_a_password_in_a_mirrors_address_is_never_shown(podium, monkeypatch, tmp_path, variable, source):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(variable, "https://me:secret@127.0.0.1:9")
    said = podium("weights", "--fetch", source)
    said.refused(2, variable, "password")
    assert "secret" not in said.err


def test_the_verb_fetches_ahead(podium, monkeypatch, tmp_path):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODIUM_MIRROR", "http://127.0.0.1:9")
    podium("weights", "--fetch", "resnet50").refused(6, "resnet50-0676ba61.pth", "--scratch")
    podium("weights", "--fetch", "torchvision:resnet50.v3").refused(2, "no weights 'v3'", "v2")
    podium("weights", "--fetch", "lenet5").refused(2, "no official weights of lenet5")
    podium("weights", "--fetch", "resnet51").refused(2, "no network is called 'resnet51'", "did you mean")
    podium("weights", "x", "--fetch", "resnet50").refused(2, "--fetch", "no pattern")
