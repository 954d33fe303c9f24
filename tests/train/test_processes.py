"""One process or two, a batch at once or in parts: the same samples give the same weights."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import heads, small

from isomorph.config import Stage
from isomorph.errors import UsageError
from isomorph.train.check import check
from isomorph.train.journal import entries
from isomorph.train.loop import train
from isomorph.train.source import Samples

STEPS, BATCH = 6, 4
LOSS = {"l1": 1.0, "gradient": 0.2, "ssim": 0.1}
STAGES = {
    "compact": (Stage(steps=STEPS, batch=BATCH, loss=LOSS, set=("deform.size=[16, 16, 16]",)),),
    # Each part alone: a process must not wait for the gradient of the others.
    "cascade": tuple(
        Stage(steps=2, batch=BATCH, part=part, set=("deform.size=[16, 16, 16]", f"target={target}"))
        for part, target in (("sharp", 0), ("coarse", '"T1"'), ("fine", '"T1"'))
    ),
}


def recipe(network, micro=0):
    # Adam moves a weight whose gradient is zero but for rounding as far as any other: a low rate keeps that small.
    arguments = "{inputs=2, scans=1}" if network == "cascade" else "{inputs=2}"
    plan = small(
        "default", f"network={{kind={network!r}, arguments={arguments}}}", micro=micro, save_every=STEPS, warmup=30
    )
    return dataclasses.replace(plan, training=dataclasses.replace(plan.training, stages=STAGES[network]))


def begin(folder, network, micro=0):
    resume = any(folder.glob("checkpoint-*"))
    return train(recipe(network, micro), heads(), folder, workers=0, resume=resume, report=lambda entry: None)


def weights(folder):
    return {k: v for k, v in load_file(folder / f"checkpoint-{STEPS:07d}.safetensors").items() if "moment" not in k}


def difference(one, other):
    """Root mean square over all weights: a single one, whose gradient is rounding alone, Adam may move by 1e-4."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return torch.cat([(a[k] - b[k]).flatten() for k in a]).square().mean().sqrt().item()


def launch(folder, network, machines=1, fails="", elsewhere=None):
    """Two processes that meet over the network, as `accelerate launch --cpu --num_processes 2` starts them.

    With two machines each is the first of its own, and only its rank among all tells which it is. `fails` is what both
    must say if they are to end, `elsewhere` the folder of the second if it is not that of the first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    children = []
    for rank in range(2):
        local = {"LOCAL_RANK": str(rank if machines == 1 else 0), "LOCAL_WORLD_SIZE": str(2 // machines)}
        place = {"RANK": str(rank), "GROUP_RANK": str(rank * (machines - 1)), "OMP_NUM_THREADS": "1", **local}
        command = [sys.executable, __file__, str((rank and elsewhere) or folder), network]
        children.append(subprocess.Popen(command, env=os.environ | meeting | place, stderr=subprocess.PIPE, text=True))
    try:
        for child in children:
            _, said = child.communicate(timeout=300)  # on a machine that has other things to do, too
            assert (child.returncode == 0) == (not fails), said
            assert fails in said
    finally:
        for child in children:  # who still waits for the other
            child.kill()
            child.communicate()


@pytest.mark.parametrize(
    ("network", "machines"), [("compact", 1), ("compact", 2), pytest.param("cascade", 1, marks=pytest.mark.slow)]
)
def test_two_processes_end_where_one_does(network, machines, tmp_path):
    begin(tmp_path / "one", network)
    launch(tmp_path / "two", network, machines)
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-5
    one, two = ([e["loss"] for e in entries(tmp_path / n / "log.jsonl") if "loss" in e] for n in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-4)
    assert len(one) == STEPS  # a single process writes


def test_machines_that_do_not_share_their_folder_are_told(tmp_path):
    """One would go on from its checkpoints, the other begin anew: neither trains, and what is there stays."""
    begin(tmp_path / "one", "compact")
    said = f"the processes would begin at steps [{STEPS}, 0]; give all machines one folder that they share."
    launch(tmp_path / "one", "compact", 2, fails=said, elsewhere=tmp_path / "other")
    assert (tmp_path / "one" / f"checkpoint-{STEPS:07d}.json").exists()


def test_a_batch_in_parts_ends_where_a_whole_one_does(tmp_path, monkeypatch):
    for micro in (0, 1, 3):
        begin(tmp_path / str(micro), "compact", micro)
    assert difference(tmp_path / "0", tmp_path / "1") < 1e-5
    assert difference(tmp_path / "0", tmp_path / "3") < 1e-5
    half = dataclasses.replace(STAGES["compact"][0], batch=BATCH // 2)
    monkeypatch.setitem(STAGES, "compact", (half,))
    begin(tmp_path / "half", "compact")
    assert difference(tmp_path / "0", tmp_path / "half") > 1e-4  # other samples would be noticed


def test_a_sample_does_not_depend_on_the_number_of_processes():
    plan = recipe("compact")
    whole = next(iter(Samples(plan, heads())))
    halves = [next(iter(Samples(plan, heads(), rank=rank, processes=2))) for rank in range(2)]
    assert torch.equal(whole.image, torch.cat([half.image for half in halves]))


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(UsageError, match="batch of 4; with 3 processes give a multiple of 3"):
        check(recipe("compact"), processes=3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    begin(Path(sys.argv[1]), sys.argv[2])
