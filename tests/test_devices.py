"""Devices: names, what differs on GPUs and Apple's chips, and what is the same everywhere. None of them is here: they are faked."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

import podium
from podium import devices
from podium.cli.main import main
from podium.errors import MachineError, UsageError
from podium.evaluation import speed
from podium.models import pooling
from podium.networks.lenet import LeNet5Modern
from podium.runs.checkpoint import Position
from podium.runs.folder import RunFolder
from podium.settings import Settings
from podium.training import fake_int8, fitting, update
from podium.training.autotune import fastest, trial
from podium.training.distributed import launch, parallel
from podium.training.run import Run

MPS, CUDA = torch.device("mps"), torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, of which the first is the current one; returns the numbers that become the current one."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def raising(error):
    """A function that raises an error whatever it is given."""

    def called(*arguments, **named):
        raise error

    return called


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


def test_cublas_has_its_workspace_before_whatever_computes_first(gpus, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    devices.pick_device("cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in devices.os.environ
    devices.pick_device("auto")  # as to evaluate a network that is then pruned and fine-tuned: torch looks once
    assert devices.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    devices.pick_device("cuda")
    assert devices.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8", "a person's own stays"


def test_auto_takes_an_apple_gpu(apple):
    assert devices.pick_device("auto") == MPS
    assert devices.pick_device("mps") == MPS


NO_NAMES = ("gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps:0", "", "CUDA", 3, None)
NO_NUMBERS = (
    "cuda:00",
    "cuda:01",
    "cuda:\u0661",
    "cuda:\uff11",
    "cuda:1\n",
    "cuda:1_0",
    "cuda:\xb2",
    "cuda:" + 5000 * "9",
)  # torch fails at these


@pytest.mark.parametrize("name", [*NO_NAMES, *NO_NUMBERS])
def test_a_name_of_no_device_is_refused(gpus, name):
    with pytest.raises(UsageError, match="device") as refused:
        devices.pick_device(name)
    assert refused.value.fix == "give auto, cpu, cuda, cuda:N or mps"


def test_a_device_that_is_not_here_is_refused_with_those_that_are(gpus):
    for name in ("cuda:2", "cuda:10", "cuda:9999", "mps"):
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


def test_a_thread_that_leaves_does_not_change_how_another_one_multiplies():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    first, second = devices.float32(), devices.float32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert conv.fp32_precision != "tf32", "the second thread is still within its context"
    second.__exit__(None, None, None)
    assert conv.fp32_precision == before


def test_deterministic_kernels_are_chosen_and_given_back(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with devices.deterministic_kernels(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with devices.deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
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


VERBS = (
    "eval",
    "predict",
    "explain",
    "diff",
    "check",
    "bench",
    "quantize",
    "train",
    "compare",
    "prune",
    "slim",
    "distill",
    "claims",
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_computes_takes_a_device_and_says_the_same_of_it(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert " ".join(devices.HELP.split()) in " ".join(capsys.readouterr().out.split())


COMMANDS = (
    "eval RUN digits", "predict RUN x.png", "check digits", "diff RUN RUN digits", "bench lenet5", "quantize RUN digits -o q", "train lenet5 digits -o t", "compare digits -o c",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("devices")
    podium.train("lenet5", "digits", folder / "RUN", steps=1)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_here_ends_a_verb_with_the_usual_error(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for device, code in (("cuda:3", 6), ("gpu", 2)):
        assert main([*command.split(), "--device", device]) == code
        said = capsys.readouterr().err
        assert not (place / "c").exists()
        assert f"error: device: {'there is no cuda:3 here' if code == 6 else repr(device)}\nfix: " in said


def test_kernels_are_a_choice_on_gpus_only(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["train", "lenet5", "digits", "-o", "t", "--device", "cpu", "--no-deterministic"]) == 2
    assert "fix: leave out --no-deterministic, or add --device cuda" in capsys.readouterr().err


def test_an_exported_file_is_computed_by_its_engine(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match=r"cuda, but .* is an exported file"):
        podium.load(tmp_path / "a.onnx", device="cuda")


def test_a_timing_names_its_device_and_takes_the_networks_memory_format(monkeypatch):
    net = podium.create_model("lenet5_modern", num_classes=10, image_size=28)
    seen = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for memory_format in ("contiguous", "channels_last"):
        timed = speed.measure(fastest.set_memory_format(net, memory_format), 2, batches=2, fewest=1, burn_in=0)
        assert seen[-1].is_contiguous(memory_format=net.memory_format)
        assert timed["device"] == devices.device_name(torch.device("cpu"))


def test_metals_memory_decides_a_batch_on_an_apple_gpu(monkeypatch):
    metal = {"recommended_max_memory": 12_000, "current_allocated_memory": 2_000, "driver_allocated_memory": 5_000}
    for name, value in metal.items():
        monkeypatch.setattr(torch.mps, name, lambda value=value: value)
    emptied = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append(1))
    assert trial.memory_left(MPS) == 10_000
    assert trial.memory_in_use(MPS) == (2_000, 5_000)
    assert not emptied
    assert trial.memory_in_use(MPS, reset=True) == (2_000, 5_000)
    assert emptied


@pytest.mark.parametrize(
    ("device", "settings", "said"),
    [
        (CUDA, {"amp": "bf16"}, "amp: bf16, but Tesla T4 computes it by an emulation"),
        (CUDA, {"amp": "tf32"}, "amp: tf32 is a precision of NVIDIA's GPUs from Ampere on"),
        (MPS, {"amp": "fp16"}, "amp: fp16 is a precision of NVIDIA's GPUs from Volta on and of AMD's"),
        (MPS, {"memory_format": "channels_last"}, "memory_format: channels_last gives wrong gradients on mps"),
    ],
)
def test_what_a_device_has_not_is_refused(monkeypatch, device, settings, said):
    monkeypatch.setattr(fitting, "pick_device", lambda name: device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert fitting.device_for(Settings()) == device
    with pytest.raises(UsageError, match=said):
        fitting.device_for(Settings(**settings))


def test_float16_is_refused_where_float32_is_faster(place, monkeypatch, capsys):
    """On a processor and on NVIDIA's GPUs before Volta; what the refusal says to do trains."""
    monkeypatch.chdir(place)
    command = ["train", "lenet5", "digits", "-o", "half", "--steps", "1", "--device", "cpu"]
    assert main([*command, "--amp", "fp16"]) == 2
    said = capsys.readouterr().err
    assert (
        "error: amp: fp16 is a precision of NVIDIA's GPUs from Volta on and of AMD's, and this run computes on " in said
    )
    assert "fix: leave --amp out, or give --amp off" in said
    assert not (place / "half").exists()
    assert main([*command, "--amp", "off"]) == 0
    monkeypatch.setattr(fitting, "pick_device", lambda name: CUDA)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA GeForce GTX 1080")
    for capability, refused in (((6, 1), True), ((7, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        with pytest.raises(UsageError, match="computes on NVIDIA GeForce GTX 1080") if refused else nullcontext():
            assert fitting.device_for(Settings(amp="fp16")) == CUDA


def test_autotuning_tries_what_the_device_has(monkeypatch, tmp_path):
    assert fastest.memory_formats(MPS) == ["contiguous"]
    monkeypatch.setattr(fastest, "has_tf32", lambda device: True)
    monkeypatch.setattr(fastest, "has_fp16", lambda device: True)
    monkeypatch.setattr(fastest, "native_bf16", lambda device: True)
    monkeypatch.setattr(fastest, "device_name", lambda device: "NVIDIA A100")
    assert fastest.precisions(CUDA) == ["off", "tf32", "bf16"]
    net = podium.create_model("resnet18", num_classes=10, image_size=32)
    tried = []

    def seconds(net, s, candidate, images):
        tried.append(candidate)
        return 0.5 if candidate == ("tf32", "channels_last") else 1.0

    s = Settings(batch_size=8)
    chosen = fastest.fastest_setting(net, s, CUDA, 10**9, 10**6, seconds=seconds, cache=tmp_path / "fastest.json")
    assert chosen == ("tf32", "channels_last")
    assert set(tried) == {each for each in fastest.CANDIDATES if each[0] != "fp16"}


@pytest.mark.parametrize(("device", "fix"), [("mps", "leave out --devices"), ("auto", "or give --device cpu")])
def test_processes_do_not_share_a_run_on_an_apple_gpu(apple, device, fix, monkeypatch):
    with pytest.raises(MachineError, match="devices: 2, but neither gloo nor NCCL") as refused:
        launch.refuse_to_share(device, 2)
    assert fix in refused.value.fix
    launch.refuse_to_share("cpu", 2)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MachineError, match="neither gloo nor NCCL"), parallel.ranks_here(device):
        pass


def test_one_gpu_is_not_shared_by_processes(gpus):
    with pytest.raises(UsageError, match="devices: 2 processes have a GPU each, and cuda:1 is one"):
        launch.refuse_to_share("cuda:1", 2)


def test_a_run_in_tf32_takes_its_steps_in_it_and_evaluates_in_float32(monkeypatch, tmp_path):
    found = {"steps": set(), "evaluations": set()}

    def noted(kind, function):
        def called(*arguments, **named):
            found[kind].add(torch.backends.cudnn.conv.fp32_precision == "tf32")
            return function(*arguments, **named)

        return called

    for module in (fitting, fastest):
        monkeypatch.setattr(module, "has_tf32", lambda device: True)
    monkeypatch.setattr(update, "forward_backward", noted("steps", update.forward_backward))
    monkeypatch.setattr(LeNet5Modern, "forward", noted("evaluations", LeNet5Modern.forward))
    run = podium.train("lenet5_modern", "digits", tmp_path / "run", steps=2, amp="tf32")
    assert found["steps"] == {True}
    assert found["evaluations"] == {False}
    assert run.result["precision"] == "TF32"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32", "torch's own choice is back"


def stopped_at_the_end(monkeypatch, out):
    """Train a run of four steps whose weights cannot be saved."""
    with monkeypatch.context() as broken:
        broken.setattr(Run, "save_bundle", raising(MachineError("disk full", "free some")))
        with pytest.raises(MachineError, match="disk full"):
            podium.train("lenet5", "digits", out, steps=4)


@pytest.mark.slow
def test_a_run_goes_on_only_with_what_computed_it(monkeypatch, tmp_path, place):
    result = RunFolder(place / "RUN").result
    assert result["bit_comparable"]
    assert result["platform"] == {"device": "cpu", "kernels": "deterministic", "torch": torch.__version__}
    changed = tmp_path / "changed"
    stopped_at_the_end(monkeypatch, changed)
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    with pytest.raises(
        MachineError, match=r"has been computed with torch .*, and here it would be with torch 2.99"
    ) as refused:
        podium.train("lenet5", "digits", changed, resume=True)
    assert "podium train --resume --elastic -o" in refused.value.fix
    result = podium.train("lenet5", "digits", changed, resume=True, elastic=True).result
    assert not result["bit_comparable"]
    assert result["platform"]["torch"] == "2.99.0"
    assert "not bit-comparable with another run" in (changed / "report.html").read_text()


@pytest.mark.parametrize(
    ("device", "deterministic", "comparable"),
    [("cpu", True, True), ("cuda", True, True), ("cuda", False, False), ("mps", True, False)],
)
def test_a_run_is_comparable_to_the_bit_where_its_kernels_promise_it(monkeypatch, device, deterministic, comparable):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    platform = devices.platform_of(torch.device(device), deterministic=deterministic)
    assert Position(threads=[1], platforms=[platform]).bit_comparable is comparable
    if device == "cuda":
        assert (platform["device"], platform["cuda"], platform["cudnn"]) == ("NVIDIA H200", "13.0", "91000")


def test_an_operation_without_a_deterministic_kernel_is_named():
    said = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set ..."
    named = pytest.raises(UsageError, match="deterministic: adaptive_avg_pool2d_backward_cuda")
    with named as refused, devices.deterministic_kernels(True):
        raise RuntimeError(said)
    assert refused.value.fix.startswith("--no-deterministic")
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another"), devices.deterministic_kernels(True):
        raise RuntimeError("another")


@pytest.mark.parametrize("name", ["googlenet", "vgg11", "lenet5", "inception_v3"])
def test_a_training_step_of_a_network_never_asks_for_an_average_pool_of_torchs_on_a_gpu(monkeypatch, name):
    """At a size that does not divide; what runs on a GPU is seen by its operations on the processor."""
    monkeypatch.setattr(pooling, "PLAIN", ())
    net = podium.create_model(name, num_classes=10, image_size=75)
    called = []
    real = F.adaptive_avg_pool2d
    monkeypatch.setattr(F, "adaptive_avg_pool2d", lambda x, side: called.append(side) or real(x, side))
    x, y = torch.zeros(2, net.spec["in_chans"], 75, 75), torch.zeros(2, dtype=torch.int64)
    net.train().training_loss(x, y, F.cross_entropy).backward()
    assert {side for side in called if side not in (1, (1, 1))} == set()


NCCL = "[Rank 1] NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.hpp:268, {}, NCCL version 2.27.5\n{}"


@pytest.mark.parametrize(
    ("message", "own"),
    [
        (NCCL.format("invalid usage", "ncclInvalidUsage: ...\nDuplicate GPU detected : rank 0 and rank 1"), True),
        (NCCL.format("unhandled system error", "ncclSystemError: ...\nCall to bind failed : Permission denied"), True),
        (NCCL.format("remote process exited", "ncclRemoteError: a call failed possibly due to a network error"), False),
        (NCCL.format("unhandled system error", "socketProgress: Connection closed by remote peer"), False),
        ("[gloo] Connection closed by peer", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_an_error_of_nccls_own_is_shown(message, own):
    said = parallel.nccls_own(message)
    assert (said is not None) is own
    if said is not None:
        assert said.startswith("NCCL ")
        assert "/pytorch" not in said
        assert said.endswith(message.split("\n")[-1])
