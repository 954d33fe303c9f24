"""The one way out: an image at its final path is complete and verified at every instant, or not there."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from isomorph.errors import Refusal, SetupError, UsageError
from isomorph.io import container, geometry, mgh, nifti
from isomorph.io.names import escape, sidecar_path, suffix
from isomorph.volume import Volume

WRITABLE = (".nii.gz", ".nii", ".mgz", ".mgh")
DTYPES = ("float32", "int16", "uint8")
LEVEL = 3  # of gzip: 6 takes twice as long for 2 % less
NAME_MAX = 255  # bytes, on every file system that matters
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class _Image:
    """Bytes to write, and what they must read back as."""

    payload: bytes
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: str


def check_output(path: PathLike, *, inputs: Iterable[PathLike] = (), overwrite: bool = False) -> Path:
    """Everything that can be known to go wrong with an output, before the work; makes its folder.

    Parameters
    ----------
    path : path
        Of the image to come: .nii.gz, .nii, .mgz or .mgh.
    inputs : paths
        Files that must never be written to.
    overwrite : bool
        Whether a file at `path` may be replaced.

    Raises
    ------
    UsageError
        Another extension.
    Refusal
        E701 output is an input, E704 name too long, E705 output exists, E706 output is a link.
    SetupError
        E702 the folder cannot be written.
    """
    path = Path(path)
    said = escape(path.name)
    if suffix(path) not in WRITABLE:
        raise UsageError(f"output name {said!r} must end in one of {' '.join(WRITABLE)}; add one")
    if len(os.fsencode(sidecar_path(path).name)) + 8 > NAME_MAX or len(os.fsencode(path.name)) > NAME_MAX:
        raise Refusal(
            "E704", f"output name has {len(os.fsencode(path.name))} bytes, {NAME_MAX} are possible", "shorten it"
        )
    try:
        for source in inputs:
            if _same(path, Path(source)):
                raise Refusal("E701", "the output is the input itself", "choose another output")
        for target in (path, sidecar_path(path)):
            if target.is_symlink():
                raise Refusal("E706", f"{escape(target.name)} is a link, which is never written through", "remove it")
            if target.exists() and (not overwrite or not target.is_file()):
                raise Refusal("E705", f"{escape(target.name)} exists already", "choose another output or --overwrite")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _setup(error) from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SetupError("E702 the output folder is not writable; choose another or change its permissions")
    return path


def write(
    volume: Volume,
    path: PathLike,
    *,
    overwrite: bool = False,
    sidecar: dict[str, Any] | None = None,
    description: str = "synthetic",
    dtype: str = "float32",
    inputs: Iterable[PathLike] = (),
) -> Path:
    """Write an image, verify it, give it its name, then write its sidecar, last.

    Parameters
    ----------
    volume : Volume
        Finite; several channels become a fourth axis.
    path : path
        Ending in .nii.gz, .nii, .mgz or .mgh.
    overwrite : bool
        Replace a file at `path`, in one step.
    sidecar : dict or None
        Written as JSON beside the image, with size, shape and SHA-256 of the output added. None writes none.
    description : str
        For the header, after name and version. Without "synthetic" in it the image is not known as ours again.
    dtype : str
        ``float32``, or ``int16`` or ``uint8``: rounded and clipped, never scaled.
    inputs : paths
        Files that must never be written to.

    Raises
    ------
    UsageError, Refusal, SetupError
        As `check_output`, and E703 disk full.
    ValueError
        Voxels that are not finite, or a type that is not offered.
    """
    path = check_output(path, inputs=inputs, overwrite=overwrite)
    image = _image(volume, suffix(path), description, dtype)
    packed = suffix(path) in (".nii.gz", ".mgz")
    content = _compress(image.payload) if packed else image.payload
    text = None if sidecar is None else _json(sidecar, image, content)  # fails, if it must, before anything is written
    _place(path, content, overwrite, image)
    if text is not None:
        _place(sidecar_path(path), text, overwrite, None)
    return path


def save(volume: Volume, path: PathLike, *, overwrite: bool = False, dtype: str = "float32") -> Path:
    """Write an image without sidecar; see `write`."""
    return write(volume, path, overwrite=overwrite, dtype=dtype, description="image")


def _same(path: Path, source: Path) -> bool:
    """Whether two names lead to one file, by device and inode."""
    try:
        return os.path.samestat(path.stat(), source.stat())
    except OSError:
        return False


def _image(volume: Volume, end: str, description: str, dtype: str) -> _Image:
    """The uncompressed bytes of a file with a new header."""
    values = _voxels(volume, dtype)
    affine = np.asarray(volume.affine)
    if end.startswith(".mg"):
        big = values.astype(values.dtype.newbyteorder(">"))
        payload = mgh.build(values.shape, affine, values.dtype) + big.tobytes(order="F")
    else:
        payload = _nifti_header(values, affine, description) + values.tobytes(order="F")
    return _Image(payload, values.shape, affine, dtype)


def _voxels(volume: Volume, dtype: str) -> np.ndarray:
    """(I, J, K) or (I, J, K, C) array of the type asked for."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype is one of {', '.join(DTYPES)}, not {dtype!r}.")
    values = np.moveaxis(volume.data.detach().cpu().numpy(), 0, -1)
    values = values[..., 0] if values.shape[-1] == 1 else values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values.size - int(np.isfinite(values).sum())
        raise ValueError(f"{bad} voxels are NaN or infinite; an image must be finite to be written.")
    if dtype == "float32":
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("Values exceed float32; rescale the image.")
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _nifti_header(values: np.ndarray, affine: np.ndarray, description: str) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=1)
    # A qform cannot hold shear: rather none than one that disagrees.
    straight = geometry.shear(affine) < 0.01
    header.set_qform(affine, code=1 if straight else 0)
    header["descrip"] = f"isomorph {version('isomorph')} {description}".encode("ascii", "replace")[:79]
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header.binaryblock + b"\0\0\0\0"


