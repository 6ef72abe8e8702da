"""The diagrams: whole files, nothing cut off and nothing on top of anything else, and what the papers' figures have."""

import itertools
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from torch import nn

from conftest import sampled
from podium.diagrams.draw import diagram
from podium.diagrams.svg import COLOURS, text_width
from podium.models import list_models
from podium.models.convnet import ConvNet, Head
from podium.models.undrawn import meta
from podium.weights.create import create_model

SVG = "{http://www.w3.org/2000/svg}"
LAYERS = {fill for fill, _ in COLOURS.values()}


def drawn(name, **form):
    return ET.fromstring(diagram(meta(lambda: create_model(name, **form)), name, "a note"))


def texts(page):
    return Counter(element.text for element in page.iter(f"{SVG}text"))


def numbers(element, *keys):
    return [float(element.get(key)) for key in keys]


def frames(page):
    """(left, top, right, bottom) of every text, and of every layer's box."""
    words, boxes = [], []
    for element in page.iter(f"{SVG}text"):
        x, y, size = numbers(element, "x", "y", "font-size")
        width = text_width(element.text or "", size)
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[element.get("text-anchor")]
        words.append((left, y - 0.75 * size, left + width, y + 0.2 * size))
    for element in page.iter(f"{SVG}rect"):
        if element.get("fill") in LAYERS:
            x, y, width, height = numbers(element, "x", "y", "width", "height")
            boxes.append((x, y, x + width, y + height))
    return words, boxes


def segments(page):
    for element in page.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in element.get("points").split()]
        yield from itertools.pairwise(points)


def meet(a, b, slack=0.5):
    return a[0] + slack < b[2] and b[0] + slack < a[2] and a[1] + slack < b[3] and b[1] + slack < a[3]


def span(segment):
    (x, y), (u, v) = segment
    return min(x, u) - 1, min(y, v) - 1, max(x, u) + 1, max(y, v) + 1


@pytest.mark.parametrize("name", sampled(list_models()))
def test_every_network_is_drawn_with_nothing_on_top_of_anything(name):
    net = meta(lambda: create_model(name))
    page = ET.fromstring(diagram(net, name, "a note"))
    left, top, width, height = map(float, page.get("viewBox").split())
    assert width <= 1448
    assert height <= 1800
    said = " ".join([*texts(page), *(element.text for element in page.iter(f"{SVG}title"))])
    for stage, _ in net.stages.named_children():
        assert stage in said
    words, boxes = frames(page)
    for frame in words + boxes:
        assert left <= frame[0]
        assert top <= frame[1]
        assert frame[2] <= width
        assert frame[3] <= height
    for pair in [*itertools.combinations(words, 2), *itertools.combinations(boxes, 2)]:
        assert not meet(*pair)
    for segment, frame in itertools.product(segments(page), words + boxes):
        assert not meet(span(segment), frame, slack=1.5), (segment, frame)


def test_what_papers_figures_show_is_there():
    seen = texts(drawn("googlenet"))
    assert seen["concat"] == 9
    assert seen["auxiliary classifier"] == 2
    assert seen["conv 5x5, 128"] == 3  # of 4e, 5a and 5b
    assert seen["image 3x224x224"] == 1
    assert seen["832x7x7"] == 1
    assert seen["1000 classes"] == 1
    seen = texts(drawn("inception_v3"))
    assert seen["concat"] == 8  # of eleven modules: two are equal three times, and forks in branches join with them
    assert seen["mixed7b, mixed7c"] == 1
    assert texts(drawn("densenet121"))["dense layer × 24"] == 1
    assert texts(drawn("vgg16"))["3 × conv 3x3, 512"] == 2
    seen = texts(drawn("xception"))
    assert seen["2 × separable conv 3x3, 728"] == 1
    assert seen["block5 to block12"] == 1
    assert texts(drawn("alexnet"))["LRN"] == 2
    assert texts(drawn("inception_resnet_v2"))["× 0.17"] == 1


