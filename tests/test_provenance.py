"""Where a network came from can be followed, file by file, from what is shipped back to the first run."""

import hashlib
import json
from pathlib import Path

import pytest

import podium as library
from podium.compression import shrink
from podium.training.transfer import PIN


def digest(folder: Path) -> str:
    """Of the weights as they lie there, whatever the card says."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def card_in(folder: Path) -> dict:
    return json.loads((folder / "card.json").read_text())


def test_every_step_from_fine_tuning_to_export_names_the_weights_it_came_from(run, tmp_path, monkeypatch):
    pytest.importorskip("torch_pruning", reason="needs the extra `prune`")
    monkeypatch.setattr(shrink, "SECONDS", 0.01)
    tuned, pruned, small, file = (tmp_path / name for name in ("tuned", "pruned", "int8", "rose.onnx"))
    library.train("lenet5_modern", "digits", tuned, weights=str(run.path), recipe="finetune", steps=2)
    library.prune(tuned, "digits", pruned, macs=0.7, steps=2, controls=False, tolerance=0.99)
    library.quantize(pruned, "digits", small, tolerance=0.99, limit=20, seconds=0)
    library.export(pruned, file, data="digits")

    for exported in (card_in(small), library.load(small).card, library.load(file).card):
        assert exported["parent"]["sha256"] == digest(pruned)
    assert card_in(pruned)["teacher"] == f"{tuned.resolve()}{PIN}{digest(tuned)}"
    assert card_in(pruned)["parent"] == f"{(pruned / 'start').resolve()}{PIN}{digest(pruned / 'start')}"
    assert card_in(pruned / "start")["made"]["parent"] == f"{tuned.resolve()}{PIN}{digest(tuned)}"
    assert card_in(tuned)["parent"] == f"{run.path.resolve()}{PIN}{digest(run.path)}"

    cards = [card_in(folder) for folder in (run.path, tuned, pruned, small)]
    assert len({card["data_sha256"] for card in cards}) == 1
    for card in cards:
        assert {"podium", "torch", "seed", "recipe"} <= set(card)
    for folder in (run.path, tuned, pruned):
        assert card_in(folder)["sha256"] == digest(folder)
        assert (folder / "settings.yaml").is_file()
    for name, sha256 in card_in(small)["sha256"].items():
        assert hashlib.sha256((small / name).read_bytes()).hexdigest() == sha256
