"""Explanations: the maps are right, they lie on the right pixels, and the network is left as it was."""

import itertools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import podium as podium_api
from conftest import sampled
from podium import create_model, list_models
from podium.api.explain import HEAT
from podium.comparison.report.explain_page import write_explanations
from podium.data.preprocessing import Preprocessing
from podium.errors import UsageError
from podium.explain.colours import on_photo, over
from podium.explain.explanation import NOTHING, Explanation
from podium.explain.gradients import grad_cam, integrated_gradients
from podium.explain.heat import MAPS, heat_maps, methods_for, span_of
from podium.explain.last_map import last_map, logits_from, pieces
from podium.explain.layers import Layers
from podium.explain.occlusion import occlusion, window_of
from podium.explain.panels import Panel, Picture
from podium.models import architecture
from podium.models.modules import Branches, Residual, SqueezeExcitation
from podium.models.structure import trace
from podium.runs.predictor import OTHER_METHODS, Predictor


def built(name, **more):
    """A network in its cheapest form, with random weights and batch norms that have seen something."""
    known = architecture(name)
    small = known.small_min_size is not None
    side = 32 if small else max(known.smallest(False), 32)
    torch.manual_seed(0)
    net = create_model(name, num_classes=5, image_size=side, **({"small": True} if small else {}), **more)
    x = torch.randn(4, net.spec["in_chans"], side, side)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        net(x)
    return net.eval(), x[:2]


names = pytest.mark.parametrize("name", sampled(list_models(), fast=("lenet5_modern", "resnet20")))


def hooked(net, place):
    """The layer whose output is the map of a piece of a network."""
    piece = pieces(net)[place]
    parts = [net.stem, *net.stages.children()]
    return piece if any(piece is part for part in parts) or not isinstance(piece, torch.nn.Sequential) else piece[-1]


# The maps


@names
def test_maps_are_those_of_captum_and_the_network_is_left_as_it_was(name):
    captum = pytest.importorskip("captum.attr")
    net, x = built(name)

    def explained(x):  # the 1998 LeNet's squared distances have what all classes have alike
        logits = net(x)
        return logits - logits.mean(1, keepdim=True) if name == "lenet5" else logits

    classes = torch.tensor([1, 3])
    with torch.no_grad():
        place, features = last_map(net, x)
        before = features.clone()
        assert torch.allclose(logits_from(net, place, features), net(x), atol=1e-5)
    assert torch.equal(features, before)
    assert min(features.shape[-2:]) >= 3
    theirs = captum.LayerGradCam(explained, hooked(net, place)).attribute(x.clone(), classes, relu_attributions=True)
    theirs = theirs[:, 0].detach()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    net.freeze_first(1)
    modes = [module.training for module in net.modules()]
    wanted = [p.requires_grad for p in net.parameters()]
    with torch.inference_mode():
        ours = grad_cam(net, x, classes)
    assert torch.allclose(ours, theirs, atol=1e-4 * max(float(theirs.max()), 1e-3))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]
    assert wanted == [p.requires_grad for p in net.parameters()]
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("name", "shape"), [("alexnet", (256, 13, 13)), ("vgg16", (512, 14, 14)), ("resnet18", (512, 7, 7))]
)
def test_grad_cam_reads_the_last_convolution_and_not_the_pool_behind_it(name, shape):
    """As Selvaraju et al. 2017, section 3, do it in VGG-16."""
    net = create_model(name).skeleton().eval()
    assert last_map(net, net.no_images(net.spec["image_size"]))[1].shape[1:] == shape


def test_grad_cam_of_squared_distances_does_not_fade_where_the_answer_is_certain():
    net, x = built("lenet5")
    codes = net.head.classifier.codes
    with torch.no_grad():
        _, features = last_map(net, x)
        codes[0] = net.head.hidden(net.head.pool(features))[0]  # the answer could not be more certain
    features.requires_grad_()
    hidden = net.head.hidden(net.head.pool(features))
    (slope,) = torch.autograd.grad(((codes[0] - codes.mean(0)) * hidden).sum(), features)
    expected = 2 * (slope.mean((2, 3), keepdim=True) * features.detach()).sum(1).relu()
    assert expected[0].max() > 0
    assert torch.allclose(
        grad_cam(net, x, torch.tensor([0, 0])), expected, rtol=1e-3, atol=1e-4 * float(expected.max())
    )


