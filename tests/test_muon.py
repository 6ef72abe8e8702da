"""Muon: what torch's does with matrices, ours does with convolutions; all other parameters move as AdamW moves them."""

import signal

import pytest
import torch
from torch import nn

import podium
from podium.runs.bundle import WEIGHTS
from podium.settings import Settings
from podium.training.interrupt import Stopped
from podium.training.muon import orthogonal
from podium.training.optim import make_optimizer, set_learning_rate
from test_training import toy


@pytest.mark.parametrize("shape", [(3, 16, 144), (2, 64, 27), (1, 4, 9)])
def test_matrices_become_orthogonal(shape):
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    made = orthogonal(matrices)
    values = torch.linalg.svdvals(made.float())
    assert 0.5 < values.min() < values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    assert nn.functional.cosine_similarity(made.flatten(1), (u @ v).flatten(1)).min() > 0.97  # towards the nearest one


def steps(net, optimizer, count=3):
    draw = torch.Generator().manual_seed(1)
    for _ in range(count):
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=draw)
        optimizer.step()


def test_convolutions_move_as_torch_moves_matrices_and_the_rest_as_adamw():
    torch.manual_seed(0)
    net = podium.create_model("lenet5_modern", num_classes=4, image_size=32)
    theirs = {name: p.detach().clone() for name, p in net.named_parameters()}
    before = {name: value.clone() for name, value in theirs.items()}
    optimizer = make_optimizer(net, Settings(optimizer="muon", lr=0.01, weight_decay=0.1))
    set_learning_rate(optimizer, 0.01)
    steps(net, optimizer)

    matrices = {name: nn.Parameter(v.flatten(1).clone()) for name, v in theirs.items() if v.ndim == 4}
    others = {name: nn.Parameter(v.clone()) for name, v in theirs.items() if v.ndim != 4}
    muon = torch.optim.Muon(
        list(matrices.values()), lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    decays = [[p for p in others.values() if (p.ndim > 1) == yes] for yes in (True, False)]
    adamw = torch.optim.AdamW(
        [{"params": decays[0], "weight_decay": 0.1}, {"params": decays[1], "weight_decay": 0.0}],
        lr=0.01,
        eps=Settings().eps,
    )
    draw = torch.Generator().manual_seed(1)
    for _ in range(3):
        for name, value in theirs.items():
            gradient = torch.randn(value.shape, generator=draw)
            (matrices if name in matrices else others)[name].grad = (
                gradient.flatten(1) if name in matrices else gradient
            )
        muon.step()
        adamw.step()
    for name, p in net.named_parameters():
        moved = p.detach() - before[name]
        expected = (matrices[name].detach().view(p.shape) if name in matrices else others[name].detach()) - before[name]
        # torch's iteration is in bfloat16 on every machine, ours where the hardware has it
        assert (moved - expected).norm() <= (0.03 if name in matrices else 1e-4) * expected.norm(), name


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bits(tmp_path):
    settings = {"optimizer": "muon", "lr": 0.003, "epochs": 3, "batch_size": 16, "image_size": 32, "seed": 0}

    def stop(step, total, shown):
        if step == total // 2 + 1:
            signal.raise_signal(signal.SIGTERM)

    whole = podium.train("lenet5_modern", toy(), tmp_path / "whole", **settings)
    with pytest.raises(Stopped):
        podium.train("lenet5_modern", toy(), tmp_path / "run", progress=stop, **settings)
    again = podium.train("lenet5_modern", toy(), tmp_path / "run", resume=True, **settings)
    assert (whole.path / WEIGHTS).read_bytes() == (again.path / WEIGHTS).read_bytes()
    assert again.result["top1"] == 1.0
