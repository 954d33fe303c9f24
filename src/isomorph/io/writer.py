"""The one way out: an image at its final path is complete and verified at every instant, or not there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from isomorph.errors import SetupError, escape
from isomorph.io import container, geometry, mgh, nifti
from isomorph.io.names import sidecar_path, suffix
from isomorph.io.target import PathLike, check_output, outdated, present, trouble
from isomorph.place import aside, rename, staged, sync
from isomorph.volume import Volume

DTYPES = ("float32", "int16", "uint8")
LEVEL = 3  # of gzip: 6 takes twice as long for 2 % less


@dataclass(frozen=True)
class _Image:
    """Bytes to write, and what they must read back as."""

    payload: bytes
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Output:
    """An image that is to be written with others.

    Parameters
    ----------
    volume, path, sidecar, description, dtype, root
        As for `write`.
    """

    volume: Volume
    path: PathLike
    sidecar: dict[str, Any] | None = None
    description: str = "synthetic"
    dtype: str = "float32"
    root: PathLike | None = None


@dataclass(frozen=True)
class _File:
    """A file to come, and the image that it must read back as, if it is one."""

    path: Path
    content: bytes
    image: _Image | None = None


def write(
    volume: Volume,
    path: PathLike,
    *,
    overwrite: bool = False,
    sidecar: dict[str, Any] | None = None,
    description: str = "synthetic",
    dtype: str = "float32",
    inputs: Iterable[PathLike] = (),
    root: PathLike | None = None,
) -> Path:
    """Write an image and its sidecar, verify both, then give them their names: the sidecar last, or neither.

    Parameters
    ----------
    volume : Volume
        Finite; several channels become a fourth axis.
    path : path
        Ending in .nii.gz, .nii, .mgz or .mgh.
    overwrite : bool
        Replace a file at `path`, in one step.
    sidecar : dict or None
        Written as JSON beside the image, with size, shape and SHA-256 of the output added. None writes none, and
        removes one of ours that is false of the new image.
    description : str
        For the header, after name and version. Without "synthetic" in it the image is not known as ours again.
    dtype : str
        ``float32``, or ``int16`` or ``uint8``: rounded and clipped, never scaled.
    inputs : paths
        Files that must never be written to.
    root : path, optional
        Folder that the output must stay in, links resolved.

    Raises
    ------
    UsageError, Refusal, SetupError
        As `check_output`, and E703 disk full.
    ValueError
        Voxels that are not finite, or a type that is not offered.
    """
    output = Output(volume=volume, path=path, sidecar=sidecar, description=description, dtype=dtype, root=root)
    write_all([output], overwrite=overwrite, inputs=inputs)
    return Path(path)


def write_all(
    outputs: Sequence[Output],
    *,
    overwrite: bool = False,
    inputs: Iterable[PathLike] = (),
) -> None:
    """Write images and their sidecars: all of them or, if one cannot be, none.

    Nothing is replaced until everything is on the disk and verified. What was replaced is put back if another file
    then fails. A process that is killed in between leaves the first of them: what the others hang on comes last.

    Parameters
    ----------
    outputs : sequence of Output
    overwrite, inputs
        As for `write`.

    Raises
    ------
    UsageError, Refusal, SetupError, ValueError
        As `write`.
    """
    inputs, files = list(inputs), []
    for output in outputs:  # fails, if it must, before anything is written
        beside = output.sidecar is not None
        check_output(output.path, inputs=inputs, overwrite=overwrite, root=output.root, json=beside)
        files += _files(output)
    stale = {sidecar_path(o.path) for o in outputs if overwrite and o.sidecar is None and outdated(o.path)}
    try:
        for file in files:  # another run may have found its folder empty at the end, and taken it away
            file.path.parent.mkdir(parents=True, exist_ok=True)
        _settle(files, overwrite, stale - {file.path for file in files})
    except OSError as error:
        raise trouble(error, outputs[-1].path) from None


def _files(output: Output) -> list[_File]:
    """The bytes of an image and of its sidecar."""
    path = Path(output.path)
    image = _image(output.volume, suffix(path), output.description, output.dtype)
    content = _compress(image.payload) if suffix(path) in (".nii.gz", ".mgz") else image.payload
    if output.sidecar is None:
        return [_File(path, content, image)]
    return [_File(path, content, image), _File(sidecar_path(path), _json(output.sidecar, image, content))]


def save(volume: Volume, path: PathLike, *, overwrite: bool = False, dtype: str | None = None) -> Path:
    """Write an image without sidecar, as the numbers it holds unless `dtype` says otherwise; see `write`.

    A JSON that isomorph wrote for an image that is now replaced goes with it; any other is left alone.
    """
    own = str(volume.data.dtype).removeprefix("torch.")
    return write(
        volume, path, overwrite=overwrite, dtype=dtype or (own if own in DTYPES else "float32"), description="image"
    )


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


def _settle(files: Sequence[_File], overwrite: bool, stale: Iterable[Path]) -> None:
    """Write everything under temporary names, verify, then rename in this order; last, remove what is now false."""
    with ExitStack() as stack:
        ready = [(file, stack.enter_context(staged(file.path, file.content))) for file in files]
        for file, temporary in ready:
            _verify(temporary, file)
        paths = [*(file.path for file in files), *stale]
        before = {path: stack.enter_context(aside(path)) for path in paths if overwrite}
        placed: list[Path] = []
        try:
            for file, temporary in ready:
                rename(temporary, file.path, overwrite=overwrite)
                placed.append(file.path)
            for path in stale:
                path.unlink(missing_ok=True)
                placed.append(path)
            for folder in {path.parent for path in placed}:
                sync(folder)
        except BaseException as error:
            _undo(placed, before)
            if isinstance(error, FileExistsError):
                raise present(next(file.path for file in files if file.path not in placed)) from None
            raise


def _undo(placed: Sequence[Path], before: Mapping[Path, Path | None]) -> None:
    """Put back what was replaced, and take away what is new."""
    try:
        for path in reversed(placed):
            if (was := before.get(path)) is None:
                path.unlink(missing_ok=True)
            else:
                os.replace(was, path)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise SetupError(f"E702 some outputs were replaced, others were not ({why}); run it again") from None


def _verify(path: Path, file: _File) -> None:
    """Read back what was written: bytes, checksum, voxels, place."""
    written, image = path.read_bytes(), file.image
    good = written == file.content
    if good and image is not None:
        size = len(image.payload)
        unpacked = container.unpack(written, container.compression(written), keep=size, cap=size)
        block = bytes(unpacked.data[:512])
        parsed = mgh.parse(block) if suffix(file.path).startswith(".mg") else nifti.parse(block, ".nii")
        place = parsed.claims.sform if parsed.claims.sform is not None else np.zeros((4, 4))
        good = unpacked.data == image.payload and parsed.shape == image.shape
        good = good and bool(np.allclose(place, image.affine, rtol=1e-5, atol=1e-3))
    if not good:
        said = f"E703 {escape(file.path.name)} read back differs from what was written"
        raise SetupError(f"{said}; check the disk, then try again")
