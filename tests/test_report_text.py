"""What a report says of the data and of how it was made, and its Markdown: every text is shown as it is, and nothing private is in it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import podium as library
from command import inside
from podium.cli.compare import _study
from podium.cli.parser import parse
from podium.comparison.candidates import candidates_of
from podium.comparison.cross_validation import Folds
from podium.comparison.dropped import HeatOnly
from podium.comparison.leaderboard import Leaderboard
from podium.comparison.report.data_facts import PICTURES, DataFacts, samples
from podium.comparison.report.languages import chinese
from podium.comparison.report.markdown import bullets, code, escape, table
from podium.comparison.report.provenance import Commands, Provenance, StartingWeights
from podium.comparison.report.repeat import compare_again, public, without_private_folders
from podium.comparison.report.report_page import write_report
from podium.comparison.rows import LinearProbeOnly
from podium.data.dataset import Dataset, Split
from podium.data.images import ArrayImages
from podium.data.roles import with_roles
from podium.settings import Settings
from podium.weights.official import find_official

HOSTILE = [
    "a|b", "<b>bold</b>", "<script>alert(1)</script>", "snake_case_name", "`code`", "*star*", "[link](http://x.y)", "# head",
    "1. one", "- item", "&lt;", "$x$", "~~gone~~", "back\\slash", "two\nlines", "https://a.b/c", "www.a.b", "花 | 草", "![i](u)",
]  # fmt: skip


class Text(HTMLParser):
    """What a reader sees: the text of each cell and item, and the tags."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.cells, self.tags, self.inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag in ("td", "th", "li", "code"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th", "li", "code")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def rendered(text):
    """Markdown as CommonMark with GitHub's tables, crossed-out text and links, by another program."""
    return Text(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


# Markdown


def test_names_in_a_table_are_shown_as_they_are():
    page = rendered(table(["class", "n"], [[escape(name), "1"] for name in HOSTILE]))
    assert [cell.strip() for cell in page.cells[2::2]] == [" ".join(name.split()) for name in HOSTILE]
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


def test_numbers_in_a_table_stand_at_the_right_and_words_at_the_left():
    headings = ["network", "top-1", "params", "spread", "engine", "remarks"]
    rows = [
        ["a", "91.64 %", "6,080,202", "8.03 (8.01-8.64)", "openvino bfloat16", ""],
        ["7", "-1.0", "416.5k", "", "eager", "worse"],
    ]
    assert table(headings, rows).splitlines()[1] == "| --- | ---: | ---: | ---: | --- | --- |"


def test_names_in_a_list_are_shown_as_they_are():
    page = rendered(bullets(HOSTILE))
    assert [cell.strip() for cell in page.cells] == [" ".join(name.split()) for name in HOSTILE]
    assert set(page.tags) == {"ul", "li"}


@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1)
)
def test_no_text_is_markup(names):
    page = rendered(table(["class"], [[escape(name)] for name in names]))
    assert [cell.strip() for cell in page.cells[1:]] == [" ".join(name.split()) for name in names]
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_command_with_a_fence_in_it_stays_code():
    page = rendered(code("podium train a '```' <b>"))
    assert [cell.strip() for cell in page.cells] == ["podium train a '```' <b>"]


def test_addresses_are_no_links_on_a_page_that_makes_links_of_them():
    assert not re.search(r"https?://|www\.", escape("see https://a.b, http://c and www.d.e"))


# The data


def data_of(labels, keys, **more):
    """Data whose images have these labels and keys, by split."""
    splits = {}
    for name, own in labels.items():
        images = ArrayImages(np.zeros((len(own), 8, 8, 3), np.uint8))
        splits[name] = Split(np.array(own), images, np.array(keys[name], np.uint64))
    return Dataset("set", ("a", "b", "B "), splits, 3, 8, False, (0.5,) * 3, (0.5,) * 3, **more)


