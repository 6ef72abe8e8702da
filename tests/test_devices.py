"""Devices: names, what differs on GPUs and Apple's chips, and what is the same everywhere. None of them is here: they are faked."""

import pytest
import torch
import torch.nn.functional as F

from podium import devices
from podium.errors import MachineError, UsageError
from podium.models import pooling
from podium.training import fake_int8

MPS, CUDA = torch.device("mps"), torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, of which the first is the current one; returns the numbers that become the current one."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.fixture
def apple(monkeypatch):
    """An Apple GPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.parametrize(
    ("name", "device"), [("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cuda:0", "cuda:0")]
)
def test_a_device_is_the_one_of_its_name(gpus, name, device):
    assert devices.pick_device(name) == torch.device(device)
    assert gpus == ([int(name[-1])] if ":" in name else []), "what names no device means this one from now on"


def test_auto_takes_an_apple_gpu(apple):
    assert devices.pick_device("auto") == MPS
    assert devices.pick_device("mps") == MPS


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps:0", "", "CUDA", 3, None])
def test_a_name_of_no_device_is_refused(name):
    with pytest.raises(UsageError, match="device") as refused:
        devices.pick_device(name)
    assert refused.value.fix == "give auto, cpu, cuda, cuda:N or mps"


def test_a_device_that_is_not_here_is_refused_with_those_that_are(gpus):
    for name in ("cuda:2", "mps"):
        with pytest.raises(MachineError, match=f"there is no {name} here") as refused:
            devices.pick_device(name)
        assert refused.value.fix == "--device auto, or one that is here: cpu, cuda:0, cuda:1"


def test_waiting_is_for_the_device_that_computes(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for name in ("cpu", "cuda:1", "mps", "meta"):
        devices.synchronize(torch.device(name))
    assert waited == [torch.device("cuda:1"), "mps"]


def test_float32_is_float32_and_what_torch_had_comes_back():
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    assert conv.fp32_precision == "tf32", "torch rounds the factors of convolutions by itself"
    with devices.float32():
        assert "tf32" not in (matmul.fp32_precision, conv.fp32_precision)
        with devices.float32(tf32=True):
            assert (matmul.fp32_precision, conv.fp32_precision) == ("tf32", "tf32")
            assert torch.backends.cudnn.allow_tf32, "the older names agree"
        assert "tf32" not in (matmul.fp32_precision, conv.fp32_precision)
    assert (matmul.fp32_precision == "tf32", conv.fp32_precision) == (before[0] == "tf32", before[1])


def test_deterministic_kernels_are_chosen_and_given_back(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with devices.deterministic_kernels(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with devices.deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert devices.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize(
    ("height", "width", "side"), [(6, 6, 7), (5, 8, 7), (10, 13, 4), (7, 7, 7), (14, 14, 7), (1, 3, 6)]
)
def test_pooling_by_matrices_is_torchs_in_value_and_gradient(height, width, side):
    images = torch.randn(3, 4, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    found = []
    for pool in (F.adaptive_avg_pool2d, pooling.by_matrices):
        x = images.clone().requires_grad_()
        y = pool(x, side)
        (y * torch.arange(y.numel()).view_as(y)).sum().backward()
        found.append((y.detach(), x.grad))
    (torchs, its), (ours, own) = found
    assert torch.allclose(ours, torchs, rtol=1e-13, atol=1e-13)
    assert torch.allclose(own, its, rtol=1e-13, atol=1e-11)


def test_pooling_by_matrices_adds_in_float32_whatever_the_maps_are():
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = pooling.by_matrices(x, 4)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, F.adaptive_avg_pool2d(x.float(), 4).bfloat16())


def test_a_matrix_that_was_made_without_gradients_serves_those_that_have_some():
    pooling.averaging.cache_clear()
    x = torch.randn(1, 1, 5, 5)
    with torch.inference_mode():
        pooling.by_matrices(x, 3)
    x.requires_grad_()
    pooling.by_matrices(x, 3).sum().backward()
    assert torch.allclose(x.grad.sum(), torch.tensor(9.0))


@pytest.mark.parametrize("layer", ["weights", "activations", "given range", "halves", "zero"])
def test_plain_rounding_is_torchs_in_value_and_gradient(monkeypatch, layer):
    values = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1)) * 3
    if layer == "halves":  # a step is 1, so that half of the values lie between two steps
        values = torch.arange(256.0).repeat(2) - torch.tensor([0.0, 0.5]).repeat_interleave(256)
        values = values.clamp(min=0)
    if layer == "zero":
        values = torch.zeros(4, 5)
    low, high = (torch.tensor(-1.0), torch.tensor(1.5)) if layer == "given range" else (None, None)

    def found():
        x = values.clone().requires_grad_()
        y = fake_int8.int8_weights(x) if layer == "weights" else fake_int8.uint8_activations(x, low, high)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        return y.detach(), x.grad

    torchs = found()
    monkeypatch.setattr(fake_int8, "has_rounding", lambda device: device.type == "meta")
    for own, its in zip(found(), torchs, strict=True):
        assert torch.equal(own, its)


def test_what_cards_and_chips_can_do_is_asked_of_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not devices.has_bf16(CUDA), "a T4 emulates bfloat16"
    assert not devices.native_bf16(CUDA)
    assert not devices.has_tf32(CUDA)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    assert devices.has_tf32(CUDA)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: (major, minor) <= (13, 5))
    assert not devices.has_bf16(MPS)
    assert not devices.has_tf32(MPS)
    assert devices.has_bf16(torch.device("cpu"))


def test_channels_last_is_for_torch_versions_whose_gradients_are_right_on_apple_gpus(monkeypatch):
    for version, right in (("2.10.0", False), ("2.13.0+cpu", False), ("2.14.0", True), ("3.0.0a0+git1", True)):
        monkeypatch.setattr(torch, "__version__", version)
        assert devices.channels_last_is_right(MPS) is right
    assert devices.channels_last_is_right(CUDA)
