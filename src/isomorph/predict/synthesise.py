"""The main job: one scan in, one T1 out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..space import reliability
from ..volume import Volume
from ..weights import Model, load_model, synthesises
from .options import OPTIONS, Options
from .prepare import prepare
from .restore import restore
from .run import choose_device, choose_precision, run

Progress = Callable[[str, float], None]  # stage, share of it that is done


@dataclass(frozen=True, eq=False)
class Result:
    """A synthetic T1 and how it came about.

    Parameters
    ----------
    volume : Volume, (1, I, J, K) float32
        1 mm, axes in RAS order, 0 to 255, white matter about 110, 0 outside the field of view of the scan.
    seconds : dict
        Time of each stage.
    device, precision : str
        What was used.
    threads : int
        Of the processor.
    window : (low, high)
        Intensities of the scan that became air and bright tissue.
    """

    volume: Volume
    seconds: dict[str, float]
    device: str
    precision: str
    threads: int
    window: tuple[float, float]


def synthesise(
    volume: Volume,
    model: Model | str | None = None,
    *,
    ct: bool = OPTIONS.ct,
    device: str = OPTIONS.device,
    precision: str = OPTIONS.precision,
    flip: bool = OPTIONS.flip,
    progress: Progress | None = None,
) -> Result:
    """Turn any brain scan into a 1 mm isotropic T1 MP-RAGE.

    Parameters
    ----------
    volume : Volume, (1, I, J, K)
        Finite, any orientation and voxel size.
    model : Model or str, optional
        As `load_model` gives it, or what it takes; the default model if not given.
    ct : bool
        The scan is CT, in Hounsfield units.
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "fp32", "bf16"}
    flip : bool
        Average with the prediction of the mirrored scan.
    progress : callable, optional
        Called with the name of the stage and the share of it that is done.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If `volume` has several channels or is not finite.
    UsageError
        If an option is unknown.
    SetupError
        If the model, the device or memory is missing.
    """
    _check(volume)
    Options(ct=ct, device=device, precision=precision, flip=flip)
    if not isinstance(model, Model):
        model = load_model(OPTIONS.model if model is None else model)
    synthesises(model)
    where = choose_device(device)
    exact = choose_precision(precision, where)
    seconds: dict[str, float] = {}

    with _stage("prepare", seconds, progress):
        prepared = prepare(volume, int(getattr(model.network, "multiple", 1)), ct=ct)
        image = _with_reliability(prepared.image, volume) if model.card.get("reliability") else prepared.image
    with _stage("network", seconds, progress) as report:
        raw = run(model.network, image, device=where, precision=exact, flip=flip, progress=report)
    with _stage("restore", seconds, progress):
        image = restore(raw, prepared, float(model.card["white_matter"]))
    return Result(image, seconds, str(where), exact, torch.get_num_threads(), prepared.window)


def _check(volume: Volume) -> None:
    if volume.data.shape[0] != 1:
        raise ValueError(
            f"The scan must have one channel, got {volume.data.shape[0]}; choose one with data[i : i + 1]."
        )
    if not volume.data.isfinite().all():
        raise ValueError("The scan holds values that are not finite; replace them, as isomorph.io.read does.")


def _with_reliability(image: Volume, scan: Volume) -> Volume:
    """The image, then which of its voxels were measured: what the generator gives such a network, by the same code."""
    measured = reliability(scan.shape, scan.affine, image.shape, image.affine, image.data.device)
    return image.with_data(torch.cat([image.data, measured[None]]))


@contextmanager
def _stage(name: str, seconds: dict[str, float], progress: Progress | None) -> Iterator[Callable[[float], None]]:
    """Time a stage, and say when it starts and ends."""

    def report(share: float) -> None:
        if progress:
            progress(name, share)

    report(0.0)
    start = time.perf_counter()
    yield report
    seconds[name] = round(time.perf_counter() - start, 4)
    report(1.0)