@pytest.mark.parametrize("name", sampled(["lenet5_modern", "resnet20"], fast=1))
def test_integrated_gradients_and_occlusion_are_those_of_captum(name):
    captum = pytest.importorskip("captum.attr")
    net, x = built(name)
    classes = torch.tensor([1, 3])
    theirs = captum.IntegratedGradients(net).attribute(x, target=classes, n_steps=50)
    ours = integrated_gradients(net, x, classes)
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
    channels, side = x.shape[1], x.shape[-1]
    window, stride = window_of(side)
    shape, strides = (channels, window, window), (channels, stride, stride)
    theirs = captum.Occlusion(net).attribute(x, sliding_window_shapes=shape, strides=strides, target=classes)[:, 0]
    assert torch.allclose(occlusion(net, x, classes), theirs, atol=1e-4 * float(theirs.abs().max()))


def test_integrated_gradients_sum_to_the_logit_less_that_of_the_baseline():
    net, x = built("lenet5")  # whose tanh has no kinks
    net, x = net.double(), x.double()
    with torch.no_grad():
        change = (net(x) - net(torch.zeros_like(x)))[:, 2]
    total = integrated_gradients(net, x, torch.tensor([2, 2])).double().sum((1, 2, 3))
    assert torch.allclose(total, change, rtol=1e-3)


def test_grad_cam_of_an_average_pooled_network_is_its_class_map():
    """With one linear layer behind the average pool, the weights of Grad-CAM are those of the classifier [section 3.1]."""
    net, x = built("resnet20")
    with torch.no_grad():
        features = net.forward_features(x)
        weights = net.head.classifier.weight[torch.tensor([1, 3])]
        expected = (weights[:, :, None, None] * features).sum(1).relu() / features[0, 0].numel()
    assert torch.allclose(grad_cam(net, x, torch.tensor([1, 3])), expected, atol=1e-6)


@pytest.mark.parametrize("method", list(MAPS))
def test_maps_are_between_0_and_1_also_in_bfloat16_and_channels_last(method):
    net, x = built("resnet20" if method in ("grad-cam", "class-map") else "lenet5_modern")
    plain = heat_maps(net, x, np.array([1, 3]), method)
    assert plain.dtype == np.float32
    assert plain.min() >= 0
    assert plain.max((1, 2)) == pytest.approx([1, 1])
    net.memory_format = torch.channels_last
    assert np.allclose(heat_maps(net, x, np.array([1, 3]), method), plain, atol=1e-4)
    half = heat_maps(net.bfloat16(), x, np.array([1, 3]), method)
    assert half.dtype == np.float32
    assert np.isfinite(half).all()
    assert np.corrcoef(half.ravel(), plain.ravel())[0, 1] > 0.8


def test_the_usual_map_is_grad_cam_but_where_logits_are_distances():
    assert methods_for(built("resnet20")[0])[0] == "grad-cam"
    assert methods_for(built("lenet5")[0])[0] == "class-map"


def test_a_class_that_nothing_speaks_for_has_an_empty_map():
    net, x = built("resnet20")
    with torch.no_grad():
        net.head.classifier.weight.fill_(-1.0)
    assert not heat_maps(net, x, np.array([1, 3]), "grad-cam").any()


# The pixels


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (31, 100)])
@pytest.mark.parametrize(
    "how", [{"resize": "crop"}, {"resize": "crop", "crop_pct": 0.8}, {"resize": "pad"}, {"resize": "stretch"}]
)
def test_a_map_lies_on_the_pixels_that_the_network_saw(size, how):
    """A bright spot of the photo is found in the square; a map with that spot has it on the same pixels of the photo."""
    p = Preprocessing(32, 1, **how)
    photo = np.zeros(size[::-1], np.uint8)
    x, y = size[0] // 2 + 5, size[1] // 2 - 6
    photo[y - 4 : y + 4, x - 4 : x + 4] = 255
    square = p.square(Image.fromarray(photo))[..., 0] / 255
    back = on_photo(square, p.region(*size), *size)
    rows, columns = np.indices(back.shape) + 0.5
    centre = (back * columns).sum() / back.sum(), (back * rows).sum() / back.sum()
    assert centre == pytest.approx((x, y), abs=1.0)
    left, top, *_ = p.region(*size)
    assert not back[:, : max(0, int(left))].any()
    assert not back[: max(0, int(top))].any()


