"""Which structure is where, and how large: through a segmentation network that looks at a T1 of 1 mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..device import choose_device, choose_precision
from ..errors import UsageError
from ..io import Notice
from ..space import Shape, field_of_view, mirror, onto, resample
from ..volume import Volume
from ..weights import Model, channels, load_model, sharpens
from .islands import without_islands
from .labelling import Classes, gives_labels
from .options import OPTIONS, Options
from .prepare import prepare
from .run import run
from .sides import Plane, middle_plane, optimiser
from .sizes import border, cut_off, sizes
from .stages import Progress

SLAB = 16  # planes that are turned into shares at a time


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Structures of a head, and their sizes.

    Parameters
    ----------
    labels : Volume, (1, I, J, K) uint8
        Numbers of FreeSurfer, left and right told apart; 0 is everything else, the fluid around the brain too.
    volumes : dict
        mm3 of each structure, by its name in `isomorph.labels`: the sum over voxels of how much of each belongs to it.
    brain : float
        mm3 of all structures together, without the ventricles.
    intracranial : float
        mm3 within the skull, estimated from the shape of the brain: see `intracranial`.
    cut : tuple of str
        Structures that end at the border of the field of view: their volumes are too small, and so are the two above.
    plane : Plane
        What divides left from right.
    model, sha256 : str
        Name and hash of the network.
    notices : tuple of Notice
        What is to be known, each with its code.
    """

    labels: Volume
    volumes: dict[str, float]
    brain: float
    intracranial: float
    cut: tuple[str, ...]
    plane: Plane
    model: str
    sha256: str
    notices: tuple[Notice, ...] = ()


def segment(
    volume: Volume,
    model: Model | str | None = None,
    *,
    device: str = OPTIONS.device,
    precision: str = OPTIONS.precision,
    flip: bool = OPTIONS.flip,
    grid: str = OPTIONS.grid,
    progress: Progress | None = None,
) -> Segmentation:
    """Name the structures of a T1, real or synthetic, and measure them.

    The image is brought to 1 mm and its brightness made what training made it, by the rules for any scan. The network
    tells structures apart and not their sides: left and right are divided by the plane in which the head is most like
    its mirror image. Pieces that cannot be part of a structure are given to what else they may be. Volumes are
    sums of the very shares that the labels are the largest of.

    Parameters
    ----------
    volume : Volume, (1, I, J, K)
        Finite, any orientation and voxel size.
    model : Model or str, optional
        A segmentation network, as `load_model` gives it, or what it takes; the one that is shipped if not given.
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "fp32", "bf16"}
    flip : bool
        Average with what the network says of the mirrored image.
    grid : {"1mm", "input"}
        Where the labels lie; volumes are measured at 1 mm all the same.
    progress : callable, optional
        Called with the name of the stage and the share of it that is done.

    Returns
    -------
    Segmentation

    Raises
    ------
    ValueError
        If `volume` has several channels or is not finite.
    UsageError
        If an option is unknown.
    SetupError
        If the model, SciPy, the device or memory is missing.
    """
    if volume.data.shape[0] != 1 or not volume.data.isfinite().all():
        raise ValueError(f"The T1 must have one channel of finite values, got {tuple(volume.data.shape)}.")
    model = model if isinstance(model, Model) else load_model(OPTIONS.segmenter if model is None else model)
    how = Options(device=device, precision=precision, flip=flip, grid=grid)
    report = (lambda share: progress("segmentation", share)) if progress else None
    return segmented(volume, segments(model), how, target=volume if grid == "input" else None, progress=report)


def segmenter_for(asked: bool | Model | str, model: Model) -> Model | None:
    """The segmentation network that was asked for, to look at what a model makes; None if none was.

    Parameters
    ----------
    asked : bool, Model or str
    model : Model

    Raises
    ------
    UsageError
        If the model makes no T1.
    SetupError
        As `segments`, and as `load_model`.
    """
    if asked is False:
        return None
    if sharpens(model.card):
        raise UsageError(
            f"{model.card['name']} sharpens a scan and makes no T1, which segmentation needs; leave it out."
        )
    if not isinstance(asked, Model):
        asked = load_model(OPTIONS.segmenter if asked is True else asked)
    return segments(asked)


def segments(model: Model) -> Model:
    """The same model, if it names structures of one scan.

    Parameters
    ----------
    model : Model

    Raises
    ------
    SetupError
        E906 if it makes images, or of more than one scan; E903 if its card does not say what each output stands for:
        0 and numbers of `isomorph.labels` below 256, those of the left for both sides, as many as there are outputs.
    """
    one = channels(model) == 1 and not model.card.get("reliability")  # a T1 has been measured everywhere
    gives_labels(model, "does not name the structures of a scan; choose a segmentation network", fits=one)
    optimiser()
    return model


