"""Slabs change nothing but time and memory; what memory will be taken is known before."""

from __future__ import annotations

import bz2
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import scan

from isomorph import heap, io
from isomorph.device import computes_in_bf16
from isomorph.errors import SetupError, UsageError
from isomorph.io import save
from isomorph.nets import Cascade, Compact, Parcels, Residual, UNet
from isomorph.nets.slabs import FEWER, VALUES, thin_slabs, with_halo
from isomorph.predict import Options, synthesise
from isomorph.predict.memory import budget, peak
from isomorph.volume import Volume
from isomorph.weights import Model

NETS = {
    "compact": lambda: Compact(2, features=(4, 8, 8)),
    "residual": lambda: Residual(Compact(2, features=(4, 8)), [1]),
    "parcels": lambda: Parcels(2, 3, features=(4, 8)),
    "cascade": lambda: Cascade(2, scans=1, sharp=(4,), coarse=(4, 8), fine=(4, 8)),
    "unet": lambda: UNet(2, features=2, levels=4),
}


def with_random_weights(net: torch.nn.Module) -> torch.nn.Module:
    """No layer is still, as some are at first."""
    torch.manual_seed(0)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.5 + 0.1 if tensor.ndim == 1 else torch.randn_like(tensor) * 0.2)
    return net.eval()


@pytest.mark.parametrize("name", NETS)
def test_slabs_of_any_thickness_give_the_result_of_the_whole(name: str) -> None:
    net, x = with_random_weights(NETS[name]()), torch.rand(1, 2, 96, 32, 32)
    whole = net(x).detach()  # where there are gradients, nothing is cut
    for values in (VALUES, 2**14, 1):
        with torch.inference_mode(), thin_slabs(values):
            cut = net(x)
        assert (cut - whole).abs().max() < 3e-5 * whole.abs().max()  # a slope divides rounding by a variance


def test_a_halo_that_is_too_thin_would_be_noticed() -> None:
    conv = torch.nn.Conv3d(1, 1, 7, padding=3)
    x = torch.rand(1, 1, 32, 8, 8)
    with torch.inference_mode(), thin_slabs(1):
        assert torch.allclose(with_halo(conv, x, channels=1, halo=3), conv(x), atol=1e-6)
        assert not torch.allclose(with_halo(conv, x, channels=1, halo=1), conv(x), atol=1e-6)


def test_slabs_are_small() -> None:
    seen: list[int] = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[2])
        return x

    x = torch.rand(1, 1, 200, 64, 64)
    with torch.inference_mode(), thin_slabs(2**16):
        assert torch.equal(with_halo(spy, x, channels=4), x)
    assert len(seen) > 5
    assert max(seen) * 4 * 64 * 64 <= 8 * 2**16
    with_halo(spy, x, channels=4)
    assert seen[-1] == 200


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one process")
@pytest.mark.parametrize(
    ("kind", "arguments", "precision", "values"),
    [
        ("cascade", {}, "fp32", VALUES),
        ("cascade", {}, "fp32", FEWER),
        ("cascade", {}, "bf16", VALUES),
        ("unet", {}, "fp32", VALUES),
        ("unet", {"features": 16}, "fp32", FEWER),
    ],
)
def test_the_peak_that_is_predicted_is_that_which_is_measured_and_some_more(
    kind: str, arguments: dict[str, int], precision: str, values: int
) -> None:
    """Alone in a process; a network of the shipped widths, of which the memory, not the result, is looked at."""
    if precision == "bf16" and not computes_in_bf16(torch.device("cpu")):
        pytest.skip("this processor imitates bf16: minutes, and memory of its own")
    ask = f"""
import json, torch
from isomorph.nets import NETWORKS
from isomorph.nets.slabs import thin_slabs
from isomorph.predict import Options, synthesise
from isomorph.predict.memory import peak, resident
from isomorph.volume import Volume
from isomorph.weights import Model
torch.set_num_threads(1)
network = NETWORKS[{kind!r}](**{arguments!r}).eval()
card = {{"name": "any", "white_matter": 1.0, "arguments": {{}}}}
model, how = Model(network, card, "0" * 64), Options(flip=False, precision={precision!r})
scan = Volume(torch.rand(1, 128, 112, 96), torch.eye(4).numpy())
before = resident()
said = peak([(scan.shape, scan.affine)], model, how, {precision!r}, {values}, loaded=True)
with thin_slabs({values}):
    synthesise(scan, model, flip=False, precision={precision!r}, max_memory={"1e3" if values == VALUES else None})
status = open("/proc/self/status").read()  # the peak of this process alone: that of getrusage includes its parent's
most = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([said, most, before]))
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said, most, before = json.loads(done.stdout.splitlines()[-1])
    assert 1 < said / most < 1.5, (said / 1e6, most / 1e6, before / 1e6)  # never less, or a limit would be broken
    assert most - before > 50e6  # or nothing was measured


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what one process holds")
def test_what_a_process_holds_and_has_held_is_in_bytes() -> None:
    """Against a block of known size, in a process of its own."""
    code = """
