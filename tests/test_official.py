"""The official weights on record: which file a source names, and what is known of it."""

import pytest

from podium.errors import UsageError
from podium.models import list_models
from podium.weights.official import best_source, find_record
from podium.weights.peers import find_peer
from podium.weights.records import records

EVERY = [record for own in records().values() for record in own]


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("resnet50", "torchvision:resnet50"),
        ("resnet50_v1", "keras:ResNet50"),  # the stride in the first 1x1, as the paper has it
        ("alexnet_owt", "torchvision:alexnet"),
        ("googlenet_tv", "torchvision:googlenet"),
        ("xception", "keras:Xception"),
        ("seresnet50", "timm:legacy_seresnet50"),
        ("senet154", "timm:legacy_senet154"),
        ("inception_v4", "timm:inception_v4"),
        ("mobilenet_v1_075", "keras:MobileNet_0.75"),
        ("lenet5", None),
        ("alexnet", None),  # in two groups: torchvision's is the one of 2014
        ("googlenet", None),
        ("resnet20", None),
        ("no_such_network", None),
    ],
)
def test_a_network_has_its_own_best_known_weights(model, source):
    assert best_source(model) == source


@pytest.mark.parametrize("model", list_models())
def test_the_best_known_weights_are_of_exactly_this_network(model):
    source = best_source(model)
    if source is not None:
        assert find_peer(source).model == model
        assert find_record(source).peer == source
        assert "nc" not in find_record(source).licence, "what is taken by default may be used for anything"


def test_every_official_file_can_be_read_and_has_an_address():
    for record in EVERY:
        assert find_peer(record.peer) == find_peer(record.source)
        assert find_record(record.source) == record
        assert record.address.startswith("https://")
    for one in ("source", "address", "cached_as"):
        values = [getattr(record, one) for record in EVERY]
        assert len(set(values)) == len(values), "two files have the same name"


def test_a_tag_names_one_of_several_files():
    assert find_record("torchvision:resnet50.v2").address.endswith("/models/resnet50-11ad3fa6.pth")
    assert find_record("torchvision:resnet50.v1") == find_record("torchvision:resnet50")
    assert find_record("timm:resnet50.tv2_in1k").repository == "timm/resnet50.tv2_in1k"
    assert find_record("keras:MobileNet_0.75").cached_as == "mobilenet_7_5_224_tf.h5"
    assert find_record("torchvision:resnext101_32x4d") is None, "torchvision has the network, and no weights of it"
    with pytest.raises(UsageError, match=r"torchvision:resnet50 has no weights 'v3'\nfix: .*v2"):
        find_record("torchvision:resnet50.v3")
    with pytest.raises(UsageError, match="has no weights 'x'"):
        find_record("keras:Xception.x")
