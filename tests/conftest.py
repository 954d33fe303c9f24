"""Phantoms and model files as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from phantoms import CARD, save, scan

from isomorph.nets import Compact
from isomorph.volume import Volume
from isomorph.weights import save_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom() -> Volume:
    """A head of 5 mm axial slices."""
    return scan()


@pytest.fixture
def phantom_file(phantom: Volume, tmp_path: Path) -> Path:
    """The phantom as a file."""
    return save(phantom, tmp_path / "scan.nii.gz")


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of random weights."""
    return _model(tmp_path_factory.mktemp("models") / "tiny.safetensors", lambda network: None)


@pytest.fixture(scope="session")
def identity_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose output is its input, up to 1: proves the geometry from end to end."""

    def identity(network: Compact) -> None:
        for parameter in network.parameters():
            parameter.zero_()
        # The tone curve of each voxel is the diagonal: node t of `tones` is at t / (tones - 1).
        network.curves.bias.view(-1, 8)[: network.tones] = torch.linspace(0, 1, network.tones)[:, None]

    return _model(tmp_path_factory.mktemp("models") / "identity.safetensors", identity)


def _model(path: Path, fill: Callable[[Compact], None]) -> Path:
    torch.manual_seed(0)
    arguments = {"features": (4, 8)}
    network = Compact(**arguments)
    with torch.no_grad():
        fill(network)
    save_model(path, network, {"name": path.stem, "network": "compact", "arguments": arguments, **CARD}, half=False)
    return path
