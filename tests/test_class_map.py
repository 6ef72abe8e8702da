"""Heat maps without gradients: they show where a class comes from, in torch and in exported files."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import podium as library
from podium.errors import UsageError
from podium.explain.class_map import class_map, map_sides
from podium.explain.gradients import grad_cam
from podium.models.registry import build_model


def built(name, size=32, channels=3, **more):
    torch.manual_seed(0)
    return build_model(name, num_classes=4, in_chans=channels, image_size=size, **more).eval()


def images(net, count=3):
    side = net.spec["image_size"]
    return torch.randn(count, net.spec["in_chans"], side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["resnet20", "seresnet18"])
@pytest.mark.parametrize("classes", [None, [2, 0, 1]])
def test_behind_an_average_pool_it_is_the_gradient_of_the_logit_times_the_features(name, classes):
    """Grad-CAM, whose weights are 1 / (h * w) of the class's row there [Selvaraju et al. 2017, section 3.1]; by autograd."""
    net = built(name, **({} if name == "resnet20" else {"small": True}))
    x, wanted = images(net), None if classes is None else torch.tensor(classes)
    features = net.forward_features(x).detach().requires_grad_()
    logits = net.head(features)
    shown = logits.argmax(1) if wanted is None else wanted
    (gradient,) = torch.autograd.grad(logits.gather(1, shown[:, None]).sum(), features)
    evidence = (gradient.mean((2, 3), keepdim=True) * features).sum(1).detach()
    most = torch.maximum(evidence.amax((1, 2)), 0.1 * evidence.abs().amax((1, 2)))
    found = class_map(net, x, wanted)
    torch.testing.assert_close(found.logits, logits.detach())
    torch.testing.assert_close(found.heat_map, evidence.relu() / most[:, None, None], atol=1e-5, rtol=1e-4)
    assert (found.heat_map.amax((1, 2)) > 0.9).any()


@torch.no_grad()
def test_behind_hidden_layers_it_is_the_map_of_the_channel_that_the_class_is_read_from():
    net = built("vgg11", 64, small=True)
    first, second, last = net.head.hidden[0], net.head.hidden[3], net.head.classifier
    for layer in (first, second, last):
        layer.weight.zero_()
        layer.bias.zero_()
    first.weight.unflatten(1, (512, -1))[7, 31] = 1.0  # the seventh value adds up the places of channel 31
    second.weight[5, 7] = 2.0
    last.weight[3, 5] = 0.5
    x, features = images(net), []
    net.stages.stage5[-2].register_forward_hook(lambda module, given, out: features.append(out.clone()))
    logits, heat_map = class_map(net, x)
    before_pool = features[-1]
    assert logits.argmax(1).tolist() == [3, 3, 3]
    wanted = before_pool[:, 31]
    torch.testing.assert_close(heat_map, wanted / wanted.amax((1, 2), keepdim=True))
    assert heat_map.shape[1:] == map_sides(net) == (4, 4)
    last.weight[3, 5] = -0.5
    assert class_map(net, x, torch.tensor([3, 3, 3])).heat_map.max() == 0, "all there is speaks against the class"


def test_the_network_stays_as_it_was():
    net = built("vgg11_bn", small=True).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    class_map(net, images(net))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(("name", "size", "small"), [("resnet18", 32, False), ("vgg16", 16, True)])
def test_a_map_of_a_single_place_is_refused(name, size, small):
    with pytest.raises(UsageError, match=f"{name} at {size} px has no heat map: .* a single place"):
        class_map(net := built(name, size, small=small), images(net))


