"""The pictures of the documents can be made again, by the script beside them."""

import subprocess

import pytest
from PIL import Image

import podium as library
from browsers import MARKS
from conftest import ROOT

pytestmark = MARKS


@pytest.fixture
def screens(monkeypatch, tmp_path):
    """The script as a module, which saves elsewhere."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "images"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    import screens

    monkeypatch.setattr(screens, "HERE", tmp_path)
    return screens


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_the_picture_of_a_report(screens, comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)  # the comparison is there
    screens.report(comparison)
    assert size_of(tmp_path / "report.png") == (1220, 1900)


def test_the_pictures_of_the_servers_page(screens, run, tmp_path):
    photos = [str(path) for path in sorted((ROOT / "examples" / "digits").glob("*.png"))]
    net = tmp_path / "x.onnx"
    library.export(run, net, heat_map=True)
    screens.serve([f"one={net}", f"two={net}"], photos)
    for name, size in (("serve.png", (1220, 1150)), ("serve-phone.png", (400, 800))):
        assert size_of(tmp_path / name) == size
