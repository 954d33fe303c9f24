"""Killed at any moment: what stands at its final name is whole. `make test-chaos`."""

import os
import random
import signal
import time

import numpy as np
import pytest
import torch

from isomorph import io
from isomorph.volume import Volume

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]
KILLS = 50


def killed_after(seconds, work):
    """Do the work in a child and kill it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_an_image_is_whole_or_not_there(tmp_path):
    torch.set_num_threads(1)  # a forked child has no other
    rng, path = random.Random(0), tmp_path / "t1.nii.gz"
    grid = np.indices((40, 44, 48)).sum(0).astype(np.float32)
    volumes = [Volume(torch.from_numpy(grid + k)[None], np.eye(4)) for k in range(3)]

    def write_for_ever():
        for k in range(10_000):
            io.write(volumes[k % 3], path, overwrite=True)

    whole = 0
    for _ in range(KILLS):
        killed_after(rng.uniform(0.01, 0.3), write_for_ever)
        if path.exists():
            data = io.load(path, kind="image").data[0].numpy()  # verifies the checksum of the stream
            assert any(np.array_equal(data, grid + k) for k in range(3))
            whole += 1
    assert whole > KILLS // 2