def steps_of(nodes):
    """The product of the strides along the first of all branches."""
    product = 1
    for node in nodes:
        if isinstance(node.module, Branches | Residual):
            product *= steps_of(node.children[:1])
        elif not isinstance(node.module, SqueezeExcitation):
            own = getattr(node.module, "stride", 1)
            product *= steps_of(node.children) if node.children else own[0] if isinstance(own, tuple) else own
    return product


@pytest.mark.parametrize("name", sampled(list_models(), fast=("lenet5", "resnet20", "mobilenet_v1_025", "googlenet")))
def test_the_places_of_a_map_are_as_far_apart_as_the_strides_say(name):
    net = create_model(name)
    size = net.spec["image_size"]
    *before, last = [node for node in trace(net) if node.name != "head" and not node.name.startswith("auxiliary")]
    layers = [*before, *(last.children or [last])]
    if isinstance(layers[-1].module, torch.nn.MaxPool2d | torch.nn.AvgPool2d):  # both maps are before it
        layers.pop()
    wanted = pytest.approx(layers[-1].shape[1] * steps_of(layers))
    assert span_of(net, "class-map", size) * size == wanted
    if layers[-1].shape[1] >= 3:
        assert span_of(net, "grad-cam", size) * size == wanted
    assert span_of(net, "occlusion", size) == 1


@pytest.mark.parametrize(("span", "first", "step"), [(1.0, 3.2, 6.4), (20 / 32, 8.0, 4.0), (40 / 32, 0.0, 8.0)])
def test_a_map_is_drawn_from_place_to_place(span, first, step):
    """Five places in a square of 32 pixels that is drawn three times as large, and 6 pixels into a photo."""
    values = np.random.default_rng(0).random((5, 5)).astype(np.float32)
    drawn = on_photo(values, (6.0, 0.0, 102.0, 96.0), 108, 96, span)
    assert not drawn[:, :6].any()
    assert not drawn[:, 102:].any()
    pixels = (np.arange(96) + 0.5) / 3
    at = first + step * np.arange(5)
    expected = np.stack([np.interp(pixels, at, line) for line in values])
    expected = np.stack([np.interp(pixels, at, column) for column in expected.T], 1)
    np.testing.assert_allclose(drawn[:, 6:102], expected, atol=1e-5)
    row, column = np.unravel_index(values.argmax(), values.shape)
    photo = Image.new("L", (108, 96))
    found = Explanation({"file": "a"}, "a", 1.0, "grad-cam", values, photo, (6.0, 0.0, 102.0, 96.0), span)
    assert found.peak == pytest.approx((6 + 3 * at[column], 3 * at[row]))
    assert found.to_dict()["span"] == span
    np.testing.assert_array_equal(found.array, drawn)


def test_a_photo_is_dark_where_the_network_sees_nothing():
    photo = Image.new("RGB", (90, 60), (200, 200, 200))
    drawn = np.asarray(over(photo, np.zeros((4, 4)), (15.0, 0.0, 75.0, 60.0)))
    assert (drawn[:, 20:70] == 200).all()
    assert (drawn[:, :14] < 100).all()


# From Python


def test_a_run_explains_an_image(run, picture):
    path = picture("a.png", (40, 60))
    found = run.explain(path)
    assert found.array.shape == (40, 60)
    assert found.array.dtype == np.float32
    assert not found.array[:, :9].any(), "the network sees the central 40 x 40 pixels"
    assert found.array.max() <= 1
    assert found.label == podium_api.load(run.path).predict(path)[0]["top"][0]["class"]
    assert found.picture.mode == "RGB"
    x, y = found.peak
    assert 10 <= x <= 50
    assert found.array[min(39, int(y)), min(59, int(x))] > 0.8
    html = found._repr_html_()
    assert html.count("data:image/png") == 2
    assert found.label in html