def segmented(
    volume: Volume,
    model: Model,
    how: Options,
    *,
    scan: Volume | None = None,
    target: Volume | None = None,
    progress: Callable[[float], None] | None = None,
) -> Segmentation:
    """As `segment`, once everything is known to be there.

    Parameters
    ----------
    volume : Volume
    model : Model
        As `segments` gives it.
    how : Options
    scan : Volume, optional
        What a synthetic T1 was made of: what it has not seen is not counted.
    target : Volume, optional
        On whose grid the labels are wanted.
    progress : callable, optional
    """
    classes = Classes.of(model)
    prepared = prepare(volume, int(getattr(model.network, "multiple", 1)))
    seen = prepared.view if scan is None else prepared.view & field_of_view(scan, prepared.shape, prepared.affine)
    there = onto(Volume(seen[None], prepared.affine), prepared.image.shape, prepared.image.affine, fill=False)
    notices: dict[str, Notice] = {}
    soft = shares(prepared.image, model, how, lambda n: notices.setdefault(n.code, n), progress)
    soft.data.mul_(there.data)  # what was not seen is not counted
    soft.data[classes.left.index(0)] += (~there.data[0]).half()  # and there is nothing else
    without_islands(soft.data, classes.left)
    plane = middle_plane(soft, there.data[0], classes.left, classes.paired)
    right = plane.right(soft.shape, soft.affine)
    labels = soft.with_data(_numbers(soft.data.argmax(0), right, classes)[None])
    edge = onto(Volume(border(seen)[None], prepared.affine), soft.shape, soft.affine, fill=False).data[0]
    cut, told = cut_off(labels.data[0], edge)
    where = (prepared.shape, prepared.affine) if target is None else (target.shape, target.affine)
    volumes, brain, inside = sizes(soft, right, classes.left, classes.right)
    placed, who = _placed(soft, labels, plane, classes, *where), (str(model.card["name"]), model.sha256)
    return Segmentation(placed, volumes, brain, inside, cut, plane, *who, notices=(*notices.values(), *told))


def shares(
    image: Volume,
    model: Model,
    how: Options,
    warn: Callable[[Notice], object],
    progress: Callable[[float], None] | None,
) -> Volume:
    """How much of each voxel belongs to each class: (C, I, J, K) float16.

    Parameters
    ----------
    image : Volume
        As `prepare` gives it.
    model : Model
    how : Options
    warn : callable
        As for `run`.
    progress : callable, optional
        Told the share of the work that is done.
    """
    where = choose_device(how.device)
    exact = choose_precision(how.precision, where)
    ways, total = (False, True) if how.flip else (False,), None
    for done, turned in enumerate(ways):
        seen = mirror(image) if turned else image
        raw = run(model.network, seen, device=where, precision=exact, flip=False, warn=warn).volume
        share = raw.with_data(_softmax(raw.data))
        del raw  # the largest thing there is
        share = mirror(share) if turned else share
        total = share if total is None else total.with_data(total.data.add_(share.data).mul_(0.5))
        if progress:
            progress((done + 1) / len(ways))
    assert total is not None
    return total


def _softmax(logits: Tensor) -> Tensor:
    """In half precision, some planes at a time: sums over many voxels lose nothing by it."""
    shares = torch.empty(logits.shape, dtype=torch.float16)
    for first in range(0, logits.shape[1], SLAB):
        planes = slice(first, first + SLAB)
        shares[:, planes] = logits[:, planes].softmax(0)
    return shares


def _numbers(index: Tensor, right: Tensor, classes: Classes) -> Tensor:
    """The number of each voxel, from its class and its side."""
    return torch.where(right, torch.tensor(classes.right)[index], torch.tensor(classes.left)[index]).to(torch.uint8)


def _placed(soft: Volume, labels: Volume, plane: Plane, classes: Classes, shape: Shape, affine: np.ndarray) -> Volume:
    """The labels on the grid that is wanted: of a voxel, what most of it belongs to."""
    try:
        return onto(labels, shape, affine)
    except ValueError:  # another lattice
        pass
    ground = classes.left.index(0)  # and so is everything beyond
    most = resample(soft.with_data(soft.data[ground : ground + 1]), shape, affine, fill=1.0).data[0]
    index = torch.full(shape, ground)
    for k in (k for k in range(soft.data.shape[0]) if k != ground):
        share = resample(soft.with_data(soft.data[k : k + 1]), shape, affine).data[0]
        index[share > most] = k
        most = torch.maximum(most, share)
    return Volume(_numbers(index, plane.right(shape, affine), classes)[None], affine)
