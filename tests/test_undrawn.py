"""Networks that are filled with weights are built without drawing any."""

import pytest
import torch

import podium
from conftest import sampled
from podium import create_model, list_models
from podium.models.registry import architecture, rebuild
from podium.models.undrawn import undrawn


@pytest.mark.parametrize("name", sampled(list_models()))
def test_a_network_that_is_not_drawn_becomes_any_other_by_its_weights(name):
    known = architecture(name)
    small = known.small_min_size is not None
    drawn = create_model(name, num_classes=3, image_size=known.smallest(small), small=small).eval()
    before = torch.get_rng_state()
    other = undrawn(lambda: rebuild(drawn.spec)).eval()
    assert torch.equal(torch.get_rng_state(), before)
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in drawn.parameters()]
    other.load_state_dict(drawn.state_dict())
    x = torch.linspace(-1, 1, drawn.spec["in_chans"] * drawn.spec["image_size"] ** 2)
    x = x.view(1, drawn.spec["in_chans"], drawn.spec["image_size"], -1)
    with torch.no_grad():
        # ResNet-1202 with random weights and unused statistics of batch norm overflows.
        torch.testing.assert_close(other(x), drawn(x), rtol=0, atol=0, equal_nan=True)


def test_to_load_a_run_draws_no_random_number(run):
    before = torch.get_rng_state()
    podium.load(run.path)
    assert torch.equal(torch.get_rng_state(), before)
