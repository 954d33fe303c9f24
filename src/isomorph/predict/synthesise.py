"""The main job: one scan in, or several of one exam, and one T1 out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from .. import align
from ..device import choose_device, choose_precision
from ..errors import Refusal
from ..heap import kept_memory, spared_memory
from ..io import Notice
from ..nets.slabs import VALUES, thin_slabs
from ..volume import Volume
from ..weights import Model, channels, load_model, sharpens, synthesises
from .channels import onto_first, registered, seats, together
from .compat import Rules, passes, rules_of
from .exam import fused
from .find import Lesions, finder_for, found, gridded, unshown
from .lesions import healed, kept, misplaced
from .memory import budget
from .options import OPTIONS, Options, default_model
from .possible import possible, registers, whole
from .prepare import Prepared, prepare, with_reliability
from .quality import notice, quality
from .restore import WHITE_MATTER, on_grid, restore, sharpened
from .result import Result
from .run import run
from .segment import segmented, segmenter_for
from .stages import Clock, Progress, stage
from .uncertainty import interval


def synthesise(
    volume: Volume | Sequence[Volume | None],
    model: Model | str | None = None,
    *,
    ct: bool = OPTIONS.ct,
    device: str = OPTIONS.device,
    precision: str = OPTIONS.precision,
    flip: bool = OPTIONS.flip,
    compat: str = OPTIONS.compat,
    sharpen: bool = OPTIONS.sharpen,
    lesions: str = OPTIONS.lesions,
    lesion_mask: Volume | None = None,
    finder: Model | str | None = None,
    uncertainty: bool = False,
    segmentation: bool | Model | str = False,
    grid: str = OPTIONS.grid,
    max_memory: float | None = OPTIONS.max_memory,
    progress: Progress | None = None,
) -> Result:
    """Turn any brain scan into a 1 mm isotropic T1 MP-RAGE; or sharpen it in its own contrast, where the model does.

    Parameters
    ----------
    volume : Volume, (1, I, J, K), or several of one exam
        Finite, any orientation and voxel size. Several are registered to the best of them. A model that takes several
        at once gets them in the order of its channels, None for what is missing, unless any order will do.
    model : Model or str, optional
        As `load_model` gives it, or what it takes; the model `default` if not given, of a CT the model `ct`.
    ct : bool
        The scan is CT, in Hounsfield units.
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "fp32", "bf16"}
    flip : bool
        Average with the prediction of the mirrored scan.
    compat : {"auto", "none", "freesurfer", "github"}
        Pre- and post-processing of the original SynthSR, for its converted weights; ``auto`` as the model says.
    sharpen : bool
        Sharpen where FreeSurfer does.
    lesions : {"inpaint", "keep"}
        Whether lesions are healed, or shown as a T1 would show them.
    lesion_mask : Volume, optional
        Where they are, drawn on the scan, or on the first one of an exam; above 0.5. If none is given, and lesions are
        to be kept, they are found.
    finder : Model or str, optional
        The network that finds them; the model `lesions` if not given. See `find_lesions`.
    uncertainty : bool
        Ask for a map of how wrong each voxel may be: another two passes, unless the model says it by itself.
    segmentation : bool, Model or str
        Segment the T1 too, with the network that is shipped or with another one; see `segment`.
    grid : {"1mm", "input"}
        Where the result lies; ``input`` is the grid of the scan, or of the reference of an exam.
    max_memory : float, optional
        GB that the process may take; where that is little it runs in thinner slabs, or in bf16.
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
        If an option is unknown, or an exam does not fit the model.
    SetupError
        If the model, the device or memory is missing.
    Refusal
        If the mask that is given shows no lesion of the scan, or the scan cannot show it (E507, E508).
    """
    scans = [volume] if isinstance(volume, Volume) else list(volume)
    whole(scans)
    how = Options(ct=ct, device=device, precision=precision, flip=flip, compat=compat, sharpen=sharpen, lesions=lesions)
    how = replace(how, grid=grid, max_memory=max_memory)
    if not isinstance(model, Model):
        model = load_model(default_model(ct=ct) if model is None else model)
    several = channels(synthesises(model, exam=not isinstance(volume, Volume))) > 1
    possible(scans, model, how, mask=lesion_mask is not None, doubt=uncertainty)
    given = lesion_mask and Lesions(lesion_mask)
    seeker = finder_for(lesions, given=lesion_mask is not None, asked=finder)
    namer = segmenter_for(segmentation, model)
    outlines = [(scan.shape, scan.affine) for scan in scans if scan is not None]
    room = budget(outlines, model, how, loaded=True, segmenter=namer, finder=seeker)
    how = replace(how, precision=room.precision)
    spent, keep = dict[str, float](), lesions == "keep"
    clock = partial(stage, seconds=spent, progress=progress)
    find = partial(_found, model=seeker, how=how, clock=clock) if seeker else None
    single = partial(_single, model=model, how=how, doubt=uncertainty, progress=progress)
    _load(scans, model, how, clock)
    roomy = max_memory is None and room.values >= VALUES  # what is kept is in pieces, which thinner slabs do not fill
    with thin_slabs(room.values), kept_memory() if roomy else spared_memory():
        fed = _filled(scans, None if keep else lesion_mask)
        present = [scan for scan in fed if scan is not None]
        if several:
            result = _together(scans, model, how, uncertainty, progress, clock)
        elif len(present) > 1:
            result = fused(fed, single, given, find, keep=keep, white=_level(model, how) or WHITE_MATTER, clock=clock)
        else:
            result, where = single(present[0]), find(present[0]) if find else given
            result = result if where is None else _marked(result, present[0], where, keep=keep)
            result = replace(result, reference=fed.index(present[0]))
        result = _doubted(result, lesion_mask, next(scan for scan in scans if scan is not None), model, how)
    shown = scans[result.reference] or present[0]
    with clock("quality"):
        result = _judged(result, shown, model, how)
    if namer:
        target = shown if grid == "input" else None
        with thin_slabs(room.values), clock("segmentation") as report:
            found = segmented(result.volume, namer, how, scan=shown, target=target, progress=report)
        result = replace(result, segmentation=found, notices=(*result.notices, *found.notices))
    return _placed(replace(result, seconds=result.seconds | spent), shown if grid == "input" else None)


def _load(scans: Sequence[Volume | None], model: Model, how: Options, clock: Clock) -> None:
    """What registers, where it will: it takes seconds, and if it is broken no network has run in vain."""
    if registers(scans, model, how):
        with clock("align"):
            align.loaded()


def _found(scan: Volume, model: Model, how: Options, clock: Clock) -> Lesions:
    with clock("lesions") as report:
        return found(scan, model, how, report)


def _marked(result: Result, scan: Volume, where: Lesions, *, keep: bool) -> Result:
    """With where its lesions are and, if they are to be kept, with them."""
    image = result.volume
    if keep and not where.none:
        try:
            image = kept(image, scan, where.mask)
        except Refusal as refusal:
            where = unshown(where, refusal)
    return replace(result, volume=image, lesions=where, notices=(*result.notices, *where.notices))


def _doubted(result: Result, mask: Volume | None, scan: Volume, model: Model, how: Options) -> Result:
    """With what speaks against a mask, if one was drawn on this scan, and the scan was not left out."""
    if not mask or not result.lesions or (result.parts and result.parts[0].share == 0):
        return result
    if not (t1 := _scaled(result, model, how)):
        return result
    return replace(result, notices=(*result.notices, *misplaced(mask, scan, result.lesions.mask, t1)))


def _level(model: Model, how: Options) -> float | None:
    """Of white matter in the result; none where its scale is that of the scan."""
    rules = rules_of(model, how.compat)
    return None if sharpens(model.card) else rules.white_matter if rules else WHITE_MATTER


def _scaled(result: Result, model: Model, how: Options) -> Volume | None:
    """The result with white matter at 110."""
    level = _level(model, how)
    return result.volume.with_data(result.volume.data * (WHITE_MATTER / level)) if level else None


def _judged(result: Result, scan: Volume, model: Model, how: Options) -> Result:
    """With its quality; none where the scale of the result is that of the scan."""
    if not (t1 := _scaled(result, model, how)):
        return result
    value = quality(t1, scan, ct=how.ct)
    return replace(result, quality=round(value, 4), notices=(*result.notices, *notice(value)))


def _placed(result: Result, scan: Volume | None) -> Result:
    """All of it on one grid: that of a scan, or the one on which it is."""
    image, wide = result.volume, result.uncertainty
    if scan:
        image = on_grid(image, scan.shape, scan.affine)
        wide = wide and on_grid(wide, scan.shape, scan.affine)
    where = result.lesions and gridded(result.lesions, image)  # once: each time, what is thin would become thinner
    return replace(result, volume=image, uncertainty=wide, lesions=where)


def _filled(scans: Sequence[Volume | None], mask: Volume | None) -> list[Volume | None]:
    """The first scan with its lesions filled, if a mask was drawn on it; the others, whose heads moved, as they are."""
    first = next(scan for scan in scans if scan is not None)
    return [healed(first, mask) if mask and scan is first else scan for scan in scans]


def _single(volume: Volume, model: Model, how: Options, doubt: bool, progress: Progress | None) -> Result:
    """The T1 of one scan, by our rules or by those of the original."""
    if not (rules := rules_of(model, how.compat)):

        def ready() -> tuple[Volume, Prepared]:
            prepared = prepare(volume, int(getattr(model.network, "multiple", 1)), ct=how.ct)
            reads = model.card.get("reliability")
            return with_reliability(prepared.image, volume) if reads else prepared.image, prepared

        return _through(ready, model, how, doubt, progress)
    return _repeated([volume], rules, model, how, progress)


def _repeated(scans: Sequence[Volume], rules: Rules, model: Model, how: Options, progress: Progress | None) -> Result:
    """What the original SynthSR makes of scans, step for step."""
    where, seconds = choose_device(how.device), dict[str, float]()
    exact = "fp32" if how.precision == "auto" else choose_precision(how.precision, where)  # what is repeated is exact
    flip = how.flip and rules.mirrored
    with stage("prepare", seconds, progress):
        fed = rules.prepare(scans, how.ct)
    notices: dict[str, Notice] = {}
    with stage("network", seconds, progress) as report:
        said = {"progress": report, "warn": lambda n: notices.setdefault(n.code, n)}
        both = passes(model, fed, device=where, precision=exact, flip=flip, **said)
    with stage("restore", seconds, progress):
        image = rules.restore([ran.volume.data[0] for ran in both], fed, how.sharpen)
    used = str(both[-1].device), both[-1].precision, torch.get_num_threads()
    return Result(image, seconds, *used, fed.range, notices=tuple(notices.values()))


def _together(
    scans: Sequence[Volume | None],
    model: Model,
    how: Options,
    doubt: bool,
    progress: Progress | None,
    clock: Clock,
) -> Result:
    """The T1 of an exam, with a model that takes all its scans at once."""
    if rules := rules_of(model, how.compat):  # registered through their headers, as the original wants it
        result = _repeated([scan for scan in scans if scan is not None], rules, model, how, progress)
        return replace(result, parts=registered(scans, scans, range(len(scans)), result.window)[1])
    with clock("align") as report:
        order = seats(scans, model)
        placed = onto_first([scans[k] for k in order], report)
    result = _through(lambda: together(placed, model, ct=how.ct), model, how, doubt, progress)
    first, parts = registered([scans[k] for k in order], placed, order, result.window)
    return replace(result, reference=first, parts=parts)


def _through(
    ready: Callable[[], tuple[Volume, Prepared]], model: Model, how: Options, doubt: bool, progress: Progress | None
) -> Result:
    """Prepare, run, restore."""
    where = choose_device(how.device)
    exact = choose_precision(how.precision, where)
    seconds: dict[str, float] = {}
    notices: dict[str, Notice] = {}
    through = partial(run, model.network, device=where, precision=exact, warn=lambda n: notices.setdefault(n.code, n))
    with stage("prepare", seconds, progress):
        image, prepared = ready()
    with stage("network", seconds, progress) as report:
        raw, used, exact = through(image, flip=how.flip, progress=report)
    wide = None
    if doubt:
        with stage("uncertainty", seconds, progress):
            wide = interval(raw, image, model.card, lambda x: through(x, flip=False).volume)
    with stage("restore", seconds, progress):
        white = float(model.card["white_matter"])
        t1 = sharpened(raw, prepared) if sharpens(model.card) else restore(raw, prepared, white)
        wide = wide and restore(wide, prepared, white, beyond=float(wide.data.min()))  # as sure as of other air
    how_computed = str(used), exact, torch.get_num_threads()
    return Result(t1, seconds, *how_computed, prepared.window, notices=tuple(notices.values()), uncertainty=wide)