import torch
from isomorph.predict.memory import most_resident, resident
before, size = resident(), 300_000_000
block = torch.ones(size, dtype=torch.uint8)
print(resident() - before, most_resident() - before)
del block
print(resident() - before, most_resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    now, most, after, still = (float(number) for number in done.stdout.split())
    for held in (now, most, still):
        assert held == pytest.approx(300e6, rel=0.02)
    assert after < 10e6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_memory_that_was_freed_is_kept_until_the_end_and_then_given_back() -> None:
    """Pages that are fetched anew are counted by the system."""
    code = """
import resource, torch
from isomorph.heap import kept_memory
from isomorph.predict.memory import resident
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(100_000_000, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
faults(1)
before = resident()
outside = faults(8)
with kept_memory():
    faults(1)
    inside, kept = faults(8), resident() - before
print(outside, inside, kept, resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside, inside, kept, after = (float(number) for number in done.stdout.split())
    assert inside < outside / 3  # a small block above a freed one may make the next begin elsewhere, once or twice
    assert kept > 90e6
    assert after < 10e6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_memory_that_is_scarce_is_given_back_at_once_in_small_pieces_too() -> None:
    """Every other block of 2 MB is freed: what lies between others stays, unless it was asked of the system alone."""
    code = """
import torch
from contextlib import nullcontext
from isomorph.heap import spared_memory
from isomorph.predict.memory import resident
for room in (nullcontext, spared_memory):
    torch.ones(30_000_000, dtype=torch.uint8)  # from now on glibc itself takes blocks of less from one heap
    with room():
        before = resident()
        blocks = [torch.ones(2_000_000, dtype=torch.uint8) for _ in range(100)]
        del blocks[::2]
        print(resident() - before)
    del blocks
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, spared = map(float, done.stdout.split())
    assert spared < 115e6
    assert kept > 150e6


@pytest.mark.parametrize("said", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_who_has_said_what_malloc_is_to_do_is_left_alone(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the C library was asked for")

    monkeypatch.setenv(said, "")
    monkeypatch.setattr(heap.ctypes, "CDLL", never)
    with heap.kept_memory():
        pass


def model(**card: object) -> Model:
    net = with_random_weights(Compact(features=(4, 8)))
    return Model(net, {"name": "small", "white_matter": 1.0, "arguments": {}} | card, "0" * 64)


def test_it_runs_as_asked_then_in_thin_slabs_then_in_bf16_and_then_not_at_all() -> None:
    outline = [((192, 224, 160), np.eye(4))]
    fp32 = Options(precision="fp32", max_memory=1e6)
    sizes = {
        way: peak(outline, model(), fp32, *way) / 1e9 for way in (("fp32", VALUES), ("fp32", FEWER), ("bf16", FEWER))
    }
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    for auto, expected in ((False, list(sizes)[:2]), (True, list(sizes))):
        for way in expected:
            how = Options(precision="auto" if auto else "fp32", device="cpu", max_memory=sizes[way] + 0.02)
            got = budget(outline, model(), how)
            assert got.peak <= how.max_memory
            if not auto:
                assert (got.precision, got.values) == way
    with pytest.raises(SetupError, match=r"E806 this image needs about \d\.\d GB, --max-memory allows 0\.1;"):
        budget(outline, model(), Options(max_memory=0.1))


def test_a_limit_is_kept_before_the_voxels_are_read(
    phantom_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isomorph.predict.scans import predict_scans

    monkeypatch.setattr(io, "read", lambda *_, **__: pytest.fail("it was read"))
    options = Options(model=str(model_file), max_memory=0.01)
    outcome = predict_scans([phantom_file], tmp_path / "t1.nii.gz", options).outcomes[0]
    assert (outcome.status, outcome.message[:4]) == ("failed", "E806")
    assert not (tmp_path / "t1.nii.gz").exists()


def test_a_limit_that_is_wide_changes_nothing(phantom_file: Path) -> None:
    volume = io.load(phantom_file)
    free, held = (synthesise(volume, model(), max_memory=gb, precision="fp32").volume.data for gb in (None, 1000.0))
    assert torch.equal(free, held)
    with pytest.raises(UsageError, match="more than 0"):
        Options(max_memory=0.0)


def test_a_network_that_does_not_say_what_it_holds_is_not_guessed() -> None:
    silent = Model(torch.nn.Identity(), {"name": "silent", "white_matter": 1.0, "arguments": {}}, "0" * 64)
    with pytest.raises(UsageError, match="does not say how much memory"):
        synthesise(scan((20, 20, 8)), silent, max_memory=4.0)
    for other in ("segmenter", "finder"):
        with pytest.raises(UsageError, match="silent does not say how much memory"):
            budget([((20, 20, 8), np.eye(4))], model(), Options(max_memory=4.0), **{other: silent})


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_the_outline_is_that_of_the_image(suffix: str, phantom: Volume, tmp_path: Path) -> None:
    path = save(phantom, tmp_path / f"scan{suffix}")
    shape, affine = io.outline(path)
    assert shape == phantom.shape
    np.testing.assert_allclose(affine, phantom.affine, atol=1e-4)


def test_the_outline_of_what_bz2_packed_needs_a_whole_block_of_it(tmp_path: Path) -> None:
    noise = Volume(torch.randint(0, 30000, (1, 80, 80, 80), dtype=torch.int16), np.eye(4))
    path = tmp_path / "scan.nii.bz2"
    path.write_bytes(bz2.compress(save(noise, tmp_path / "scan.nii").read_bytes()))
    assert io.outline(path)[0] == noise.shape


def test_a_gpu_that_is_too_small_is_left_for_the_processor_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run, main = (importlib.import_module(f"isomorph.predict.{name}") for name in ("run", "synthesise"))
    tried: list[tuple[str, int]] = []
    both = run._both
    volume = scan((40, 44, 9), np.diag([1, 1, 5.0]))
    expected = synthesise(volume, model(), device="cpu", precision="fp32")

    def small(network: torch.nn.Module, image: Volume, device: torch.device, *rest: object) -> Volume:
        tried.append((device.type, run.slab_values()))
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        assert rest[0] == "fp32"  # bf16, where the processor only imitates it, would take for ever
        return both(network, image, device, *rest)

    monkeypatch.setattr(main, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(run, "_both", small)
    monkeypatch.setattr(run, "computes_in_bf16", lambda device: device.type == "cuda")
    result = synthesise(volume, model(), precision="bf16")
    assert (result.device, result.precision) == ("cpu", "fp32")
    assert tried == [("cuda", VALUES), ("cuda", FEWER), ("cpu", VALUES)]
    assert [n.code for n in result.notices].count("W801") == 1
    assert torch.equal(result.volume.data, expected.volume.data)
    exam = synthesise([volume, volume], model(), precision="bf16")
    assert [n.code for n in exam.notices].count("W801") == 1


def test_an_error_of_a_gpu_that_is_not_about_memory_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    main = importlib.import_module("isomorph.predict.synthesise")

    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(main, "choose_device", lambda name: torch.device("cpu"))
    broken = Model(Broken(), {"name": "broken", "white_matter": 1.0, "arguments": {}}, "0" * 64)
    with pytest.raises(RuntimeError, match="illegal"):
        synthesise(scan((20, 20, 8)), broken)
