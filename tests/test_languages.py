"""The Chinese forms of a page's texts: there for all that a page says, with the same numbers, and never put in the place of another."""

import ast
import errno
import json
import re
from pathlib import Path

import pytest

import podium
from conftest import ROOT
from podium.comparison.report.languages import HOLE, Phrases, chinese, say
from podium.comparison.report.page import SCRIPT_TEXTS
from podium.errors import UsageError
from podium.files import disk_error

COMPARISON = ROOT / "src" / "podium" / "comparison"
FORMS = json.loads((COMPARISON / "report" / "templates" / "zh.json").read_text(encoding="utf-8"))


def test_every_form_has_the_holes_of_its_phrase():
    for phrase, form in FORMS.items():
        holes = HOLE.findall(phrase)
        assert sorted(holes) == sorted(HOLE.findall(form)), phrase
        assert len(holes) == len(set(holes)), phrase


@pytest.mark.parametrize(
    "path", sorted((COMPARISON / "report" / "templates" / "report").glob("*.j2")), ids=lambda path: path.name
)
def test_every_text_of_the_report_has_a_form(path):
    text = path.read_text(encoding="utf-8")
    said = re.findall(r"""\b(?:say|heading|tag|label)\("((?:[^"\\]|\\.)*)"(?! ~)""", text)
    assert not [each for each in said if each not in FORMS]
    bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.findall(r"[a-z]{3,} [a-z]{3,}", bare), "write it as say(...)"


def test_every_text_of_the_pages_script_has_a_form():
    script = (COMPARISON / "report" / "templates" / "report.js").read_text(encoding="utf-8")
    for text in SCRIPT_TEXTS:
        assert text in FORMS
        assert f'"{text}"' in script


@pytest.mark.parametrize("name", ["verdict", "report/alternatives"])
def test_every_sentence_of_the_verdict_is_of_phrases_with_a_form(name):
    """By the literal parts of its texts, each of which some phrase has."""
    tree = ast.parse((COMPARISON / f"{name}.py").read_text(encoding="utf-8"))
    docstrings = {
        node.body[0].value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node)
    }
    parts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    parts = [part.strip(" .,:;()") for part in parts if part not in docstrings]
    phrases = "\n".join(FORMS)
    missing = [part for part in parts if len(re.findall("[A-Za-z]+", part)) > 1 and part not in phrases]
    assert not missing, "put the new sentence and its Chinese form into templates/zh.json"


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


def test_the_phrase_with_more_of_a_sentence_is_taken_before_one_with_less():
    book = Phrases({"{a} behind": "差 {a}", "{a} points behind": "低 {a} 点"})
    assert book.translate("3 points behind") == "低 3 点"
    assert book.translate("3 points behind, lenet5, 2 behind") == "低 3 点，lenet5，差 2"
