"""Where the memory of a device ends: which errors say so, and what goes on in each phase of a run."""

import gc
import weakref

import pytest
import torch

import podium
from podium.data.augment import Augment
from podium.data.loader import Loader, resident_bytes
from podium.data.memory import out_of_memory
from podium.data.preprocessing import Preprocessing
from podium.data.upload import kept_on
from podium.errors import MachineError, UsageError
from podium.models import ConvNet
from podium.settings import Settings
from podium.training import prepare as preparing
from podium.training.autotune import fastest, forecast
from podium.training.autotune.batch_size import largest_batch
from podium.training.optim import EMA
from test_training import toy

SAID = [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.56 GiB",
    "CUDA error: out of memory",
    "MPS backend out of memory (MPS allocated: 17.69 GB, other allocations: 1.02 MB, max allowed: 18.13 GB)",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "GET was unable to find an engine to execute this computation",
    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes",
]
OTHER = [
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "cuDNN error: CUDNN_STATUS_BAD_PARAM",
    "CUDA error: an illegal memory access was encountered",
    "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
]


@pytest.mark.parametrize("text", SAID)
def test_what_libraries_say_when_memory_ends(text):
    assert out_of_memory(RuntimeError(text))
    assert not out_of_memory(ValueError(text))


@pytest.mark.parametrize("text", OTHER)
def test_other_errors_of_a_device_are_not_a_lack_of_memory(text):
    assert not out_of_memory(RuntimeError(text))


class Card:
    """A GPU on which some candidates do not fit; the others take the seconds that are told."""

    def __init__(self, **seconds):
        self.seconds, self.tried = seconds, []

    def __call__(self, net, settings, candidate, images):
        self.tried.append(candidate)
        if candidate[0] not in self.seconds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.seconds[candidate[0]]


@pytest.fixture
def card(monkeypatch, tmp_path):
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path))
    for name, there in (("native_bf16", True), ("has_fp16", True), ("has_tf32", False)):
        monkeypatch.setattr(fastest, name, lambda device, there=there: there)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a small card")
    return tmp_path / "fastest.json"


def chosen(timing, **limits):
    net = podium.create_model("resnet20", num_classes=2, image_size=32, small=True)
    s = Settings(model="resnet20", batch_size=64)
    return fastest.fastest_setting(net, s, torch.device("cuda"), 10**9, 1000, seconds=timing, **limits)


def test_a_candidate_that_does_not_fit_costs_only_itself(card):
    timing = Card(bf16=1.0)
    assert chosen(timing) == ("bf16", "channels_last")
    assert [amp for amp, _ in timing.tried] == ["bf16", "bf16", "off", "off"], "the one that needs least comes first"
    assert not card.exists(), "another time there may be more memory: nothing is remembered"
    assert chosen(Card(off=1.0, bf16=0.5)) == ("bf16", "channels_last")
    assert card.exists()


def test_where_no_candidate_fits_a_rule_decides_and_the_run_says_what_fits(card):
    assert chosen(Card()) == chosen(Card(), within=60.0) == ("bf16", "channels_last")


def test_float16_is_for_cards_without_bfloat16(card, monkeypatch):
    assert fastest.precisions(torch.device("cuda")) == ["off", "bf16"]
    monkeypatch.setattr(fastest, "native_bf16", lambda device: False)
    assert fastest.precisions(torch.device("cuda")) == ["off", "fp16"]
    assert chosen(Card(fp16=1.0, off=2.0)) == ("fp16", "channels_last")
    monkeypatch.setattr(fastest, "has_fp16", lambda device: False)
    assert fastest.precisions(torch.device("cuda")) == ["off"]


def test_another_error_in_a_candidate_ends_the_search(card):
    def broken(*_):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        chosen(broken)


def test_images_that_do_not_fit_stay_beside_the_device_and_a_line_says_so(monkeypatch, caplog):
    pixels = torch.zeros(4, 2, 2, 1, dtype=torch.uint8)

    def full(tensor, *_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "to", full)
    assert kept_on(torch.device("cuda"), pixels) is pixels
    assert "do not fit into the memory of cuda: each batch is sent when it is needed" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        kept_on(torch.device("cpu"), pixels)


@pytest.mark.parametrize("augment", [None, Augment("pad", flip=True), Augment("area"), Augment(flip=True, erase=0.3)])
def test_batches_of_images_beside_the_device_are_the_same(augment):
    data = toy(size=16)

    def batches(beside):
        loader = Loader(
            data.splits["train"],
            Preprocessing(image_size=16, channels=1),
            batch_size=16,
            device=torch.device("cpu"),
            augment=augment,
        )
        loader.beside = beside
        return list(loader.epoch(1))

    for here, there in zip(batches(False), batches(True), strict=True):
        assert torch.equal(here.x, there.x)
        assert torch.equal(here.y, there.y)
        assert torch.equal(here.index, there.index)


def test_the_images_count_when_a_batch_is_looked_for():
    data = toy(size=16)
    train = data.splits["train"]
    loader = Loader(
        train,
        Preprocessing(image_size=16, channels=1),
        batch_size=16,
        device=torch.device("cpu"),
        augment=Augment("pad", flip=True),
    )
    assert resident_bytes(train, loader.preprocessing, loader.padding) == loader.resident.nbytes
    net = podium.create_model("lenet5_modern", num_classes=2, image_size=32, in_chans=1)
    assert largest_batch(net, Settings(lr=0.0), 64, None) == 64
    assert largest_batch(net, Settings(lr=0.0), 64, None, later=1 << 60) is None, (
        "the images would fill all that is left"
    )


def test_weights_that_do_not_fit_are_the_machines_fault(tmp_path, monkeypatch):
    def full(net, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ConvNet, "to", full)
    with pytest.raises(MachineError, match="do not fit into the memory of cpu"):
        preparing._placed(podium.create_model("lenet5_modern", num_classes=2), torch.device("cpu"))


def test_the_steps_of_a_budget_name_a_batch_that_fits(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr(forecast, "_step", full)
    with pytest.raises(UsageError, match="16 images a step of lenet5_modern do not fit") as caught:
        podium.train("lenet5_modern", toy(size=32), tmp_path / "run", budget="60s", batch_size=16)
    assert "8 do" in caught.value.what


def test_a_run_frees_what_it_held_before_a_batch_is_looked_for(tmp_path, monkeypatch):
    """The moving average stands for all that a run has beside its network; the error's frames hold it too."""
    averages, alive, real = [], [], EMA.__init__

    def noted(self, *words):
        real(self, *words)
        averages.append(weakref.ref(self))

    def searched(net, *_):
        gc.collect()
        alive.append([average() is not None for average in averages])
        assert all(parameter.grad is None for parameter in net.parameters())

    real_update = EMA.update

    def full(self, step, ended=None):
        real_update(self, step, ended)
        if step == 3:
            raise RuntimeError("GET was unable to find an engine to execute this computation")

    monkeypatch.setattr(EMA, "__init__", noted)
    monkeypatch.setattr(EMA, "update", full)
    monkeypatch.setattr("podium.training.fitting.largest_batch", searched)
    with pytest.raises(UsageError, match="do not fit"):
        podium.train("lenet5_modern", toy(size=32), tmp_path / "run", epochs=1, batch_size=16, ema=0.9)
    assert alive == [[False]]
