"""The precision and the memory format that a run trains in: timed once, remembered, and not changed for a small gain."""

import json
import stat

import pytest
import torch

import podium
from podium.settings import Settings, read_file
from podium.training.autotune import fastest
from podium.training.autotune.fastest import fastest_setting, set_memory_format

CPU = torch.device("cpu")
LARGE = 10**9


@pytest.fixture(autouse=True)
def native(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setenv("PODIUM_CACHE", str(tmp_path / "caches"))


def network(name="resnet20"):
    return podium.create_model(name, num_classes=2, image_size=32, small=True)


class Clock:
    """Times told beforehand, in milliseconds: of float32 and bfloat16 in channels last, then contiguous; 999 if not told."""

    def __init__(self, *milliseconds):
        ways = [(amp, order) for order in ("channels_last", "contiguous") for amp in ("off", "bf16")]
        self.told, self.asked = dict(zip(ways, milliseconds, strict=False)), []

    def __call__(self, net, settings, way, images):
        assert self.told, "it was not to be asked"
        self.asked.append(way)
        return self.told.get(way, 999) / 1000


def choose(clock, net=None, steps=1000, macs=LARGE, **settings):
    s = Settings(model="resnet20", batch_size=16, **settings)
    return fastest_setting(net or network(), s, CPU, macs, steps, seconds=clock)


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ((100, 60), ("bf16", "channels_last")),
        ((100, 97), ("off", "channels_last")),  # 3 %: not worth other rounding
        ((100, 130), ("off", "channels_last")),
    ],
)
def test_bfloat16_is_taken_where_it_gains(times, taken):
    assert choose(Clock(*times)) == taken


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ((100, 90, 50, 40), ("bf16", "contiguous")),
        ((100, 90, 50, 80), ("off", "contiguous")),
        ((100, 90, 97, 98), ("bf16", "channels_last")),
    ],
)
def test_both_orders_in_memory_are_tried(times, taken):
    assert choose(Clock(*times)) == taken


def test_what_is_told_is_not_tried():
    clock = Clock()
    assert choose(clock, amp="off", memory_format="channels_last") == ("off", "channels_last")
    assert choose(clock, amp="bf16", memory_format="contiguous") == ("bf16", "contiguous")
    assert clock.asked == []
    assert choose(Clock(100, 90, 50, 40), amp="off", memory_format="contiguous") == ("off", "contiguous")


def test_a_short_run_or_a_small_network_is_not_worth_a_trial():
    clock = Clock()
    assert choose(clock, steps=20) == ("bf16", "channels_last")
    assert choose(clock, macs=10**6) == ("off", "channels_last")
    assert clock.asked == []


def test_no_bfloat16_where_the_processor_only_pretends(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    told = {"memory_format": "channels_last"}
    assert choose(Clock(), **told) == ("off", "channels_last")
    assert choose(Clock(), amp="bf16", **told) == ("bf16", "channels_last")


def test_the_second_run_costs_nothing_and_another_form_is_another_question():
    first, second, other = Clock(100, 60), Clock(), Clock(60, 100)
    assert choose(first) == choose(second) == ("bf16", "channels_last")
    assert (len(first.asked), second.asked) == (4, [])
    assert choose(other, podium.create_model("resnet20", num_classes=3)) == ("off", "channels_last")


@pytest.mark.parametrize(
    "content", ["{", "[1, 2]", "\0\0", '{"KEY": 7}', '{"KEY": {"amp": "int8", "memory_format": 1}}']
)
def test_a_damaged_memory_is_written_anew(content):
    cache = fastest.cache_folder() / "fastest.json"
    choose(Clock(100, 60))
    key = next(iter(json.loads(cache.read_text())))
    cache.write_text(content.replace("KEY", key))
    clock = Clock(100, 60)
    assert choose(clock) == ("bf16", "channels_last")
    assert len(clock.asked) == 4
    entry = json.loads(cache.read_text())[key]
    assert (entry["ms"]["off channels_last"], entry["ms"]["bf16 channels_last"]) == (100.0, 60.0)
    assert choose(Clock()) == ("bf16", "channels_last")


def test_without_a_place_to_remember_it_is_tried_again(tmp_path):
    (tmp_path / "caches").write_text("a file where the folder should be")
    for _ in range(2):
        clock = Clock(100, 60)
        assert choose(clock) == ("bf16", "channels_last")
        assert len(clock.asked) == 4


def test_trials_leave_the_network_as_it_is():
    net = set_memory_format(network("mobilenet_v1"), "channels_last")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for way in (("off", "channels_last"), ("off", "contiguous"), ("bf16", "channels_last")):
        assert fastest.step_seconds(net, Settings(model="mobilenet_v1"), way, 2) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.memory_format is torch.channels_last


def test_a_network_brings_images_into_its_order():
    net, seen = network(), []
    net.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)
    for order in ("contiguous", "channels_last"):
        set_memory_format(net, order)(images)
        assert seen[-1].is_contiguous(memory_format=fastest.FORMATS[order])


def test_what_was_chosen_is_written_down_and_holds_on_resume(tmp_path, monkeypatch):
    from test_training import toy

    monkeypatch.setattr(fastest, "SMALLEST_MACS", 1)
    monkeypatch.setattr(fastest, "FEWEST_STEPS", 1)
    monkeypatch.setattr(fastest, "step_seconds", Clock(100, 90, 40, 50))
    settings = {"epochs": 1, "batch_size": 32, "image_size": 32}
    run = podium.train("mobilenet_v1", toy(), tmp_path / "run", **settings)
    recorded = read_file(run / "settings.yaml")
    assert (recorded["amp"], recorded["memory_format"]) == ("off", "contiguous")
    (fastest.cache_folder() / "fastest.json").unlink()
    monkeypatch.setattr(fastest, "step_seconds", Clock())  # asked again it would fail
    (run / "result.json").unlink()  # as if it had been killed before the end
    again = podium.train("mobilenet_v1", toy(), tmp_path / "run", resume=True, **settings)
    assert (read_file(again / "settings.yaml"), again.result["steps"]) == (recorded, 3)


def test_the_memory_is_written_whole():
    choose(Clock(100, 60))
    files = list(fastest.cache_folder().iterdir())
    assert [path.name for path in files] == ["fastest.json"]
    assert stat.S_ISREG(files[0].stat().st_mode)
