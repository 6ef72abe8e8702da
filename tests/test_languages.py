"""The Chinese forms of a page's texts: there for all that a page says, with the same numbers, and never put in the place of another."""

import ast
import errno
import json
import re
from pathlib import Path

import pytest

import podium
from conftest import ROOT
from podium.comparison.report.charts import challenge, errors
from podium.comparison.report.languages import BOOKS, HOLE, Phrases, chinese, say
from podium.comparison.report.lineage import STORY, networks
from podium.comparison.report.page import SCRIPT_TEXTS, words_of
from podium.errors import UsageError
from podium.files import disk_error
from podium.models.published import ILSVRC, published

SOURCE = ROOT / "src" / "podium"
TEMPLATES = SOURCE / "comparison" / "report" / "templates"
PAIRS = [
    pair
    for name in BOOKS
    for pair in json.loads((TEMPLATES / name).read_text(encoding="utf-8"), object_pairs_hook=list)
]
FORMS = dict(PAIRS)


def test_a_phrase_stands_in_one_book_and_every_book_is_read():
    assert len(FORMS) == len(PAIRS)
    assert {path.name for path in TEMPLATES.glob("*.json")} == set(BOOKS)


def test_every_form_has_the_holes_of_its_phrase():
    for phrase, form in FORMS.items():
        holes = HOLE.findall(phrase)
        assert sorted(holes) == sorted(HOLE.findall(form)), phrase
        assert len(holes) == len(set(holes)), phrase


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.j2")), ids=lambda path: path.name)
def test_every_text_of_a_page_has_a_form(path):
    text = re.sub(
        r"(?s)<(style|script)>.*?</\1>|{% block style %}.*?{% endblock %}", "", path.read_text(encoding="utf-8")
    )
    said = re.findall(r"""\b(?:say|heading|tag|label)\("((?:[^"\\]|\\.)*)"(?! ~)""", text)
    said += re.findall(r'\("([^"]+)", "(?:text)?"\)', text)  # the headings of a table, with the kind of a column
    assert not [each for each in said if each not in FORMS]
    bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.findall(r"[a-z]{3,} [a-z]{3,}", bare), "write it as say(...)"


def test_every_text_of_the_pages_script_has_a_form():
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    for text in SCRIPT_TEXTS:
        assert text in FORMS
        assert f'"{text}"' in script


# What these files say besides: in messages of errors, and in a notebook.
ELSEWHERE = {
    "trn trainval",  # words of which several stand in one text
    "dev validate",
    "tst eval",
    "filename filenames",
    "label labels",
    "takes the group from the path of each image",
    "problems has all",
    "file or class",
    "other path",
    "label errors cannot be looked for: one group holds most images of a class",
    "label errors cannot be looked for, since no two classes have",
}