def test_the_class_and_the_method_are_chosen(run, picture):
    path, model = picture(), podium_api.load(run.path)
    maps = {label: model.explain(path, label).map for label in ("3", "8")}
    assert not np.array_equal(maps["3"], maps["8"])
    assert model.explain(path, method="occlusion").map.shape == (32, 32)
    with pytest.raises(UsageError, match="no '11'"):
        model.explain(path, "11")
    with pytest.raises(UsageError, match="grad-cam"):
        model.explain(path, method="gradcam")
    with pytest.raises(UsageError, match="podium explain RUN IMAGE --method layers"):
        model.explain(path, method="layers")
    with pytest.raises(UsageError, match="several"):
        model.explain([path, path])


@pytest.mark.parametrize(
    ("label", "fix"),
    [
        ("Daisy", "did you mean daisy?"),
        ("daisy, marguerite", "did you mean daisy?"),
        ("1", "give the name: class 1 is daisy"),
        ("17", "it has tench, daisy, rain barrel"),
    ],
)
def test_a_class_that_is_not_there_leads_to_its_name(label, fix):
    network = SimpleNamespace(classes=("tench", "daisy", "rain barrel"))
    with pytest.raises(UsageError) as refused:
        Predictor.number_of(network, label)
    assert refused.value.fix == fix


def test_filters_and_feature_maps():
    net, x = built("alexnet")
    found = Layers.of(net, x[:1], "a.png", Image.new("RGB", (32, 32)), rgb=False)
    assert np.array_equal(found.filters, net.stem[0].weight.detach().numpy()[:, ::-1])
    with torch.no_grad():
        endpoints = net.endpoints(x[:1])
    assert list(found.stages) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    for stage, (channels, values) in found.stages.items():
        means = endpoints[stage][0].mean((1, 2)).numpy()
        assert means[channels[0]] == pytest.approx(means.max(), rel=1e-4)
        assert values.shape[0] == 8
    assert [len(panel.pictures) for panel in found.panels()] == [1, 96, 8, 8, 8, 8, 8]


# The command line


def test_the_verb_writes_a_picture_a_page_and_json(podium, run, picture):
    a, b = picture("a.png", (40, 60)), picture("in/b.png")
    done = podium("explain", run.path, a, b.parent, "-o", "maps.png")
    assert done.code == 0
    assert done.out.count("grad-cam highest") == 2
    with Image.open("maps.png") as sheet:
        assert sheet.height > 600
    done = podium("explain", run.path, a, "-o", "maps.html", "--method", "layers")
    assert done.code == 0
    with open("maps.html", encoding="utf-8") as page:
        text = page.read()
    assert "http" not in text.replace("http-equiv", "")
    assert str(a.parent) not in text
    assert str(run.path.parent) not in text
    assert text.count("data:image/webp") > 10
    answer = podium("explain", run.path, a, "--json").json[0]["class"]
    rows = podium("explain", run.path, "--class", answer, "--json", a).json
    assert rows[0]["class"] == answer
    assert rows[0]["box"] == [10, 0, 50, 40]
    assert np.array(rows[0]["map"]).max() == pytest.approx(1)


@pytest.mark.parametrize("method", [*HEAT, *OTHER_METHODS])
def test_a_page_says_all_in_chinese_too_but_the_names(podium, run, picture, method):
    """A class may be called what is a phrase elsewhere."""
    a = picture("a.png")
    podium("explain", run.path, a, "-o", "maps.html", "--method", method)
    text = (a.parent / "maps.html").read_text(encoding="utf-8")
    said = re.findall(r'<(h1|h2|p class="note")>(?:<span data-zh="([^"]*)">)?', text)
    named = 0 if method == "nearest" else 1  # the name of the image alone
    assert len(said) >= 3
    assert [tag for tag, chinese in said if not chinese] == ["h2"] * named
    assert all(re.search("[\u4e00-\u9fff]", chinese) for _, chinese in said if chinese)
    image = Image.new("L", (8, 8))
    panel = Panel("a.png", [Picture(image, "loss\n0.9"), Picture(image, f"{method}: loss\n{NOTHING}")])
    text = write_explanations(a.parent / "maps.html", "run", method, [panel]).read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>(.*)</figcaption>", text)
    assert captions[0] == "<span>loss</span><span>0.9</span>"
    assert "这张图片里没有支持该类别的地方" in captions[1]


