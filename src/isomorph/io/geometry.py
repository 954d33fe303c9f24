"""Where does this image lie? One pure decision from what the header claims."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isomorph.errors import Refusal
from isomorph.io.names import Notice

VOXEL = (0.1, 20.0)  # mm, what a clinical scanner makes
FIELD = (20.0, 1000.0)  # mm, longest side
THIN, TOO_THIN, WIDE = 48.0, 20.0, 400.0  # mm, shortest and longest side
GRID = 64e6  # voxels of 1 mm, above which no output is tried
SINGULAR, FLAT = 1e-6, 0.3  # volume of the box spanned by unit axes: 1 when they are orthogonal
SHEAR = 0.5  # degrees
SHIFT = 1.0  # mm at the corners, between the two affines of one file
HUGE = 1e12  # no length, in any unit
FAR = 2000.0  # mm from the isocentre
LAS = np.diag([-1.0, 1.0, 1.0])  # what NIfTI and Analyze readers assume without orientation
LIA = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # FreeSurfer's (nibabel transposes it)


@dataclass(frozen=True, eq=False)
class Claims:
    """What a header says about place, before anything is believed.

    Parameters
    ----------
    shape : (I, J, K)
    pixdim : (3,) array
        Voxel size in the file's unit; may be negative, zero or not finite.
    qform, sform : (4, 4) array or None
        The two affines; None where the fields make none.
    qcode, scode : int
        Above zero where the affine is meant.
    unit : float
        Millimetres per unit of the header: 1, 1000 (metres) or 0.001 (microns).
    directions : (3, 3) array
        Axes to assume when nothing is said.
    centre : (3,) array, optional
        Voxel to take for the origin of the world when nothing is said; that in the middle of the grid by default.
    """

    shape: tuple[int, int, int]
    pixdim: np.ndarray
    qform: np.ndarray | None = None
    sform: np.ndarray | None = None
    qcode: int = 0
    scode: int = 0
    unit: float = 1.0
    directions: np.ndarray = field(default_factory=LAS.copy)
    centre: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Geometry:
    """The decision.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel to world, RAS+, mm, as in the file, shear and all.
    chosen : str
        ``sform``, ``qform`` or ``pixdim``.
    trusted : bool
        Whether left and right are known.
    unit : float
        Factor applied to the header's numbers to get mm.
    notices : tuple of Notice
    """

    affine: np.ndarray
    chosen: str
    trusted: bool
    unit: float
    notices: tuple[Notice, ...]


def box(affine: np.ndarray) -> float:
    """Volume of the box spanned by the unit axes: 1 orthogonal, 0 singular, NaN not finite or absurd."""
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    if not (np.abs(affine) < HUGE).all():
        return float("nan")
    norms = np.linalg.norm(linear, axis=0)
    return float(abs(np.linalg.det(linear / norms))) if norms.all() else 0.0


def quaternion_affine(
    b: float, c: float, d: float, offset: np.ndarray, pixdim: np.ndarray, qfac: float
) -> np.ndarray | None:
    """The qform of NIfTI-1, or None where the numbers make no rotation.

    Parameters
    ----------
    b, c, d : float
        Imaginary part of the unit quaternion.
    offset : (3,) array
    pixdim : (3,) array
        Sizes; their sign is ignored.
    qfac : float
        Below zero mirrors the third axis.
    """
    square = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite([b, c, d, *offset, *pixdim]).all() or square < -1e-5:
        return None
    a = np.sqrt(max(square, 0.0))
    length = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (np.abs(pixdim) * [1.0, 1.0, -1.0 if qfac < 0 else 1.0])
    affine[:3, 3] = offset
    return affine


def decide(claims: Claims) -> Geometry:
    """Choose the affine: sform, else qform, else voxel size alone; then judge it.

    Raises
    ------
    Refusal
        E401 no usable orientation, E402 no voxel size, E403 nearly singular, E404 impossible voxel size.
    """
    affine, chosen, notices = _choose(claims)
    volume = box(affine)
    if not volume >= FLAT:
        raise Refusal("E403", f"the {chosen} is nearly singular (axes span {volume:.3g} of 1)", "repair the header")
    unit, more = _unit(claims, affine)
    notices += more
    affine = affine.copy()
    affine[:3] *= unit
    if chosen != "pixdim":
        notices += _judge(claims, affine, unit, chosen)
    trusted = chosen != "pixdim" and not any(n.code in ("W404", "W409") for n in notices)
    return Geometry(affine, chosen, trusted, unit, tuple(notices))


def _choose(claims: Claims) -> tuple[np.ndarray, str, list[Notice]]:
    """First affine that is meant and can be inverted."""
    if claims.scode > 0 and claims.sform is not None and box(claims.sform) > SINGULAR:
        return claims.sform, "sform", []
    broken = claims.scode > 0
    if claims.qcode > 0:
        if (np.abs(claims.pixdim) == 0).any():
            raise Refusal(
                "E402", f"a voxel size is zero ({_sizes(claims.pixdim)})", "repair the header or convert the scan again"
            )
        if claims.qform is None or not box(claims.qform) > SINGULAR:
            raise Refusal("E401", "the orientation (qform) is not valid", "repair the header or convert the scan again")
        notices = [Notice("W402", "sform is not a valid affine; qform used")] if broken else []
        return claims.qform, "qform", notices
    if not np.isfinite(claims.pixdim).all():
        raise Refusal(
            "E401", "neither orientation nor voxel size is valid", "repair the header or convert the scan again"
        )
    if (claims.pixdim == 0).any():
        raise Refusal(
            "E402", f"a voxel size is zero ({_sizes(claims.pixdim)})", "repair the header or convert the scan again"
        )
    affine = np.eye(4)
    affine[:3, :3] = claims.directions * np.abs(claims.pixdim)
    centre = (np.array(claims.shape) - 1) / 2 if claims.centre is None else claims.centre
    affine[:3, 3] = -affine[:3, :3] @ centre
    unknown = "voxel size alone used, left and right are not known"
    notice = (
        Notice("W402", f"sform is not a valid affine; {unknown}")
        if broken
        else Notice("W401", f"no orientation in the header; {unknown}")
    )
    return affine, "pixdim", [notice]


def _unit(claims: Claims, affine: np.ndarray) -> tuple[float, list[Notice]]:
    """Millimetres per unit: the flag where it makes sense, else plain mm where that does."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)

    def plausible(unit: float) -> bool:
        mm = sizes * unit
        longest = float((mm * claims.shape).max())
        return bool(VOXEL[0] <= mm.min() and mm.max() <= VOXEL[1] and (unit == 1 or FIELD[0] <= longest <= FIELD[1]))

    if plausible(claims.unit):
        if claims.unit == 1:
            return 1.0, []
        return claims.unit, [Notice("W406", f"header in {_unit_name(claims.unit)}; converted to mm")]
    if claims.unit != 1 and plausible(1.0):
        return 1.0, [Notice("W406", f"header says {_unit_name(claims.unit)}, its numbers are plainly mm; flag ignored")]
    reason = f"voxels of {_sizes(sizes * claims.unit)} mm are outside {VOXEL[0]:g} to {VOXEL[1]:g} mm"
    raise Refusal("E404", reason, "repair the header or convert the scan again")


