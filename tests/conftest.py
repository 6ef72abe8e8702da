"""What several tests need: the real data beside the repository, and runs small enough to be made in a test."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # two processes share two cores


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared; where it is missing the test is skipped, saying so."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run of two epochs on the digits."""
    import podium

    return podium.train("lenet5_modern", "digits", tmp_path_factory.mktemp("run") / "lenet", epochs=2, patience=0)
