"""What does each brightness mean here? Local tone curves from a scan to a rough idea of the answer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from .slabs import slabs

DOUBT = 0.004  # weight of what the wider window says, as a share of the voxels of this one
AIR = 0.05  # of a normalised scan: what is darker tells nothing of tissue
FLAT = 1e-3  # variance of a normalised scan below which brightness tells nothing


def hats(x: Tensor, nodes: int) -> Tensor:
    """Shares of evenly spaced levels, 0 to 1, in each intensity: at most two are not zero, together they are 1.

    Parameters
    ----------
    x : (N, 1, I, J, K) tensor
        Clipped to 0..1.
    nodes : int

    Returns
    -------
    (N, nodes, I, J, K) tensor
    """
    levels = torch.linspace(0, 1, nodes, dtype=x.dtype, device=x.device).view(1, -1, 1, 1, 1)
    return (1 - (x.clamp(0, 1) - levels).abs() * (nodes - 1)).clamp(min=0)


def local_curves(x: Tensor, y: Tensor, *, nodes: int, levels: int) -> list[Tensor]:
    """Mean of `y` where `x` has each of `nodes` levels, in windows that double in width [1]_.

    A window in which a brightness does not occur asks the next wider one.

    Parameters
    ----------
    x, y : (N, 1, I, J, K) tensors
        Normalised scan, and a guess of the answer; I, J and K multiples of ``2 ** levels``.
    nodes : int
        Of the curve, evenly spaced over 0 to 1.
    levels : int
        Number of windows: about 6, 12, 24, ... voxels wide.

    Returns
    -------
    list of (N, nodes, i, j, k) tensors
        Narrowest window first, on grids coarser by 2, 4, 8, ...

    References
    ----------
    .. [1] The bilateral grid of Chen et al., SIGGRAPH 2007, doi:10.1145/1276377.1276506, in three dimensions.
    """
    share = hats(x, nodes)
    sums, pyramid = torch.cat([share, share * y], 1), []
    for _ in range(levels):
        sums = avg_pool3d(sums, 2)
        pyramid.append(sums)
    curve = avg_pool3d(y, 2**levels).expand(-1, nodes, -1, -1, -1)  # widest of all: the same for every brightness
    curves: list[Tensor] = []
    for sums in reversed(pyramid):
        count, total = triangle(sums).split(nodes, 1)
        curve = (total + DOUBT * interpolate(curve, count.shape[2:], mode="trilinear")) / (count + DOUBT)
        curves.insert(0, curve)
    return curves


def local_lines(x: Tensor, y: Tensor, *, levels: int) -> Tensor:
    """The line from `x` to `y` that fits best in a wide window [1]_, as a curve of two nodes.

    The coil may make tissue brighter on one side, but if a scan is a T1 already a line is all that it needs, and unlike
    a curve of many nodes a line follows no error of `y`.

    Parameters
    ----------
    x, y : (N, 1, I, J, K) tensors
        Normalised scan, and a guess of the answer; I, J and K multiples of ``2 ** levels``.
    levels : int
        The window is a bell of standard deviation ``1.6 * 2 ** levels`` voxels.

    Returns
    -------
    (N, 2, i, j, k) tensor
        Value at 0 and at 1, on a grid coarser by ``2 ** levels``.

    References
    ----------
    .. [1] He et al., Guided image filtering, TPAMI 2013, doi:10.1109/TPAMI.2012.213
    """
    there, x = (x > AIR).to(x.dtype), x.clamp(0, 1)  # as `apply_curves` will see it
    moments = there * torch.cat([torch.ones_like(x), x, y, x * x, x * y], 1)
    count, sx, sy, sxx, sxy = triangle(triangle(avg_pool3d(moments, 2**levels))).split(1, 1)
    count = count.clamp(min=DOUBT)
    mean_x, mean_y = sx / count, sy / count
    slope = (sxy / count - mean_x * mean_y) / ((sxx / count - mean_x * mean_x).clamp(min=0) + FLAT)
    level = mean_y - slope * mean_x
    return torch.cat([level, level + slope], 1)


def apply_curves(x: Tensor, curves: Tensor) -> Tensor:
    """Each voxel through the curve of its place.

    Parameters
    ----------
    x : (N, 1, I, J, K) tensor
    curves : (N, nodes, i, j, k) tensor
        On the same grid or a coarser one.

    Returns
    -------
    (N, 1, I, J, K) tensor
    """
    parts = []
    with torch.autocast(x.device.type, enabled=False):  # a curve wants more digits than bf16 has
        curves = stretch(curves, 2, x.shape[2])
        for planes in slabs(x, curves.shape[1] * x[:, 0, 0].numel()):
            here = stretch(stretch(curves[:, :, planes], 4, x.shape[4]), 3, x.shape[3])
            parts.append(through(x[:, :, planes], here))
    return torch.cat(parts, 2)


def through(x: Tensor, curves: Tensor) -> Tensor:
    """Each voxel through its own piecewise linear curve.

    Parameters
    ----------
    x : (N, 1, ...) tensor
    curves : (N, nodes, ...) tensor
        Values at evenly spaced levels, 0 to 1.
    """
    place, y = x.clamp(0, 1) * (curves.shape[1] - 1), curves[:, :1]
    for k in range(1, curves.shape[1]):  # one by one: all at once would be many times the memory, and slower
        y = y.addcmul(curves[:, k : k + 1] - curves[:, k - 1 : k], (place - (k - 1)).clamp(0, 1))
    return y


def stretch(x: Tensor, axis: int, n: int) -> Tensor:
    """Linear interpolation along one axis to `n` voxels, as `interpolate` has it; as a product of matrices, which is
    many times faster for the few coarse voxels of curves."""
    eye = torch.eye(x.shape[axis], dtype=x.dtype, device=x.device)
    weights = interpolate(eye[None], n, mode="linear")[0]  # (coarse, n)
    return x @ weights if axis == 4 else (weights.T @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])


def triangle(x: Tensor) -> Tensor:
    """Triangular window, five voxels wide on each axis; what lies beyond the border does not count."""
    for axis in (2, 3, 4):
        kernel = [3 if k == axis else 1 for k in (2, 3, 4)]
        pad = [k // 2 for k in kernel]
        for _ in range(2):
            if x.shape[axis] < 3:  # all lie within one voxel of each other; PyTorch does not pool so few
                x = x.mean(axis, keepdim=True).expand_as(x)
            else:
                x = avg_pool3d(x, kernel, 1, pad, count_include_pad=False)
    return x