@pytest.mark.parametrize(
    ("name", "shortcut", "times", "joins"),
    [
        ("resnet152", "conv 1x1/2, 512", "× 35", 8),
        ("resnet20", "zero padding/2", "× 3", 5),
        ("resnetv2_50_slim", "max pool 1x1/2", "× 4", 11),
        ("plain20", None, None, 0),
    ],
)
def test_residual_units_have_their_shortcut_and_a_join(name, shortcut, times, joins):
    page = drawn(name)
    seen = texts(page)
    assert seen["+"] == len(page.findall(f".//{SVG}circle")) == joins
    for text in filter(None, (shortcut, times)):
        assert seen[text]
    assert bool(seen["identity"]) == (joins > 0)


def test_depth_is_a_number_on_the_same_picture():
    shallow, deep = texts(drawn("resnet56")), texts(drawn("resnet110"))
    assert shallow - deep == Counter({"× 9": 1, "× 8": 2, "resnet56": 1})
    assert deep - shallow == Counter({"× 18": 1, "× 17": 2, "resnet110": 1})


def test_a_squeeze_and_excitation_stands_on_the_branch():
    page = drawn("seresnet50")
    assert texts(page)["squeeze-excitation"] == 8 + 1  # and in the legend
    assert texts(drawn("resnet50"))["squeeze-excitation"] == 0


def test_images_of_another_size_are_averaged_onto_the_grid():
    assert texts(drawn("alexnet", image_size=448))["avg pool to 6x6"] == 1
    assert texts(drawn("alexnet"))["avg pool to 6x6"] == 0


def test_names_are_never_markup():
    stage, title = "a<b>&c", '<title> & "more" of it'
    head = Head(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(4, 2))
    net = ConvNet(nn.Conv2d(3, 4, 1), [(stage, nn.Conv2d(4, 4, 3))], head)
    net.spec = {"model": "<&>", "image_size": 8, "in_chans": 3, "num_classes": 2}
    page = ET.fromstring(diagram(net, title, "<note>"))
    assert {stage, title, "<note>"} <= set(texts(page))


def test_the_file_needs_nothing_else():
    text = diagram(meta(lambda: create_model("lenet5")), "lenet5")
    assert text.count("http") == 1  # the name space
    assert ' xmlns="http://www.w3.org/2000/svg"' in text
    assert not {"<image", "<script", "<style", "@font-face", "href"} & set(text.split())


def test_draw_writes_an_svg_and_nothing_over_other_files(podium, run, tmp_path):
    said = podium("draw", "resnet18", "-o", "pictures/net.svg")
    assert (said.code, said.out) == (0, "diagram: pictures/net.svg\n")
    page = ET.parse(tmp_path / "pictures" / "net.svg").getroot()
    seen = texts(page)
    assert seen["He et al. 2015, arXiv:1512.03385"] == 1
    assert seen["11,689,512 parameters, 1,814,073,344 multiply-adds"] == 1
    assert podium("draw", run.path, "-o", "pictures/net.svg", "--json").json["name"] == "lenet5_modern"
    assert texts(ET.parse(tmp_path / "pictures" / "net.svg").getroot())["lenet5_modern"] == 1
    assert podium("draw", "vgg11", "--image-size", 32, "-o", "vgg.svg").code == 0
    assert "image 3x32x32" in (tmp_path / "vgg.svg").read_text()
    assert podium("draw", "bn_inception", "-o", "bn.svg").code == 0
    assert any("a dense 7x7 first" in text for text in texts(ET.parse(tmp_path / "bn.svg").getroot()))
    other = tmp_path / "model.safetensors"
    other.write_text("weights")
    podium("draw", "lenet5", "-o", other).refused(2, "model.safetensors", ".svg")
    assert other.read_text() == "weights"
    podium("draw", "lenet5", "-o", "pictures").refused(2, "pictures", ".svg")
    podium("draw", "lenet6", "-o", "x.svg").refused(2, "'lenet6'", "lenet5")
    podium("draw", run.path, "-o", "x.svg", "--image-size", 64).refused(2, "--image-size")
    assert not (tmp_path / "x.svg").exists()
