"""One training step: what it changes, and what is done with a step whose loss or gradient is not finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from podium.data.loader import Batch
from podium.errors import NumericError
from podium.files import fault
from podium.settings import skips
from podium.training.late import Late
from podium.training.optim import set_learning_rate
from podium.training.run import Run
from podium.training.step import begin, forward_backward, forward_backward_unread


def take_step(run: Run, batch: Batch, rate: float, signal: int = 0) -> float:
    """Take one step and return the loss of the last step that was read; a step that is not finite changes nothing.

    Args:
        run: whose weights move.
        batch: this rank's part of the step's images.
        rate: the learning rate.
        signal: the number of a signal that this rank has received, or 0.

    Raises:
        NumericError: a loss or a gradient is not finite, and `on_nan` does not leave the step out.
    """
    before = run.objective
    objective = run.objective_of(batch)
    set_learning_rate(run.optimizer, rate)
    late = run.late
    if late is None or not late.begun or objective is not before:
        read_steps(run)
        if run.graph is not None:
            run.graph.forget()
        return _take_and_read(run, batch, objective, rate)
    late.add(run.at.step, rate, batch.index, _send(run, late, batch, objective, signal))
    if run.graph is not None:
        run.graph.see(len(late.unread) > 1 and late.unread[0].is_there())
    read_steps(run, but=1)
    return late.loss


def _send(run: Run, late: Late, batch: Batch, objective: nn.Module, signal: int) -> Tensor:
    """Send a step to the device, and return its numbers, which stay there."""
    step, injected = run.at.step, fault(f"before:{run.at.step}")

    def launch(x: Tensor, y: Tensor) -> Tensor:
        late.keep()
        found = forward_backward_unread(run.passes, x, y, objective, injected, signal)
        numbers = late.decide(*found, run.scale)
        late.step(run.optimizer)
        return numbers

    x, y = begin(run.passes, batch, step)
    if run.graph is None or injected != 0.0:
        return launch(x, y)
    return run.graph.numbers(launch, lambda: _again(run, batch, step), x, y)


def _again(run: Run, batch: Batch, step: int) -> None:
    """Put the generator where it was when a step was sent."""
    begin(run.passes, batch, step)


def read_steps(run: Run, but: int = 0) -> None:
    """Read the numbers of the steps that are not read yet, in order, and do what follows from them.

    Args:
        run: whose position is that of the step that ended it, where one did.
        but: how many of the last steps are left unread.

    Raises:
        NumericError: as `take_step`.
    """
    late = run.late
    while late is not None and len(late.unread) > but:
        past = late.unread.popleft()
        loss, norm, wrong, signal = past.read()
        if signal:
            late.signals.append((past.step, signal))
        here, run.at.step = run.at.step, past.step
        if wrong:
            _leave_out(run, past.images, past.rate, loss, norm)
        else:
            _note(run, loss, norm)
        run.at.step = here


def _take_and_read(run: Run, batch: Batch, objective: nn.Module, rate: float) -> float:
    kept = [buffer.clone() for buffer in run.buffers]
    loss, norm = forward_backward(run.passes, batch, objective, run.at.step)
    finite = math.isfinite(loss) and math.isfinite(norm)
    overflow = run.scale is not None and math.isfinite(loss) and not finite and not run.scale.too_small().item()
    if run.scale is not None:
        yes = torch.ones((), dtype=torch.bool, device=run.scale.factor.device)
        run.scale.update(yes if finite else ~yes, ~yes)
    if not finite:
        for buffer, old in zip(run.buffers, kept, strict=True):
            buffer.copy_(old)
        if not overflow:
            _leave_out(run, batch.index, rate, loss, norm)
            if run.late is not None:
                run.late.left_out.fill_(run.at.left_out)
            return loss
    else:
        run.optimizer.step()
        if run.late is not None:
            run.late.begun = True
    _note(run, loss, norm)
    return loss


def _note(run: Run, loss: float, norm: float) -> None:
    """Count a step that was taken, or that only the factor of its loss made infinite."""
    run.at.loss_sum += loss * run.plan.train.batch_size
    run.at.images_seen += run.plan.train.batch_size
    if run.late is not None:
        run.late.loss = loss
    if (problem := run.stalls.update(loss, norm)) is not None:
        run.warn(problem)


def _leave_out(run: Run, index: Tensor, rate: float, loss: float, norm: float) -> None:
    """Count a step that is not finite, or end the run where `on_nan` allows no more of them."""
    at = run.at
    images = run.ranks.joined(index.cpu().numpy()).tolist()
    if at.left_out < skips(run.settings.on_nan):
        at.left_out += 1
        run.warn(f"step {at.step} left out: loss {loss}, gradient norm {norm}", images)
        return
    finite, report = run.save_if_finite(), run.folder / "nan_report.json"
    kept = "the checkpoint before it is saved" if finite else "weights overflowed before it: no checkpoint is saved"
    if run.ranks.leads:
        row = {"step": at.step, "lr": rate, "loss": str(loss), "gradient_norm": str(norm), "images": images}
        run.folder.write_json(report.name, row)
    raise NumericError(
        f"loss {loss:.4g} and gradient norm {norm:.4g} at step {at.step}: the step was not taken, {kept}",
        f"lower lr (now {run.settings.lr:g}) or set clip; {report} lists the batch",
    )
