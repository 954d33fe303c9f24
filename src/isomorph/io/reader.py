"""The one way in: `read` applies every rule, `check` only tells, `load` only wants the image."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isomorph.errors import Refusal, UsageError
from isomorph.io import container, content, geometry, mgh, nifti, voxels
from isomorph.io.header import Header
from isomorph.io.names import SUPPORTED, Notice, escape, is_ours, suffix
from isomorph.volume import Volume

log = logging.getLogger(__name__)

KINDS = ("scan", "t1", "image")
MAX_GB = 4.0
PEEK = 1 << 16  # bytes in which header and sizes of extensions lie
DEFLATE = 1032  # bytes that one compressed byte can at most become
TOGETHER = "keep .hdr and .img together"


@dataclass(frozen=True, eq=False)
class Scan:
    """An accepted image.

    Parameters
    ----------
    volume : Volume
        Float32 (1, I, J, K), finite, contiguous, native voxel order; the affine as in the file, in mm.
    warnings : tuple of Notice
    source : dict
        Where it came from, ready for JSON: hashes, sizes, decisions; no path, no name, no free text of the header.
    """

    volume: Volume
    warnings: tuple[Notice, ...]
    source: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What `check` says about a file.

    Parameters
    ----------
    file : str
        As given, control characters escaped.
    outcome : str
        ``ok``, ``warn`` or ``refuse``.
    codes, messages : list of str
    """

    file: str
    outcome: str
    codes: list[str]
    messages: list[str]


@dataclass(frozen=True)
class _File:
    """Verified bytes of an image with its header."""

    header: Header
    data: bytes | bytearray
    notices: tuple[Notice, ...]
    sha256: str
    size: int


def read(
    path: str | os.PathLike[str], *, frame: int | str = 0, ct: bool = False, kind: str = "scan", max_gb: float = MAX_GB
) -> Scan:
    """Read an image and refuse what would give a wrong result.

    Parameters
    ----------
    path : path
        NIfTI, MGH or Analyze; what it is is decided by content.
    frame : int or "mean"
        Which image of several; their mean.
    ct : bool
        Values are Hounsfield units; a CT stored 1024 too high is corrected.
    kind : str
        ``scan`` applies all rules, ``t1`` all but one: it accepts what isomorph made. ``image`` accepts label maps,
        masks and synthetic images too.
    max_gb : float
        Limit on the decompressed size, in GB.

    Raises
    ------
    Refusal
        As listed in ``docs/codes.md``.
    UsageError
        A frame or kind that can never be.
    """
    if kind not in KINDS:
        raise UsageError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
    if frame != "mean" and not (isinstance(frame, int) and frame >= 0):
        raise UsageError(f"frame is 'mean' or a number from 0, not {frame!r}")
    try:
        return _judged(_open(Path(path), frame, int(max_gb * 1e9), kind), frame, ct, kind)
    except (MemoryError, RecursionError):
        raise Refusal("E801", "not enough memory for this image", "use a larger machine") from None


def _judged(file: _File, frame: int | str, ct: bool, kind: str) -> Scan:
    """Apply every rule on place and content."""
    header = file.header
    place = geometry.decide(header.claims)
    notices = [*file.notices, *place.notices]
    notices += geometry.extent(header.grid, place.affine) if kind != "image" else []
    values, more, factor = voxels.values(file.header, file.data, frame)
    notices += more
    x = torch.from_numpy(values)
    source = _source(file, place, factor, frame)
    volume = Volume(x[None], place.affine)
    if kind != "image":
        thin = any(n.code in ("W202", "W203") for n in notices)
        seen = content.look(x, volume.spacing, ct=ct, thin=thin)
        if seen.ceiling is not None:
            x.clamp_(max=seen.ceiling)
        if ct:
            x += seen.offset
        notices += seen.notices
        source |= {
            "modality": seen.modality,
            "modality_by": "user" if ct else "guess",
            "content_cm3": round(seen.volume, 1),
        }
        source |= {"coverage_mm": round(seen.coverage, 1), "offset_added": seen.offset if ct else 0.0}
    return Scan(volume, tuple(notices), source | {"warnings": [asdict(n) for n in notices]})


def load(path: str | os.PathLike[str], *, kind: str = "scan", frame: int | str = 0, ct: bool = False) -> Volume:
    """The image alone; see `read`, whose warnings are logged here."""
    scan = read(path, frame=frame, ct=ct, kind=kind)
    for notice in scan.warnings:
        log.warning("%s: %s %s", escape(Path(path).name), notice.code, notice.message)
    return scan.volume


def check(path: str | os.PathLike[str], *, frame: int | str = 0, ct: bool = False, max_gb: float = MAX_GB) -> Verdict:
    """Would this file be accepted? Never raises for a bad file."""
    name = escape(Path(path).name)
    try:
        notices = read(path, frame=frame, ct=ct, max_gb=max_gb).warnings
    except Refusal as error:
        return Verdict(name, "refuse", [error.code], [str(error)])
    codes, messages = [n.code for n in notices], [f"{n.code} {n.message}" for n in notices]
    return Verdict(name, "warn" if notices else "ok", codes, messages)


def digest(path: str | os.PathLike[str], *, max_gb: float = MAX_GB) -> str:
    """SHA-256 of the bytes of an image, as `read` puts it into `Scan.source`: of both files of a pair.

    Raises
    ------
    Refusal
        If they cannot be read.
    """
    halves = partner(Path(path)) or (Path(path),)
    sha = hashlib.sha256()
    for half in halves:
        sha.update(container.slurp(half, int(max_gb * 1e9)))
    return sha.hexdigest()


