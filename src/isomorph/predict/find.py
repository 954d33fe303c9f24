"""Where lesions are: given, or found by a network that looks at the scan, whatever its contrast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import Refusal, SetupError
from ..io import Notice
from ..labels import LESION
from ..space import onto
from ..volume import Volume
from ..weights import Model, channels, collected, load_model
from .labelling import gives_labels
from .lesions import on_grid
from .options import OPTIONS, Options
from .prepare import prepare, with_reliability
from .segment import shares
from .stages import Progress

SURE = 0.5  # probability, or share of a voxel, from which on it is lesion
NOTHING = Notice("W605", "no lesion was found, so there is none to keep")


@dataclass(frozen=True, eq=False)
class Lesions:
    """Where lesions are.

    Parameters
    ----------
    mask : Volume, (1, I, J, K)
        Above 0.5 in lesions; as isomorph gives it, uint8, 1 in lesions.
    model, sha256 : str
        Name and hash of the network that found them; empty where the mask was given.
    notices : tuple of Notice
        What is to be known, each with its code.
    measured : float, optional
        mm3 of all lesions on another grid, on which they were given or found.
    """

    mask: Volume
    model: str = ""
    sha256: str = ""
    notices: tuple[Notice, ...] = ()
    measured: float | None = None

    @property
    def none(self) -> bool:
        """Whether nothing was found; a mask that was given is never nothing."""
        return bool(self.model) and not (self.mask.data > SURE).any()

    @property
    def volume(self) -> float:
        """Of all lesions, mm3; as they were given or found, whatever the grid of the mask."""
        if self.measured is not None:
            return self.measured
        voxel = abs(float(np.linalg.det(self.mask.affine[:3, :3])))
        return round(float((self.mask.data > SURE).sum()) * voxel, 1)


def find_lesions(
    volume: Volume,
    model: Model | str | None = None,
    *,
    ct: bool = OPTIONS.ct,
    device: str = OPTIONS.device,
    precision: str = OPTIONS.precision,
    flip: bool = OPTIONS.flip,
    grid: str = OPTIONS.grid,
    progress: Progress | None = None,
) -> Lesions:
    """Find lesions in a scan of any contrast and slice spacing.

    Parameters
    ----------
    volume : Volume, (1, I, J, K)
        Finite, any orientation and voxel size.
    model : Model or str, optional
        A network that finds lesions, as `load_model` gives it, or what it takes; the model `lesions` if not given.
    ct : bool
        The scan is CT, in Hounsfield units.
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "fp32", "bf16"}
    flip : bool
        Average with what the network says of the mirrored scan.
    grid : {"1mm", "input"}
        Where the mask lies.
    progress : callable, optional
        Called with the name of the stage and the share of it that is done.

    Returns
    -------
    Lesions

    Raises
    ------
    ValueError
        If `volume` has several channels or is not finite.
    UsageError
        If an option is unknown.
    SetupError
        If the model, the device or memory is missing.
    """
    if volume.data.shape[0] != 1 or not volume.data.isfinite().all():
        raise ValueError(f"The scan must have one channel of finite values, got {tuple(volume.data.shape)}.")
    how = Options(ct=ct, device=device, precision=precision, flip=flip, grid=grid)
    model = model if isinstance(model, Model) else load_model(OPTIONS.finder if model is None else model)
    report = (lambda share: progress("lesions", share)) if progress else None
    lesions = found(volume, finds(model), how, report)
    return gridded(lesions, volume) if grid == "input" else lesions


def finder_for(lesions: str, *, given: bool, asked: Model | str | None) -> Model | None:
    """The network that finds lesions; None where none are to be found.

    Parameters
    ----------
    lesions : {"inpaint", "keep"}
    given : bool
        Whether there is a mask.
    asked : Model or str, optional
        Which network; the model `lesions` if not given.

    Raises
    ------
    SetupError
        E904 if there is no mask and no network; as `finds`, and as `load_model`.
    """
    if lesions != "keep" or given:
        return None
    if asked in (None, OPTIONS.finder) and OPTIONS.finder not in collected():
        said = f"E904 --lesions keep without a mask needs the model {OPTIONS.finder!r}, which does not come along"
        raise SetupError(f"{said}; give a mask by --lesion-mask, or a network by --finder.")
    if not isinstance(asked, Model):
        asked = load_model(OPTIONS.finder if asked is None else asked)
    return finds(asked)


def finds(model: Model) -> Model:
    """The same model, if it finds lesions in one scan.

    Parameters
    ----------
    model : Model

    Raises
    ------
    SetupError
        E906 if it does not; E903 as `gives_labels`.
    """
    numbers = model.card.get("labels")
    fits = isinstance(numbers, list | tuple) and LESION in numbers and channels(model) == 1
    return gives_labels(model, "does not find lesions in a scan; choose one trained with the recipe lesions", fits=fits)


def found(volume: Volume, model: Model, how: Options, progress: Callable[[float], None] | None = None) -> Lesions:
    """As `find_lesions`, once everything is known to be there; on the 1 mm grid of the scan.

    Parameters
    ----------
    volume : Volume
    model : Model
        As `finds` gives it.
    how : Options
    progress : callable, optional
        Told the share of the work that is done.
    """
    notices: dict[str, Notice] = {}
    prepared = prepare(volume, int(getattr(model.network, "multiple", 1)), ct=how.ct)
    image = with_reliability(prepared.image, volume) if model.card.get("reliability") else prepared.image
    soft = shares(image, model, how, lambda n: notices.setdefault(n.code, n), progress)
    k = list(model.card["labels"]).index(LESION)
    lesion = onto(soft.with_data((soft.data[k : k + 1] > SURE).to(torch.uint8)), prepared.shape, prepared.affine)
    mask = lesion.with_data(lesion.data * prepared.view)
    return _told(Lesions(mask, str(model.card["name"]), model.sha256, tuple(notices.values())))


def agreed(found: Sequence[Lesions], like: Volume) -> Lesions:
    """What was found in several scans of one head, as one: a lesion is where any of them shows one.

    The largest, not the mean: a contrast that does not show a lesion says nothing against it.

    Parameters
    ----------
    found : sequence of Lesions
        In one place in the world.
    like : Volume
        On the grid of which they are put together.
    """
    share = torch.stack([on_grid(one.mask, like) for one in found]).amax(0)
    mask = like.with_data((share > SURE).to(torch.uint8)[None])
    notices = {notice.code: notice for one in found for notice in one.notices if notice != NOTHING}
    return _told(Lesions(mask, found[0].model, found[0].sha256, tuple(notices.values())))


def _told(lesions: Lesions) -> Lesions:
    """With a notice where there is nothing."""
    return replace(lesions, notices=(*lesions.notices, NOTHING)) if lesions.none else lesions


def unshown(lesions: Lesions, refusal: Refusal) -> Lesions:
    """Lesions that a T1 cannot show: if they were found, that is told and the T1 stays; if they were given, no T1.

    Parameters
    ----------
    lesions : Lesions
    refusal : Refusal
        Why not.

    Raises
    ------
    Refusal
        The same one, if they were given.
    """
    if not lesions.model:
        raise refusal
    notice = Notice("W606", f"lesions were found, and the T1 does not show them: {refusal.reason}")
    return replace(lesions, notices=(*lesions.notices, notice))


def gridded(lesions: Lesions, like: Volume) -> Lesions:
    """The same lesions on another grid.

    Parameters
    ----------
    lesions : Lesions
    like : Volume
    """
    mask = like.with_data((on_grid(lesions.mask, like) > SURE).to(torch.uint8)[None])
    return replace(lesions, mask=mask, measured=lesions.volume)
