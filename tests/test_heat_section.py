"""The report's heat maps: images chosen by the stated rule, a map for each network, computed once and kept with the runs."""

import re

import numpy as np
import pytest

from podium.comparison.heat_maps import MAPS, Kept, chosen_images, pictures_of
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.provenance import Commands, Provenance
from podium.comparison.report.report_page import write_report
from podium.data.sources import load_data
from podium.runs.bundle import Bundle
from podium.runs.folder import RunFolder


def test_images_are_those_that_most_networks_have_right_and_then_wrong():
    labels = np.array([0, 0, 1, 1, 2, 2])
    guesses = np.array([[0, 1, 1, 0, 2, 0], [0, 1, 1, 1, 2, 0], [0, 1, 1, 0, 2, 1]])
    sure = np.array([[0.9, 0.5, 0.6, 0.5, 0.8, 0.7]] * 3)
    assert chosen_images(guesses, sure, labels) == [0, 4, 2, 5, 1, 3]  # right by 3, 3, 3 and then by 0, 0, 1 of three


def test_a_class_is_shown_twice_only_where_no_other_is_left():
    labels = np.array([0, 0, 0, 1])
    right = np.array([[0, 0, 0, 1]])
    assert chosen_images(right, np.array([[0.9, 0.8, 0.7, 0.6]]), labels) == [0, 3, 1]


def test_every_network_has_its_map_in_the_report(own_comparison):
    page = (own_comparison / "report.html").read_text(encoding="utf-8")
    section = re.search(r"Where the networks look.*?Each network", page, re.DOTALL)[0]
    pictures = re.findall(r'<img src="data:image/webp;base64,[\w+/=]+" alt="([^"]*)"', section)
    networks = [alt for alt in pictures if alt.startswith("lenet5")]
    assert len(networks) == 2 * section.count("<h3>") > 6
    assert len(pictures) == 3 * section.count("<h3>")


def test_maps_are_computed_once(own_comparison, monkeypatch):
    """A report that is written again has the same maps, without a network having been explained."""

    def written():
        paths = [own_comparison / f"{name}-seed0" for name in ("lenet5", "lenet5_modern")]
        board = Leaderboard.read(paths)
        made = Provenance.of(board, own_comparison, paths, "again", Commands())
        page = write_report(own_comparison / "again.html", board, paths, load_data("digits"), made)
        return re.findall(r"data:image/webp;base64,[\w+/=]+", page.read_text(encoding="utf-8"))

    first = written()
    monkeypatch.setattr(Bundle, "heat", None)
    assert written() == first
    (own_comparison / "lenet5-seed0" / MAPS).write_bytes(b"damaged")
    with pytest.raises(TypeError):
        written()


def test_maps_of_other_weights_or_classes_are_computed_again(run):
    images, classes = load_data("digits").splits["test"].select([3, 5]), np.array([1, 2])
    one = pictures_of(run, images, classes)
    kept = Kept.read(run)
    Kept("other weights", kept.keys, kept.classes, np.zeros_like(kept.maps)).write(run)
    again = pictures_of(run, images, classes)
    assert [np.asarray(each).tolist() for each in again] == [np.asarray(each).tolist() for each in one]
    pictures_of(run, images, np.array([2, 1]))
    assert Kept.read(run).classes.tolist() == [2, 1]
    (run / MAPS).unlink()


def test_a_folder_without_weights_has_no_maps(tmp_path):
    assert pictures_of(RunFolder(tmp_path), load_data("digits").splits["test"].select([0]), np.array([1])) is None