def _judge(claims: Claims, affine: np.ndarray, unit: float, chosen: str) -> list[Notice]:
    """What is odd about an affine (in mm) that will be used."""
    notices: list[Notice] = []
    both = chosen == "sform" and claims.qcode > 0 and claims.qform is not None and box(claims.qform) > SINGULAR
    if both and claims.qform is not None:
        notices += _compare(claims.shape, affine, claims.qform, unit)
    angle = shear(affine)
    if angle > SHEAR:
        notices.append(
            Notice("W405", f"axes are {angle:.1f} degrees off a right angle (gantry tilt?); resampled through it")
        )
    sizes, stated = np.linalg.norm(affine[:3, :3], axis=0), np.minimum(np.abs(claims.pixdim), HUGE) * unit
    if not notices and not np.allclose(sizes, stated, rtol=0.02, atol=0):
        notices.append(
            Notice("W407", f"voxel size {_sizes(stated)} mm disagrees with the affine {_sizes(sizes)} mm; affine used")
        )
    if np.array_equal(affine, np.eye(4)):
        notices.append(
            Notice("W409", "the affine is the identity: the header was probably stripped, left and right are not sure")
        )
    centre = affine[:3, :3] @ ((np.array(claims.shape) - 1) / 2) + affine[:3, 3]
    if np.abs(centre).max() > FAR:
        notices.append(Notice("W408", f"the image lies {np.abs(centre).max() / 1000:.0f} m from the scanner centre"))
    return notices


def _compare(shape: tuple[int, int, int], sform: np.ndarray, qform: np.ndarray, unit: float) -> list[Notice]:
    """Tell how far qform and sform place the corners apart."""
    other = qform.copy()
    other[:3] *= unit
    if np.linalg.det(other[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0:
        return [Notice("W404", "qform and sform disagree on left and right; sform used")]
    corners = np.array([[*c, 1.0] for c in np.ndindex(2, 2, 2)]) * [*(np.array(shape) - 1), 1]
    apart = float(np.linalg.norm((corners @ (sform - other).T)[:, :3], axis=1).max())
    return (
        [Notice("W403", f"qform and sform place the image up to {apart:.1f} mm apart; sform used")]
        if apart > SHIFT
        else []
    )


def shear(affine: np.ndarray) -> float:
    """Largest departure of two voxel axes from a right angle, in degrees."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = np.abs(axes.T @ axes - np.diag(np.diag(axes.T @ axes))).max()
    return float(np.degrees(np.arcsin(min(cosine, 1.0))))


def extent(shape: tuple[int, int, int], affine: np.ndarray) -> list[Notice]:
    """Judge how much of a head a grid can hold.

    Raises
    ------
    Refusal
        E203 a slice or a slab too thin, E206 an output too large.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0) * shape
    if min(shape) < 4 or sizes.min() < TOO_THIN:
        needed = f"at least 4 voxels and {TOO_THIN:g} mm per axis are needed"
        reason = f"the image has {_by(shape)} voxels, {_by(sizes.round())} mm, {needed}"
        raise Refusal("E203", reason, "give the whole volume")
    if sizes.prod() > GRID:
        raise Refusal(
            "E206", f"the field of view of {_by(sizes.round())} mm is too large for a 1 mm output", "crop to the head"
        )
    notices = []
    if sizes.min() < THIN:
        notices.append(Notice("W202", f"thin coverage: {sizes.min():.0f} mm along one axis"))
    if max(shape) < 24:
        notices.append(Notice("W203", f"very few voxels: {_by(shape)}"))
    if sizes.max() > WIDE:
        notices.append(
            Notice(
                "W204", f"field of view of {_by(sizes.round())} mm: more than a head; cropping to the head is faster"
            )
        )
    return notices


def _sizes(values: np.ndarray) -> str:
    return " x ".join(f"{v:.4g}" for v in values)


def _by(values: tuple[int, int, int] | np.ndarray) -> str:
    return " x ".join(f"{v:.0f}" for v in values)


def _unit_name(unit: float) -> str:
    return "metres" if unit > 1 else "microns"
