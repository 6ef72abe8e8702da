"""Features that are computed once are those of every image, whatever shape a head's pool gives them."""

import types

import pytest
import torch

from podium.models.registry import build_model
from podium.training.transfer.features import _pooled


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (16, 5, 5)), ("lenet5_modern", (400,))])
def test_each_image_has_its_features(name, shape):
    net = build_model(name, num_classes=10, in_chans=1)
    images = torch.randn(5, 1, net.spec["image_size"], net.spec["image_size"])
    batches = [types.SimpleNamespace(x=part, y=part[:, 0, 0, 0]) for part in images.split(2)]
    loader = types.SimpleNamespace(split=range(5), device=torch.device("cpu"), epoch=lambda: iter(batches))
    found = _pooled(net, loader, torch.Size(shape))
    with torch.no_grad():
        expected = net.eval().head.pool(net.forward_features(images))
    torch.testing.assert_close(found, expected)
