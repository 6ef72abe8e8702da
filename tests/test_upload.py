"""Batches on their way to a GPU, with a device that only notes what it is told."""

import contextlib

import pytest
import torch

from podium.data import loader, upload
from podium.data.loader import usual_workers
from podium.data.upload import all_uploaded, sent_ahead

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Card:
    """Streams and events of a GPU that does all at once, in the order in which it is told."""

    def __init__(self, monkeypatch):
        self.told = []
        real = torch.Tensor.to

        def to(tensor, *where, **how):
            if GPU not in where:
                return real(tensor, *where, **how)
            assert how["non_blocking"], "the processor does not wait"
            self.told.append(f"send {int(tensor[0])}")
            return tensor.clone()

        monkeypatch.setattr(torch.Tensor, "to", to)
        monkeypatch.setattr(
            torch.Tensor, "record_stream", lambda tensor, stream: self.told.append(f"use {int(tensor[0])}")
        )
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)

    def record_event(self):
        return "sent"

    def wait_event(self, event):
        assert event == "sent"


def batches(count):
    return [(torch.tensor([n]), torch.full((2,), n, dtype=torch.uint8)) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_next_batch_is_sent_before_the_steps_get_one(monkeypatch, count):
    card = Card(monkeypatch)
    found = []
    for rows, pixels in sent_ahead(iter(batches(count)), GPU):
        found.append((int(rows), int(pixels[0])))
        card.told.append("step")
    assert found == [(n, n) for n in range(count)]
    if count == 3:
        assert card.told == ["send 0", "send 1", "use 0", "step", "send 2", "use 1", "step", "use 2", "step"]
    assert [told for told in card.told if told.startswith("use")] == [f"use {n}" for n in range(count)]


def test_the_order_of_an_epoch_is_sent_once(monkeypatch):
    card = Card(monkeypatch)
    order = [torch.tensor([3, 1]), torch.tensor([2, 0]), torch.tensor([4])]
    assert [part.tolist() for part in all_uploaded(order, GPU)] == [[3, 1], [2, 0], [4]]
    assert card.told == ["send 3"]
    assert all_uploaded([], GPU) == []


def test_on_a_processor_nothing_is_copied():
    order = [torch.tensor([3, 1])]
    assert all_uploaded(order, CPU) is order
    tensor = torch.zeros(2)
    assert upload.uploaded(tensor, CPU) is tensor


@pytest.mark.parametrize(
    ("device", "cores", "beside", "workers"),
    [(CPU, 64, 1, 2), (GPU, 64, 1, 16), (GPU, 8, 1, 8), (GPU, 64, 8, 8), (GPU, 1, 1, 2)],
)
def test_a_gpu_has_as_many_readers_as_there_are_cores(monkeypatch, device, cores, beside, workers):
    monkeypatch.setattr(loader, "processors", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
    assert usual_workers(device) == workers