def test_classes_are_counted_in_each_role():
    facts = DataFacts.of(data_of({"train": [0, 0, 1, 2], "test": [1, 1]}, {"train": [1, 2, 3, 4], "test": [5, 6]}))
    assert facts.columns == ("train", "test")
    assert [(each.name, each.counts) for each in facts.classes] == [("a", (2, 0)), ("b", (1, 2)), ("B ", (1, 0))]
    assert facts.total.counts == (4, 2)
    assert facts.made == ("The data came with these splits: train, test.",)


def test_what_is_known_to_be_wrong_is_said():
    labels, keys = [0] * 30 + [1, 2], [*range(1, 29), 28, 28, 31, 1]
    root = Path("folder") / "photos"
    data = data_of(
        {"train": labels, "test": [0]}, {"train": keys, "test": [99]},
        skipped=((f"{root}/x.jpg", f"{root}/x.jpg: cut short"),), source=str(root),
        notes=("note: 3 test images are exact copies of train images and are left out", "note: something else"),
    )  # fmt: skip
    text = "\n".join(DataFacts.of(data).wrong)
    assert "1 file is left out as unreadable: x.jpg: cut short." in text
    assert "3 test images are exact copies of train images and are left out." in text
    assert "3 images are exact copies of others." in text  # 28 twice more, 1 once more
    assert "1 image is filed under several classes" in text
    assert "2 classes without test images: b, B ." in text
    assert "b has 1 images to learn from, a 30" in text
    assert "The classes b and B  differ in case" in text
    assert "something else" not in text


def test_splits_that_podium_drew_are_described():
    given = data_of({"train": [0, 1, 2] * 20}, {"train": range(60)})
    data = with_roles(given, 0.25, 0, test=0.1)
    (line,) = DataFacts.of(data).made
    assert "10 % of the training images to test and 25 % of the others for validation (seed 0, stratified" in line
    counts = DataFacts.of(data).total.counts
    assert counts == tuple(len(split) for split in data.splits.values())


def test_folds_are_described_and_count_each_image_once():
    folds = Folds.of(library.load_data("digits"), Settings(data="digits", folds=4), None)
    facts = DataFacts.of(folds.shown)
    assert facts.made[0].startswith("Cross-validation in 4 folds (seed 0")
    assert facts.columns[0] == "images"
    assert facts.total.counts[0] == sum(len(part.splits["test"]) for part in folds.parts)


def test_samples_of_many_classes_stay_few():
    k = 1500
    labels = np.repeat(np.arange(k), 3)
    split = Split(labels, ArrayImages(np.random.default_rng(0).integers(0, 255, (len(labels), 48, 48, 3), np.uint8)))
    data = Dataset("many", tuple(map(str, range(k))), {"train": split}, 3, 48, False, (0.5,) * 3, (0.5,) * 3)
    found = samples(data)
    assert len(found) == 20
    pictures = [each for own in found.values() for each in own]
    assert len(pictures) <= PICTURES
    assert sum(len(each.uri) for each in pictures) < 2_000_000  # of noise, the worst for a JPEG


def test_what_is_said_of_data_and_origin_has_a_chinese_form(comparison):
    runs = sorted(comparison.glob("*-seed0"))
    drawn = data_of({"train": [0, 1, 2]}, {"train": range(3)}, held_out={"seed": 3, "share": 0.2, "test": 0.1})
    grouped = replace(drawn, grouping={"group_from": "(.*)_"})
    folds = Folds.of(library.load_data("digits"), Settings(data="digits", folds=4), None).shown
    notes = (
        "note: 3 test images are exact copies of train images and are left out",
        "note: 2 val images are left out: the weights were trained on them",
    )
    labels, keys = {"train": [0] * 40 + [1], "test": [2]}, {"train": [*range(1, 40), 39, 39], "test": [99]}
    faults = data_of(labels, keys, skipped=(("x.jpg", "x.jpg: cut short"),), notes=notes)
    facts = Provenance.of(
        Leaderboard.read(runs), comparison, runs, "recipe quick, 1 epoch each, 1 seed from 0", Commands()
    ).facts
    texts = [text for each in (drawn, grouped, folds) for text in DataFacts.of(each).made]
    for text in (*texts, *DataFacts.of(faults).wrong, *facts.values()):
        form = chinese().translate(text)
        if form is None:  # names and numbers only
            assert not re.search(r"[a-z]{3,} [a-z]{3,}", text), text
        else:
            assert sorted(re.findall(r"\d+", form)) == sorted(re.findall(r"\d+", text))