def literals(name):
    """The literal parts of the texts in a file, without docstrings and what is raised: clauses, without the ends of sentences."""
    tree, left_out = ast.parse((SOURCE / f"{name}.py").read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            left_out.add(node.body[0].value)
        if isinstance(node, ast.Raise):
            left_out |= set(ast.walk(node))
    texts = [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and n not in left_out
    ]
    parts = [part for text in texts for part in text.replace("`", "").removeprefix("note: ").split("; ")]
    return [part.strip(" .,:;()'") for part in parts if re.search("[A-Za-z]{2,} [a-z]{2,}", part)]


@pytest.mark.parametrize(
    "name",
    [
        *(f"comparison/{name}" for name in ("verdict", "report/alternatives", "disagreement_text", "recorded_album")),
        *("comparison/report/check_page", "comparison/report/diff_page", "comparison/report/lineage"),
        *(f"data/{name}" for name in ("check", "check_groups", "check_report", "looks", "inspection", "label_errors")),
        *(f"data/{name}" for name in ("layout", "found", "rows", "finder", "unread", "names", "folders")),
    ],
)
def test_every_sentence_of_a_page_is_of_phrases_with_a_form(name):
    """By the literal parts of its texts, each of which some phrase has."""
    phrases = "\n".join(FORMS).replace("`", "")
    missing = [part for part in literals(name) if part not in phrases]
    left = [part for part in missing if not any(other in part for other in ELSEWHERE)]
    assert not left, "put the new sentence and its Chinese form into templates/zh*.json"


@pytest.mark.parametrize("path", sorted((SOURCE / "data").glob("*.py")), ids=lambda path: path.stem)
def test_every_note_on_data_that_a_page_shows_has_a_form(path):
    """Those on images that are held out are of training, which has no page with them."""
    if path.stem in ("held_out", "folds", "roles"):
        return
    notes = re.findall(r'f?"note: ((?:[^"\\]|\\.)*)"', path.read_text(encoding="utf-8"))
    parts = [part.strip(" ,:;()") for note in notes for part in re.split(r"\{[^}]*\}[^{ ]*|; |^train ", note)]
    phrases = "\n".join(FORMS)
    assert not [part for part in parts if re.search("[a-z]{2,} [a-z]{2,}", part) and part not in phrases]


def test_what_is_published_has_a_form_besides_the_names_of_its_sources():
    rows = networks()
    known = [published(row["name"]) for row in rows]
    names = {"", "torchvision, IMAGENET1K_V1", "tensorflow/models, slim", "Keras"}
    texts = {each for one in known for each in (one.protocol, one.source)} - names
    texts |= {chapter.idea for chapter in STORY} | {result.entry for result in ILSVRC} | {r.rank for r in ILSVRC}
    forms = {text: chinese().translate(text) for text in texts}
    assert [text for text, form in forms.items() if form is None] == []
    for text, form in forms.items():
        assert re.findall(r"[a-z]{3,} [a-z]{3,}", form) == [], text
        assert len(re.findall(r"\d+[.]\d+", form)) == len(re.findall(r"\d+[.]\d+", text)), text


def test_the_charts_of_the_networks_follow_the_language_and_keep_names():
    rows = networks()
    colours = dict.fromkeys((row["year"] for row in rows), "#000000")
    charts = (challenge(rows, {c.paper: c.title for c in STORY}, colours), errors(rows, {}, colours))
    words = words_of({str(number): chart for number, chart in enumerate(charts)})
    for chart in charts:
        for trace in chart["data"]:
            said = [text for key in trace["meta"]["said"] for text in trace[key] if text]
            assert said
            assert all(max(words[text]) >= "\u4e00" for text in said), "a character is Chinese"
    assert words["VGG<br>2014, 2nd"] == "VGG<br>2014，第 2 名"
    assert "confusion" not in words


SENTENCES = (
    "Take mobilenet_v1: it is the cheapest that is sure to be within 1 point of the best (at most 0.84 points below it, at 95 %).",
    "Take resnet18: it ranks first, and no cheaper network is sure to be within 1 point of the best; about 2,900 images to rank on would show it of lenet5.",
    "Take a (torchvision:a): it ranks first, and none that has learned within the limits is cheaper.",
    "On 10,000 test images, which chose nothing, it has 90.12 % top-1 (95 % interval 89.52-90.69 %).",
    "On 300 test images, which chose nothing, its 3 seeds have 90.12 % top-1 (95 % interval 89.52-90.69 %); that is their mean, and a-seed2 is the run to take.",
    "On 1,000 test images, it has 90.00 % top-1 (95 % interval 87.98-91.71 %); these images chose the network too, so this is not its test accuracy: the highest of several looks better than it is, here by about 0.53 points.",
    "By top-1 on 5,000 validation images of 40 groups, resnet50 is first with 90.60 %.",
    "By log-loss on 5,000 validation images, resnet50 is first with 0.312.",
    "Worse than the best, at 95 % for all at once: alexnet (by 6.10 points), lenet5 (by 21.34 points), 3 more.",
    "Not told apart from it: mobilenet_v1 (0.20 points behind), resnet18 (0.031 behind).",
    "Not learned: a, b; not clearly better than the most frequent class every time (10.0 %). Train longer, or with a lower lr.",
    "lenet5 reaches 97.50 % top-1 (95 % interval 95.29-98.69 %, from 360 test images).",
    "The networks see images of different sizes: lenet5, alexnet 32 px; xception 299 px.",
    "With --image-size 299 all see as much: alexnet 14.6 M → 1.1 G, lenet5 1 M → 3 G, 2 more multiply-adds an image.",
    "All of this is said of the networks that were trained in full. Not trained further, which does not mean worse: a, b (heat 1); c (heat 2).",
    "Heat 1 was shorter than an epoch, so chance had a large part in who dropped out.",
    "Not recommended, since above the limits, at most 4 ms for an image and 2 MB: a (5.2 ms and 3 MB), b (no time on record).",
    "Nothing has clearly learned: the highest, a, has 12.00 % top-1 on 100 validation images, not clearly better than the most frequent class every time (10.0 %).",
    "More photos would help: a has 80.0 % on 100, 85.0 % on 200; with 400 training images it would reach about 88.0 % (95 % interval 86.0-90.0 %) if the curve goes on as it has, 3.0 points more than with 200.",
    "The lr and weight_decay of each network: the best of 20 trials on 300 validation images. That choice flatters the score there by about 0.52 points (a) to 1.10 points (b), which is taken off before networks are ranked.",
    "unknown below 61.2 %: 97.1 % (95.0-98.3) of 360 test images are answered, 98.0 % (96.0-99.0) of them right",
    "digits: train 1,077, val 360, test 360 images, 10 classes",
    "digits: train 1,295, val 142, test 360, cross-validated 1,437 images, 10 classes",
    "On 1,437 cross-validated images, it has 90.95 % top-1 (95 % interval 89.36-92.33 %); these images chose the network too, so this is not its test accuracy: the highest of several looks better than it is, here by less than 0.01 points.",
    "recipe small, 6 epochs each, 3 seeds from 0",
    "recipe small, 1,000 steps each, 1 seed from 0, with the lr and weight_decay of the best of 4 trials",
    "1,032 images of 5 classes: 3 problems: 2 near-leak, 1 zero-byte; 4 worth a look: 4 blurred.",
    "300 images of 2 classes: nothing wrong was found.",
    "has the same pixels as train image 3, which is 'ant', not 'bee': in val and in train",
    "the mirror image of photos/a1.jpg: in test and in train",
    "labelled 'ant' (1.4 %), looks like 'bee' (42 %)",
    "99 % of its pixels are darker than 35 of 255",
    "2000 x 100 pixels; the median image has 320 x 240",
    "9000 x 8000 pixels, above the limit of 50 million pixels",
    "90 x 80 pixels, above the limit of 3,000 pixels",
    "a tile: 90 x 80 pixels, above the limit of 3,000 pixels",
    "more than 178 million pixels, above the limit of 3,000 pixels",
    "more than 150 MB when inflated, above the limit of 3,000 pixels",
    "truncated image (10 of 2,000 bytes are there)",
    "a web page in place of the image, not an image of JPEG, PNG, JPEG 2000",
    "DICOM, JPEG-LS, which cannot be decoded here (n1)",
    "a group that lies in several splits (train 3, val 1,002)",
    "in val, test but not in train; looks like 'Bee2'",
    "'a1.jpg' could be x/a1.jpg and y/a1.jpg and 2 more",
    "'a1.jpg' is cat1 here and dog1 in labels.csv, line 3",
    "not an image by its name; left alone",
    "12 images, but none in a class folder (12 .jpg in it, 3 .txt in 2 folders, 2 deep, 1 without an ending in x1, and others); arrange it as DATA/CLASS/image.jpg, or DATA/train/CLASS/image.jpg with val/ or test/ beside train/; the folder's name is the class",
    "d1: test2 lies beside class folders, and could be test images or a class; if it is a class, rename it; else put the class folders into train/, and class folders into it",
    "d1: a1, b1 hold the same sub-folders (x1, y1), so they are no classes; name them train, val and test if they are splits; give one of them if it is a data set of its own; if they are classes, put the images of each into its folder, without sub-folders; if each sub-folder is a patient or video, train and compare keep it on one side with --group-from '([^/]+)/[^/]+$'",
    "note: 16-bit images that use 12 bits (largest value 4,000): scaled by 4,095",
    "note: labels.csv: images by file1, classes by label1, splits by split1",
    "note: 2 files accompany an image and are left alone: the edits of an image beside it (2)",
    "labels: a linear probe classifies 52 % of 172 images correctly; that is few, so check its doubts with care, or give --weights",
    "note: 3 val images are left out: the weights were trained on them, or on others of their groups (2)",
    "note: 1,000 of 1,200 images are left out: the run was trained on them",
    "note: 30 of the 60 test images of lenet5 and 1 of the 31 val images of vgg16 are left out: they are not among those of the other network",
    "6 epochs, seed 0; best of validation, epoch 4",
)  # fmt: skip


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_keeps_its_numbers_and_names(sentence):
    form = chinese().translate(sentence)
    assert form is not None
    numbers = r"\d[\d.,]*\d|\d|--[a-z-]+|[a-z]+\d+[a-z_\d]*"
    assert sorted(re.findall(numbers, form)) == sorted(re.findall(numbers, sentence))
    left = re.findall(r"[a-z]{2,} [a-z]{2,}", re.sub(r"[\w-]*\d[\w-]*", "", form))
    assert left == [], "what is not a name is Chinese"


REASONS = {  # as `podium board` shows them, of runs that have failed
    "loss nan and gradient norm inf at step 40: the step was not taken, the checkpoint before it is saved": "第 40 步的损失为 nan",
    "loss 1.2e+05 and gradient norm nan at step 7: the step was not taken, weights overflowed before it: no checkpoint is saved": "权重已溢出",
    "batch_size: 512 images a step of vgg16 do not fit into the memory of cuda:0": "vgg16 每步 512 张图片超出 cuda:0 的内存",
    "vgg16-seed0: its process was ended (SIGKILL, as the system does where memory runs out)": "被 SIGKILL 终止（内存不足",
    "disk full: need 44.7 MB, have 1.2 MB at runs/a/log.jsonl (No space left on device)": "runs/a/log.jsonl 需要 44.7 MB，只剩 1.2 MB",
    "alexnet cannot take 12 px images": "alexnet 不接受 12 像素的图片",
    "photos/rose/1.jpg: truncated image (image file is truncated (5 bytes not processed))": "photos/rose/1.jpg：图片不完整",
    "error: runs/a: in use by process 12 on host fix: wait for it, or name another folder with -o": "错误：runs/a 正被 host 上的进程 12 使用。解决办法：等它结束",
    "stopped by SIGTERM after step 90 of 400; the checkpoint is saved": "第 90 步（共 400 步）后被 SIGTERM 停止",
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_why_a_run_has_failed_is_said_in_chinese_too(reason):
    assert REASONS[reason] in chinese().translate(reason)


def test_what_is_told_of_a_run_is_of_the_phrases():
    """By what raises it."""
    with pytest.raises(UsageError) as small:
        podium.create_model("alexnet", num_classes=10, image_size=12)
    full = disk_error(OSError(errno.ENOSPC, "No space left on device"), Path("a"), 5_000_000)
    for error in (small.value, full, disk_error(OSError(errno.EACCES, "Permission denied"), Path("a"), 0)):
        assert chinese().translate(error.what) is not None, error.what


def test_what_has_no_form_stays_as_it_is_and_is_escaped():
    assert chinese().translate("A sentence that nobody has written before") is None
    assert str(say("<b>Take it & go</b>")) == "&lt;b&gt;Take it &amp; go&lt;/b&gt;"
    assert str(say("{model} failed: {error}", model="<i>", error='"x" {n}')).count("&lt;i&gt;") == 2
    assert chinese().translate("{{ 7*7 }}") is None


def test_names_of_files_and_classes_are_never_translated():
    """Each of them is a phrase elsewhere."""
    assert chinese().translate("note: test holds no images") == "注：test 中没有图片"
    assert chinese().translate("4 training images, network has 41") == "4 张训练图片，network 有 41 张"
    assert chinese().translate("val has no images of loss, video") == "验证划分中没有以下类别的图片：loss, video"
    said = str(say("same content as {image}: in val and in train", image="a, copy.jpg"))
    assert said == (
        '<span data-zh="与 a, copy.jpg 内容完全相同：分别在验证和训练划分中">same content as a, copy.jpg: in val and in train</span>'
    )
    assert "{x}" in str(say("looks the same as {image}, which is '{x}', not 'b'", image="a.jpg"))


def test_the_phrase_with_more_of_a_sentence_is_taken_before_one_with_less():
    book = Phrases({"{a} behind": "差 {a}", "{a} points behind": "低 {a} 点"})
    assert book.translate("3 points behind") == "低 3 点"
    assert book.translate("3 points behind, lenet5, 2 behind") == "低 3 点，lenet5，差 2"