def _compress(payload: bytes) -> bytes:
    """Gzip without name and time, so that the same image has the same bytes."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0) as file:
        file.write(payload)
    return out.getvalue()


def _json(sidecar: dict[str, Any], image: _Image, content: bytes) -> bytes:
    output = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "shape": list(image.shape),
        "affine": image.affine.tolist(),
        "dtype": image.dtype,
    }
    merged = {"tool": "isomorph", "version": version("isomorph"), "synthetic": True} | sidecar
    merged["output"] = dict(sidecar.get("output", {})) | output
    try:
        return (json.dumps(merged, indent=2, allow_nan=False, ensure_ascii=True) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"The sidecar is not JSON ({error}); give plain numbers, text, lists and dicts.") from None


def _place(path: Path, content: bytes, overwrite: bool, image: _Image | None) -> None:
    """Write under a temporary name in the same folder, flush, verify, rename, flush the folder."""
    temporary = path.with_name(f".{_short(path.name)}.{uuid.uuid4().hex}.tmp{suffix(path) or path.suffix}")
    try:
        # The kernel applies the umask: mkstemp would leave 0600.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        _verify(temporary, content, image)
        _rename(temporary, path, overwrite)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _setup(error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    return os.fsencode(name)[:100].decode(errors="ignore")


def _rename(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        # A hard link fails where a file exists; a rename would replace what another process just wrote.
        os.link(temporary, path)
    except FileExistsError:
        raise Refusal("E705", f"{escape(path.name)} exists already", "choose another output or --overwrite") from None
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        if path.exists():
            raise Refusal(
                "E705", f"{escape(path.name)} exists already", "choose another output or --overwrite"
            ) from None
        os.replace(temporary, path)


def _verify(path: Path, content: bytes, image: _Image | None) -> None:
    """Read back what was written: bytes, checksum, voxels, place."""
    written = path.read_bytes()
    good = written == content
    if good and image is not None:
        size = len(image.payload)
        unpacked = container.unpack(written, container.compression(written), keep=size, cap=size)
        block = bytes(unpacked.data[:512])
        parsed = mgh.parse(block) if suffix(path).startswith(".mg") else nifti.parse(block, ".nii")
        place = parsed.claims.sform if parsed.claims.sform is not None else np.zeros((4, 4))
        good = unpacked.data == image.payload and parsed.shape == image.shape
        good = good and bool(np.allclose(place, image.affine, rtol=1e-5, atol=1e-3))
    if not good:
        raise SetupError("E703 the image read back differs from the one written; check the disk, then try again")


def _setup(error: OSError) -> SetupError:
    if error.errno in FULL:
        return SetupError("E703 the disk or quota is full, nothing was left behind; make space, then run again")
    if error.errno == errno.ENAMETOOLONG:
        return SetupError("E704 the output path is too long; shorten it")
    why = os.strerror(error.errno).lower() if error.errno else "unknown error"
    return SetupError(f"E702 the output cannot be written ({why}); choose another folder or change its permissions")