def test_nearest_training_images_are_found_by_content(podium, run, picture):
    """A training image is nearest to itself."""
    pixels = podium_api.load_data("digits").splits["train"].pixels[7]
    Image.fromarray(pixels[..., 0]).save("digit.png")
    done = podium("explain", run.path, "digit.png", "--method", "nearest", "--json").json
    found = done[0]["nearest"]
    assert len(found) == 8
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert all(a["similarity"] >= b["similarity"] for a, b in itertools.pairwise(found))


def test_images_that_have_moved_are_given_with_data(podium, run, picture, tmp_path):
    picture("a.png")
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    settings = (moved / "settings.yaml").read_text()
    (moved / "settings.yaml").write_text(re.sub(r"(?m)^data: \S+", f"data: {tmp_path / 'gone'}", settings))
    podium("explain", moved, "a.png", "--method", "nearest").refused(3, "gone", "no longer there", "with --data DATA")
    podium("explain", moved, "a.png", "--method", "nearest", "--data", "digits")
    podium("export", moved, "-o", "moved.onnx").refused(3, "gone", "no longer there", "with --data DATA")
    podium("quantize", moved, "-o", "moved").refused(3, "gone", "no longer there", "as DATA, the second argument")


def test_a_network_without_a_record_of_its_images_is_given_some(podium, run, picture, tmp_path):
    """As a bundle that was imported, or copied out of its run; an exported file has no training images at all."""
    picture("a.png")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in ("card.json", "model.safetensors"):
        shutil.copy(run / name, bundle)
    nearest = ("explain", bundle, "a.png", "--method", "nearest")
    podium(*nearest).refused(2, "not on record", "give images of its classes with --data DATA")
    assert podium(*nearest, "--data", "digits", "--json").json[0]["nearest"]
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 100 * number).save(tmp_path / "pets" / name / f"{name}{number}.png")
    podium(*nearest, "--data", tmp_path / "pets").refused(3, "none of the network's classes", "give images of some")
    podium("export", run.path, "-o", "digits.onnx")
    file = ("explain", "digits.onnx", "a.png", "--method")
    podium(*file, "nearest").refused(2, "digits.onnx", "or its bundle with --data DATA")
    podium(*file, "layers").refused(2, "digits.onnx", "give the run that it was made from, or its bundle")


def test_larger_images_are_explained_where_they_are_allowed(podium, run):
    Image.new("L", (9000, 6000)).save("large.png")
    podium("explain", run.path, "large.png").refused(3, "large.png: 9000 x 6000 pixels", "--max-pixels N")
    done = podium("explain", run.path, "large.png", "--max-pixels", 54_000_000, "--json")
    assert (done.json[0]["width"], done.json[0]["height"]) == (9000, 6000)


def test_what_cannot_be_explained_is_said(podium, run, picture):
    a = picture("a.png")
    (a.parent / "b.png").write_bytes(b"no image")
    done = podium("explain", run.path, "a.png", "b.png", "-o", "x.html")
    assert done.code == 3
    assert "b.png" in done.err
    assert "written: x.html" in done.out
    podium("explain", run.path, "a.png", "-o", "a.png").refused(2, "another file is there")
    podium("explain", run.path, "a.png", "-o", "x.jpg").refused(2, ".html or .png")
    many = ["a.png"] * 51
    podium("explain", run.path, *many, "-o", "x.png").refused(2, "51 images", "at most 50", "a name that ends in .html")
    podium("explain", run.path, "a.png", "--class", "rose").refused(2, "rose", "0, 1, 2")
    podium("explain", run.path, "a.png", "--max-pixels", "10").refused(3, "above the limit of 10 pixels")
    podium("explain", run.path, "a.png", "--method", "gradcam").refused(2, "no 'gradcam'", "did you mean grad-cam?")
    podium("explain", run.path, "a.png", "--method", "nearest", "--class", "3").refused(2, "nearest")
    podium("explain", run.path, "a.png", "--data", "digits").refused(2, "nearest")
    podium("explain", "nowhere", "a.png").refused(4, "nowhere")