def corners(count, side, seed):
    """Grey images of which one corner has stripes, whose direction is the class, and the others are flat."""
    draw, patch = np.random.default_rng(seed), side // 4
    x = draw.normal(0, 0.15, (count, 1, side, side)).astype(np.float32)
    classes, places = draw.integers(0, 2, count), draw.integers(0, 4, count)
    stripes = np.indices((patch, patch)) // 2 % 2 * 2.0 - 1
    for image, label, place in zip(x[:, 0], classes, places, strict=True):
        for corner in range(4):
            top, left = (half * (side // 2) + draw.integers(0, side // 2 - patch + 1) for half in divmod(corner, 2))
            drawn = stripes[label] if corner == place else draw.uniform(-1, 1)
            image[top : top + patch, left : left + patch] += drawn
    return torch.from_numpy(x), torch.from_numpy(classes), torch.from_numpy(places)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern", "resnet20"])
def test_it_points_to_the_corner_that_carries_the_class(name):
    net = built(name, channels=1)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3 if name == "lenet5" else 2e-3)
    for step in range(500 if name == "lenet5" else 300 if name == "lenet5_modern" else 60):
        x, y, _ = corners(32, 32, 1000 + step)
        optimizer.zero_grad()
        net.train().training_loss(x, y, F.cross_entropy).backward()
        optimizer.step()
    x, y, places = corners(300, 32, 0)
    logits, heat_map = class_map(net.eval(), x)
    right = logits.argmax(1) == y
    assert right.float().mean() > 0.9
    for maps, target in ((heat_map, 0.99), (grad_cam(net, x), 0.95)):
        enlarged = F.interpolate(maps[:, None], (32, 32), mode="bilinear").flatten(1).argmax(1)
        found = (enlarged // 32 >= 16).long() * 2 + (enlarged % 32 >= 16).long()
        assert (found == places)[right].float().mean() >= target


# Exported files


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """The run as files with and without heat maps."""
    folder = tmp_path_factory.mktemp("files")
    library.export(run.path, folder / "with.onnx", heat_map=True)
    library.export(run.path, folder / "without.onnx")
    return folder


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from podium.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_file_explains_its_answer_by_the_command_without_torch(files, run, picture, tmp_path):
    words = ["explain", str(files / "with.onnx"), str(picture()), "-o", "x.png", "--json"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (said,) = json.loads(done.stdout)
    expected = library.load(run.path).explain(picture(), method="class-map").to_dict()
    np.testing.assert_allclose(said.pop("map"), expected.pop("map"), atol=2e-4)
    alike = ("class", "method", "box", "span")
    assert [said[key] for key in alike] == [expected[key] for key in alike]
    assert said["span"] == 20 / 32, "five places of LeNet, 4 pixels apart"
    with Image.open(tmp_path / "x.png") as shown:
        assert shown.format == "PNG"


def test_what_a_file_cannot_explain_is_refused(files, podium, picture):
    podium("explain", files / "without.onnx", picture()).refused(2, "without.onnx gives no heat maps", "--heatmap")
    podium("explain", files / "with.onnx", picture(), "--class", "3").refused(2, "class: 3", "of its answer only")
    podium("explain", files / "with.onnx", picture(), "--method", "grad-cam").refused(
        2, "grad-cam", "give class-map, or explain the run"
    )


def test_a_file_with_heat_maps_predicts_as_one_without(files, picture):
    ours, theirs = (library.load(files / name).predict(picture()) for name in ("with.onnx", "without.onnx"))
    assert [row["answer"] for row in ours] == [row["answer"] for row in theirs]
    found = library.verify(files / "with.onnx")
    assert found["ok"]


def test_threads_that_share_a_file_get_the_heat_maps_of_their_own_images(files):
    def heat_maps(batch):
        return model.outputs_of(batch)[2]

    for engine in ("onnxruntime", "openvino"):
        model = library.load(files / "with.onnx", engine=engine, threads=1)
        side, channels = model.preprocessing.image_size, model.preprocessing.channels
        draw = np.random.default_rng(0)
        batches = [draw.integers(0, 256, (2, side, side, channels), np.uint8) for _ in range(12)]
        alone = list(map(heat_maps, batches))
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(heat_maps, batches))
        np.testing.assert_allclose(together, alone, atol=1e-5)