def _open(path: Path, frame: int | str, limit: int, kind: str) -> _File:
    """Bytes, header, and the agreement of both."""
    other = partner(path)
    raw = container.slurp(path if other is None else other[0], limit)
    sha, size, packed = hashlib.sha256(raw), len(raw), container.compression(raw)
    block = container.peek(raw, packed, PEEK)
    header = parse(block, raw, packed, suffix(other[0] if other else path))
    if kind == "scan" and (header.ours or is_ours(path)):
        raise Refusal("E505", "the image was made by isomorph", "give the original scan")
    notices = list(header.notices)
    if header.pair:
        if other is None or not os.path.exists(other[1]):
            raise Refusal("E107", "the voxels (.img) that belong to this header are missing", TOGETHER)
        container.unpack(raw, packed, keep=0, cap=limit)
        raw = container.slurp(other[1], limit)
        sha.update(raw)
        size, packed = size + len(raw), container.compression(raw)
    elif (packed != "none") != (suffix(path) not in (".nii", ".hdr", ".img", ".mgh")):
        notices.append(Notice("W101", "the name and the content disagree on compression; read by content"))
    keep = _bytes_needed(header, len(raw), packed, limit, frame)
    unpacked = container.unpack(raw, packed, keep=keep, cap=header.end + container.SLACK)
    notices += _agreement(header, unpacked)
    return _File(header, unpacked.data, tuple(notices), sha.hexdigest(), size)


def partner(path: Path) -> tuple[Path, Path] | None:
    """The .hdr and the .img of a pair, by either name, in either case."""
    end = suffix(path)
    if not end.startswith((".hdr", ".img")):
        return None
    stem = path.name[: len(path.name) - len(end)]

    def find(wanted: str) -> Path:
        if end.startswith(wanted):
            return path
        swap = wanted.upper() if path.name[len(stem) + 1].isupper() else wanted
        names = (stem + swap + path.name[len(stem) + 4 :], stem + swap, stem + swap + ".gz")
        return next((p for n in names if os.path.exists(p := path.with_name(n))), path.with_name(names[0]))

    header, voxels = find(".hdr"), find(".img")
    if not os.path.exists(header) and voxels == path and os.path.exists(path):
        raise Refusal("E107", "the header (.hdr) that belongs to these voxels is missing", TOGETHER)
    return header, voxels


def parse(block: bytes, raw: bytes, packed: str, end: str) -> Header:
    """The header, whichever family it is of."""
    if nifti.looks_like(block, end):
        header = nifti.parse(block, end)
    elif mgh.looks_like(block):
        header = mgh.parse(block)
    else:
        if packed != "none" and len(block) < 348:
            container.unpack(raw, packed, keep=0, cap=PEEK)  # a broken stream is the better reason
        container.refuse_foreign(block, dicom=block[128:132])
        raise Refusal("E102", "the file is not an image that is known", f"convert it to one of {SUPPORTED}")
    if not end:
        raise Refusal("E102", "the name has no image suffix", f"rename it to one of {SUPPORTED}")
    return header


def _bytes_needed(header: Header, size: int, packed: str, limit: int, frame: int | str) -> int:
    """Bytes to keep of a file, decided before a byte is allocated."""
    if packed == "none" and size < header.end:
        raise Refusal("E104", f"the file is truncated (need {header.end}, have {size} bytes)", "fetch it again")
    if header.end > limit:
        reason = (
            f"the header claims {header.end / 1e9:.1f} GB in a file of {size / 1e6:.1f} MB (limit {limit / 1e9:.1f} GB)"
        )
        raise Refusal("E205", reason, container.BIGGER)
    if packed == "gzip" and header.end > DEFLATE * size:
        reason = f"the file is truncated ({size} bytes cannot hold an image of {header.end}, however packed)"
        raise Refusal("E104", reason, "fetch it again")
    if frame == "mean":
        return header.end
    if int(frame) >= header.frames:
        raise Refusal("E207", f"frame {frame} of {header.frames} does not exist", "choose another frame")
    return header.offset + (int(frame) + 1) * (header.end - header.offset) // header.frames


def _agreement(header: Header, unpacked: container.Unpacked) -> list[Notice]:
    """Compare the length of the file with what the header announces."""
    if unpacked.length < header.end:
        reason = f"the image is truncated (need {header.end}, have {unpacked.length} bytes)"
        raise Refusal("E104", reason, "fetch it again")
    if header.exact and unpacked.length != header.end:
        raise Refusal(
            "E106", "the voxel offset is 0 and the file's length does not tell the true one", "convert the scan again"
        )
    extra = unpacked.length - header.end
    if unpacked.junk or (extra and not header.footer):
        return [Notice("W102", "bytes after the image; ignored")]
    return []


def _source(file: _File, place: geometry.Geometry, factor: float, frame: int | str) -> dict[str, Any]:
    """Provenance, ready for JSON."""
    header, claims = file.header, file.header.claims
    spacing = np.linalg.norm(place.affine[:3, :3], axis=0)

    def listed(affine: np.ndarray | None, code: int) -> list[list[float]] | None:
        return affine.tolist() if affine is not None and code > 0 and np.isfinite(affine).all() else None

    return {
        "sha256": file.sha256,
        "size": file.size,
        "format": header.kind,
        "dtype": header.dtype.name,
        "shape": list(header.shape),
        "spacing": [round(float(s), 6) for s in spacing],
        "unit_mm": place.unit,
        "affine": place.affine.tolist(),
        "affine_from": place.chosen,
        "orientation_trusted": place.trusted,
        "qform": listed(claims.qform, claims.qcode),
        "sform": listed(claims.sform, claims.scode),
        "qform_code": claims.qcode,
        "sform_code": claims.scode,
        "frame": frame,
        "factor": factor,
        "slope": header.slope,
        "inter": header.inter,
    }
