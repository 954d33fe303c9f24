"""Does the result look like the T1 of a brain? One number, so that a knee or a phantom does not pass for one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, max_pool3d

from ..io import Notice
from ..space import resample
from ..volume import Volume

THRESHOLD = 0.5  # below it W601 is told; where scans and nonsense lie: benchmarks/nonsense.py
FINE, SIZE = 2, 4  # mm: where detail is compared; where skull and scalp, thinner than a brain, vanish in one step
BRIGHT = 50.0  # of the T1: tissue, not fluid, bone or air
WHITE = (95.0, 135.0)  # of the T1
GREY = (55.0, 95.0)
EDGE = 85.0  # of the T1: between grey and white matter
LEAST, MOST, NONE = 500.0, 2400.0, 3600.0  # cm3 of tissue in one piece: a brain, more than any brain, no brain
THICK = 8.0  # mm between slices, above which a scan says ever less
STEPS = 40  # of growth, SIZE mm each: across any head
WINDOW = 5  # voxels of FINE: about a fold of the cortex


def quality(t1: Volume, scan: Volume, *, ct: bool = False) -> float:
    """From 0, nothing like a brain, to 1: the least of six answers.

    Four are about the largest solid body in the image. Is it of the size of a brain? Does it hold both grey and white
    matter, and little else? Does white matter lie deeper than grey matter? Is the border between the two folded? But
    a network invents brains where there are none, so the fifth is whether brightness in the scan and in the T1 go
    together from place to place; of CT, which is mostly noise, it is not asked. The sixth is whether the slices are
    close enough.

    Parameters
    ----------
    t1 : Volume, (1, I, J, K)
        1 mm, white matter at 110.
    scan : Volume, (1, I, J, K)
        That it was made of.
    ct : bool
    """
    x = _pooled(t1.data[0], SIZE)
    body = _body(x > BRIGHT)
    volume = float(body.sum()) * SIZE**3 / 1000
    if volume == 0:
        return 0.0
    inside = x[body]
    white, grey = (((inside >= low) & (inside < high)).float().mean().item() for low, high in (WHITE, GREY))
    answers = [
        min(volume / LEAST, (NONE - volume) / (NONE - MOST)),
        min(white / 0.15, grey / 0.15, (white + grey) / 0.8),
        _deeper(x, body) / 0.25,
        (_folded(x, body) - 0.2) / 0.3,
        1.0 if ct else (_supported(t1, scan) - 0.3) / 0.3,
        THICK / max(scan.spacing),
    ]
    return min(1.0, max(0.0, min(answers)))


def body(t1: Volume) -> Tensor:
    """The inside of the largest solid body of a T1, which in a head is the brain; (I, J, K), bool, in steps of `SIZE`.

    Its outermost `SIZE` mm, which share voxels with the fluid around, do not count.

    Parameters
    ----------
    t1 : Volume, (1, I, J, K)
        1 mm, white matter at 110.
    """
    coarse = _worn(_body(_pooled(t1.data[0], SIZE) > BRIGHT))
    for axis, n in enumerate(t1.shape):
        coarse = coarse.repeat_interleave(SIZE, axis).narrow(axis, 0, n)
    return coarse


def notice(value: float, *, given: bool = False) -> tuple[Notice, ...]:
    """W601, where a number is below the threshold; of a T1 that was made, or that was given."""
    if value >= THRESHOLD:
        return ()
    what, ask = ("image", "is it a T1") if given else ("result", "is the scan a head")
    said = f"the {what} does not look like a T1 of a brain (quality {value:.2f}, at least {THRESHOLD:g} expected)"
    return (Notice("W601", f"{said}: {ask}?"),)


def _pooled(x: Tensor, mm: int) -> Tensor:
    return avg_pool3d(x[None, None], [min(mm, n) for n in x.shape], ceil_mode=True)[0, 0]


def _body(bright: Tensor) -> Tensor:
    """The largest solid body: what remains longest when the outside is peeled off, grown back within what is bright."""
    core = peeled = solid = _worn(bright)
    for _ in range(STEPS):
        if not peeled.any():
            break
        core, peeled = peeled, _worn(peeled)
    seed = torch.zeros_like(bright)
    if not solid.any():
        return seed
    seed[tuple(core.nonzero()[len(core.nonzero()) // 2].tolist())] = True
    for _ in range(STEPS):
        grown = _grown(seed) & solid
        if bool((grown == seed).all()):
            break
        seed = grown
    return _grown(seed) & bright


def _deeper(x: Tensor, body: Tensor) -> float:
    """How much deeper white matter lies than grey matter, as a share of the mean depth."""
    depth, rest = torch.zeros_like(x), body
    for _ in range(STEPS):
        if not rest.any():
            break
        depth += rest
        rest = _worn(rest)
    white, grey = (body & (x >= low) & (x < high) for low, high in (WHITE, GREY))
    if not white.any() or not grey.any():
        return 0.0
    return ((depth[white].mean() - depth[grey].mean()) / depth[body].mean()).item()


def _folded(x: Tensor, body: Tensor) -> float:
    """Faces between what is brighter and what is darker than the middle of grey and white, for each voxel."""
    bright, faces = x > EDGE, 0.0
    for axis, n in enumerate(x.shape):
        both = body.narrow(axis, 1, n - 1) & body.narrow(axis, 0, n - 1)
        faces += float(((bright.narrow(axis, 1, n - 1) != bright.narrow(axis, 0, n - 1)) & both).sum())
    return faces / float(body.sum())


def _supported(t1: Volume, scan: Volume) -> float:
    """Mean of the correlation, whatever its sign, of scan and T1 in small windows of tissue."""
    x = _pooled(resample(scan, t1.shape, t1.affine).data[0], FINE)
    y = _pooled(t1.data[0], FINE)
    if min(x.shape) < WINDOW:
        return 1.0  # too thin to tell
    x = x / x.std().clamp(min=1e-6)
    mx, my, xx, yy, xy = (avg_pool3d(v[None, None], WINDOW, 2)[0, 0] for v in (x, y, x * x, y * y, x * y))
    alike = (xy - mx * my) / ((xx - mx**2).clamp(min=1e-4) * (yy - my**2).clamp(min=1.0)).sqrt()
    tissue = (my > GREY[0]) & (my < WHITE[1])
    return alike[tissue].abs().mean().item() if tissue.any() else 0.0


def _grown(mask: Tensor) -> Tensor:
    return max_pool3d(mask.float()[None, None], 3, 1, 1)[0, 0] > 0


def _worn(mask: Tensor) -> Tensor:
    """One voxel less all around; what lies beyond the field of view wears nothing."""
    return max_pool3d((~mask).float()[None, None], 3, 1, 1)[0, 0] == 0