# How it was made


def test_official_weights_are_known_by_their_digest():
    record = find_official("torchvision:resnet18.v1")
    digest = record.sha256.ljust(64, "0")
    found = StartingWeights.of("resnet18", f"torchvision:resnet18={record.file}@sha256:{digest}")
    assert found.source == record.source
    assert found.address == record.address
    assert (found.sha256, found.licence, found.top1) == (digest, record.licence, record.top1)
    own = StartingWeights.of("resnet18", f"torchvision:resnet18=mine.pth@sha256:{'0' * 64}")
    assert (own.source, own.address, own.licence, own.sha256) == ("torchvision:resnet18=mine.pth", "", "", "0" * 64)
    other = StartingWeights.of("resnet18", f"torchvision:resnet18={record.file}@sha256:{'0' * 64}")
    assert other.address == ""  # the name of an official file, and other content


def test_a_run_is_no_official_file():
    found = StartingWeights.of("lenet5", f"lenet5-seed0@sha256:{'1' * 64}")
    assert (found.source, found.address) == ("lenet5-seed0", "")


@pytest.mark.parametrize(
    "flags",
    [
        "-m lenet5,resnet20 --scratch",
        "-m lenet5 --scratch --epochs 7 --seeds 3 --lr 1e-3 --no-flip --rank-by macro-f1 --within 2 --max-size 10MB",
        "-m lenet5,resnet20 --scratch --budget 90s --rank-on test --recipe modern --milestones 0.3,0.6 --max-latency 2ms",
        "-m lenet5,resnet20,plain20 --scratch --steps 50 --heats 2 --max-macs 2G --group-from '(.*)_,=[0-9]'",
        "-m lenet5,resnet20 --scratch --tune lr,weight_decay --trials 5 --budget 2m",
        "-m torchvision:resnet18,keras:Xception --finetune 1 --val 0.1 --test 0.2",
    ],
)
def test_the_command_that_repeats_a_comparison_means_the_same(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import shlex

    typed = _study(parse(["compare", "digits", *shlex.split(flags)]))
    pretrained = "torchvision" in flags
    merged = typed.choice.settings if pretrained else typed.merged
    candidates = typed.candidates
    again = compare_again(candidates, merged.settings, typed.choice, typed.seeds, pretrained, threads=None)
    assert again.startswith("podium compare digits -m ")
    repeated = _study(parse(shlex.split(again)[1:]))
    assert (repeated.choice.settings if pretrained else repeated.merged).settings == merged.settings
    for name in (
        "rank_by",
        "within",
        "rank_on",
        "heats",
        "finetune",
        "max_macs",
        "max_latency",
        "max_size",
        "tune",
        "trials",
    ):
        assert getattr(repeated.choice, name) == getattr(typed.choice, name), name
    assert (repeated.candidates, repeated.seeds) == (candidates, typed.seeds)


def test_a_run_that_is_repeated_by_its_command_has_the_same_weights(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import shlex

    command = next(
        line for line in (run.path / "report.md").read_text().splitlines() if line.startswith("podium train")
    )
    done = inside(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "NEW-FOLDER" / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_commands_name_no_private_folder(tmp_path, monkeypatch):
    home = tmp_path / "home" / "anna"
    for name in ("work/photos", "elsewhere/photos"):
        (home / name).mkdir(parents=True)
    (home / "elsewhere" / "w.pth").write_text("")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert public("photos") == "photos"
    assert public(str(home / "work" / "photos")) == "photos"
    assert public("../elsewhere/photos") == "photos"
    assert public(f"torchvision:resnet18={home}/elsewhere/w.pth") == "torchvision:resnet18=w.pth"
    assert public(f"--weights={home}/gone,{home}/elsewhere/w.pth") == "--weights=gone,w.pth"
    assert public("/(.*)_a=b,c/") == "/(.*)_a=b,c/"  # a regular expression
    monkeypatch.chdir(tmp_path)
    assert public("home/anna/work/photos") == "photos"
    words = ["compare", str(home / "elsewhere" / "photos"), "-o", "home/anna/out put"]
    assert without_private_folders(words) == "podium compare photos -o 'home/anna/out put'"


# The whole


def test_the_markdown_report_has_verdict_board_data_and_origin(comparison):
    text = (comparison / "report.md").read_text(encoding="utf-8")
    page = rendered(text)
    rows = {row["model"]: row for row in _rows(comparison)}
    first = text.splitlines()
    assert first[0].startswith("# 2 networks on digits")
    for name in rows:
        assert any(name in cell for cell in page.cells)
        assert any(f"{100 * float(rows[name]['top1']):.2f}" == cell for cell in page.cells)
    assert "podium compare digits -m lenet5\\_modern" not in text  # commands stand in blocks of code
    assert any(cell.startswith("podium compare digits -m lenet5_modern,lenet5 --epochs 1") for cell in page.cells)
    assert any(
        cell.startswith("podium compare digits -m lenet5_modern,lenet5 --scratch --epochs 1") for cell in page.cells
    )
    assert "numpy" in text
    assert str(comparison) not in text
    assert str(Path.home()) not in text


def _rows(folder):
    import csv

    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_has_the_same_facts(comparison):
    page = (comparison / "report.html").read_text(encoding="utf-8")
    assert re.search("<h2><span[^>]*>How it was made<", page)
    assert "podium compare digits -m lenet5_modern,lenet5 --scratch --epochs 1" in page
    assert page.count('src="data:image/jpeg;base64,') == 40  # four samples of each of ten digits
    assert str(comparison) not in page


def test_a_single_run_has_its_own(run):
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert re.search(r"podium train lenet5_modern digits --steps \d+ --image-size 32 .* -o NEW-FOLDER", text)
    assert json.loads((run.path / "result.json").read_text())["model"] in text.splitlines()[0].replace("\\", "")


def test_networks_without_a_row_of_scores_have_a_line(comparison, tmp_path):
    runs = sorted(comparison.glob("*-seed0"))
    probed = LinearProbeOnly("resnet18", "ImageNet (torchvision:resnet18)", 0.8123, 400)
    dropped = HeatOnly("plain20", "random weights", 1, "2ep", "top1", 0.5, 100, "50.00 %")
    board = Leaderboard.read(runs, {"alexnet": "cannot take 8 px | <images>"}, None, [probed], None, [dropped])
    data = library.load_data("digits")
    made = Provenance.of(board, comparison, runs, "in words", Commands())
    write_report(tmp_path / "report.html", board, runs, data, made)
    page = rendered((tmp_path / "report.md").read_text(encoding="utf-8"))
    assert "alexnet failed: cannot take 8 px | <images>" in page.cells
    assert any(
        cell.startswith("plain20 was not trained further after heat 1, which does not mean") for cell in page.cells
    )
    assert (
        "resnet18, from ImageNet (torchvision:resnet18), was not trained: its linear probe has 81.23 %." in page.cells
    )
    address = find_official("torchvision:resnet18").address
    assert f"({address})" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "# 5 networks on digits" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_candidates_of_files_are_named_with_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_text("")
    candidates = candidates_of(["resnet18"], "torchvision:resnet18=w.pth")
    from podium.comparison.candidates import Choice

    again = compare_again(candidates, Settings(data="digits", recipe="finetune"), Choice(), 1, True, 2)
    assert "-m resnet18 --weights torchvision:resnet18=w.pth" in again
    assert "--threads 2" in again
