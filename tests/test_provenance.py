"""Where a network came from can be followed, file by file, from what is shipped back to the first run."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import podium as library
from command import one_error, podium
from podium.compression import shrink
from podium.runs import checkpoint as state
from podium.training.transfer.source import PIN


def digest(folder: Path) -> str:
    """Of the weights as they lie there, whatever the card says."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def card_in(folder: Path) -> dict:
    return json.loads((folder / "card.json").read_text())


@pytest.mark.slow
def test_every_step_from_fine_tuning_to_export_names_the_weights_it_came_from(run, tmp_path, monkeypatch):
    pytest.importorskip("torch_pruning", reason="needs the extra `prune`")
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    monkeypatch.setattr(shrink, "FILE_ENGINES", ())
    tuned, pruned, small, file = (tmp_path / name for name in ("tuned", "pruned", "int8", "rose.onnx"))
    library.train("lenet5_modern", "digits", tuned, weights=str(run.path), recipe="finetune", steps=2)
    library.prune(tuned, "digits", pruned, macs=0.7, steps=2, controls=False, tolerance=0.99)
    library.quantize(pruned, "digits", small, tolerance=0.99, limit=20, seconds=0)
    library.export(pruned, file, data="digits")

    for exported in (card_in(small), library.load(small).card, library.load(file).card):
        assert exported["parent"]["sha256"] == digest(pruned)
    assert card_in(pruned)["teacher"] == f"tuned{PIN}{digest(tuned)}"
    assert card_in(pruned)["parent"] == f"start{PIN}{digest(pruned / 'start')}"
    assert card_in(pruned / "start")["made"]["parent"] == f"tuned{PIN}{digest(tuned)}"
    assert card_in(tuned)["parent"] == f"{run.path.name}{PIN}{digest(run.path)}"

    cards = [card_in(folder) for folder in (run.path, tuned, pruned, small)]
    assert len({card["data_sha256"] for card in cards}) == 1
    for card in cards:
        assert {"podium", "torch", "seed", "recipe"} <= set(card)
    for folder in (run.path, tuned, pruned):
        assert card_in(folder)["sha256"] == digest(folder)
        assert (folder / "settings.yaml").is_file()
    for name, sha256 in card_in(small)["sha256"].items():
        assert hashlib.sha256((small / name).read_bytes()).hexdigest() == sha256

    # `podium verify` finds all of it by itself: every file as written, and the way back to the first run.
    for path in (run.path, tuned, pruned, small, file):
        assert library.verify(path)["ok"]
    (start, teacher) = library.verify(pruned)["origins"]
    assert (start["as"], start["state"], start["sha256"]) == ("parent", "unchanged", digest(pruned / "start"))
    (above,) = start["origins"]
    assert (above["source"], above["origins"][0]["source"]) == (str(tuned.resolve()), str(run.path.resolve()))
    assert teacher["sha256"] == digest(tuned)
    with (tuned / "model.safetensors").open("ab") as weights:
        weights.write(b"0")
    assert library.verify(pruned)["origins"][1]["state"] == "changed"
    shutil.rmtree(tuned)
    assert library.verify(pruned)["origins"][1] == {**teacher, "state": "gone", "origins": []}


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    """A folder of one of each that has digests: a run, two exported files and a quantized network."""
    folder = tmp_path_factory.mktemp("written")
    shutil.copytree(run.path, folder / "run")
    state.save(folder / "run", {"net.a": torch.ones(9)}, {"step": 1})  # as --keep-checkpoint leaves one
    for exported in ("x.onnx", "x.xml"):
        library.export(run, folder / exported)
    (folder / "int8").mkdir()
    shutil.copy(folder / "x.onnx", folder / "int8" / "model.onnx")
    recorded = {"sha256": {"model.onnx": hashlib.sha256((folder / "x.onnx").read_bytes()).hexdigest()}}
    (folder / "int8" / "card.json").write_text(json.dumps(recorded))
    return folder


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("run/model.safetensors", "run"),
        ("run/card.json", "run"),
        ("run/last.ckpt", "run"),
        ("x.onnx", "x.onnx"),
        ("x.bin", "x.xml"),
        ("int8/model.onnx", "int8"),
    ],
)
def test_verify_names_the_file_that_is_not_what_was_written(written, tmp_path, name, place):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    places = [tmp_path / "run", tmp_path / "x.onnx", tmp_path / "x.xml", tmp_path / "int8"]
    assert all(library.verify(place)["ok"] for place in places)

    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    assert [found for found in places if not library.verify(found)["ok"]] == [tmp_path / place]
    assert Path(name).name in [row["file"] for row in library.verify(tmp_path / place)["files"] if row["error"]]
    done = podium("verify", tmp_path / place)
    one_error(done, 4, place.partition(".")[0])
    assert "NOT as it was written" in done.stdout


def test_a_card_that_has_no_digest_is_said_to_have_none(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    card = card_in(tmp_path / "run")
    del card["card_sha256"]
    (tmp_path / "run" / "card.json").write_text(json.dumps(card))
    done = podium("verify", tmp_path / "run", "--json")
    (said,) = json.loads(done.stdout)
    assert said["ok"]
    assert {row["file"]: row["checked"] for row in said["files"]}["card.json"] is False


def test_verify_of_what_is_no_model(tmp_path):
    one_error(podium("verify", tmp_path), 4, "no run, bundle or exported file")
    one_error(podium("verify", tmp_path / "x.onnx"), 4, "cannot be read")
    (tmp_path / "x.pt2").write_bytes(b"")
    one_error(podium("verify", tmp_path / "x.pt2"), 2, "no digest")
