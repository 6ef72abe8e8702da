"""The network that `podium info` and `podium draw` show: a run's, or one by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import UsageError

if TYPE_CHECKING:
    from podium.models.convnet import ConvNet


def network_of(target: str, **form: Any) -> ConvNet:
    """The network of a run or bundle, or the named network without weights.

    Args:
        target: a path, or the name of a network.
        form: image_size=, num_classes= and small= as flags give them, None where they are not given. A named network for
            images up to 64 px takes its small form by itself.

    Raises:
        UsageError: a form is given for a run, which has its own.
    """
    from podium.models.forms import small_without_data
    from podium.models.undrawn import meta
    from podium.runs import bundle
    from podium.weights.create import create_model

    if Path(target).exists():
        for flag in (f"--{key.replace('_', '-')}" for key, value in form.items() if value is not None):
            raise UsageError(f"{flag}: {target} is a network that has its form", "leave it out, or give a name")
        return bundle.load(target).model
    if form.get("small") is None:
        form["small"] = small_without_data(form["image_size"])
    return meta(lambda: create_model(target, **form))
