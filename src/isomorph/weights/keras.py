"""Published weights of SynthSR, which are Keras files, as models of this package.

An HDF5 file can refer to other files, make itself out to be huge, or be malformed in ways that its library does not
expect. So the file is read once under a limit, only the 28 places where weights must be are looked at, only plain
arrays stored in the file itself are read, and each has its shape checked before a single number of it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import SetupError, UsageError, escape, not_installed
from ..nets import UNet
from ..nets.residual import Residual
from .file import save_model
from .original import CARDS, KNOWN, Original

LARGEST = 1 << 30  # bytes: five times the largest of them, two networks and the state of an optimiser
MOST = 10_000  # entries of a group: a generator has some hundred layers
LEVELS = 5
CHANNELS = (1, 2)  # T1 and T2, or a scan and its reliability; intensity, or intensity and its spread
PARTS = {  # of a layer, as Keras and as PyTorch call them
    "conv": {"kernel": "weight", "bias": "bias"},
    "bn": {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"},
}
OURS = re.compile(r"unet_(conv_(down|up)arm_\d+_\d+|bn_(down|up)_\d+|likelihood.*)")
AGAIN = "; fetch the file again."


def layers() -> dict[str, str]:
    """The 28 layers that carry weights: name in the Keras file -> name in `isomorph.nets.UNet`."""
    table = {}
    for side, arm, first in (("down", "downarm", 0), ("up", "uparm", LEVELS)):
        for level in range(LEVELS if side == "down" else LEVELS - 1):
            for number, leaf in enumerate(("first", "second")):
                table[f"unet_conv_{arm}_{first + level}_{number}"] = f"{side}.{level}.{leaf}"
            table[f"unet_bn_{side}_{level}"] = f"{side}.{level}.norm"
    return table | {"unet_likelihood": "head"}


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    kind: str | None = None,
    overwrite: bool = False,
) -> tuple[dict[str, Any], str]:
    """Turn a Keras file of SynthSR into a model of this package, in float32.

    Parameters
    ----------
    source : path
        Weights alone, or a whole model with its weights under ``/model_weights``.
    target : path
        Ending in .safetensors. Its folder is made if need be.
    kind : {"v1", "v2", "lowfield", "hyperfine"}, optional
        Of a file that is not known by its SHA-256. Without it a network of one input counts as the user's own.
    overwrite : bool
        Replace a file at `target`.

    Returns
    -------
    card : dict
    sha256 : str
        Of the new file.

    Raises
    ------
    UsageError
        The kind is unknown, missing, or not that of a known file; or the target is there, or has another ending.
    SetupError
        E902 the file is damaged or no HDF5; E903 a layer is missing, is one too many, has another shape or holds
        values that are not finite; E905 h5py is missing.
    """
    path, out = Path(source), Path(target)
    if out.suffix != ".safetensors":
        raise UsageError(f"the output {escape(out.name)!r} must end in .safetensors")
    if out.exists() and not overwrite:
        raise UsageError(f"{escape(out.name)} exists already; choose another output or --overwrite")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"the output {escape(out.name)} is the input itself; choose another output.")
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    kind = _kind(kind, sha256, path)
    state = read_keras(content, path.name)
    inputs, outputs = state["down.0.first.weight"].shape[1], state["head.weight"].shape[0]
    arguments, origin = {"inputs": inputs, "outputs": outputs}, {"file": path.name, "sha256": sha256}
    card: dict[str, Any] = _card(kind, inputs, path, out) | {"arguments": arguments, "source": origin}
    network: nn.Module = UNet(inputs, outputs)
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    network.load_state_dict(state | counters)
    network = Residual(network, card["residual"]) if "residual" in card else network
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return card, save_model(out, network, card, half=False)
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "unknown error"
        raise SetupError(f"E702 {escape(out.name)} cannot be written ({why}); choose another folder.") from None


def read_keras(content: bytes, name: str) -> dict[str, torch.Tensor]:
    """Weights of a Keras file under the names of `isomorph.nets.UNet`, checked one by one.

    Parameters
    ----------
    content : bytes
        Of the file.
    name : str
        Of the file, for messages.

    Raises
    ------
    SetupError
        E902, E903, E905 as of `convert`.
    """
    try:
        import h5py
    except ImportError:
        raise not_installed("reading .h5", "h5py", "keras") from None
    said = escape(name)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return _read(file, said)
    except SetupError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads it to
        why = " ".join(str(error).split())[:80]
        raise SetupError(f"E902 {said} is damaged or not a Keras .h5 file ({escape(why)}); fetch it again.") from None


def _content(path: Path) -> bytes:
    """The whole file, read once: what is hashed is what is parsed."""
    said = escape(path.name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise SetupError(f"E904 {said} is no file; give a Keras .h5 file.")
            if info.st_size > LARGEST:
                raise SetupError(f"E902 {said} is larger than {LARGEST >> 30} GB, as no such weights are{AGAIN}")
            return file.read(LARGEST)
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "unknown error"
        raise SetupError(f"E904 {said} cannot be opened ({why}); give a Keras .h5 file.") from None


def _kind(kind: str | None, sha256: str, path: Path) -> str | None:
    """What a file is: by its hash if it is known, else as the user says."""
    if kind is not None and kind not in CARDS:
        raise UsageError(f"--kind is {kind!r}; choose from {', '.join(CARDS)}.")
    known = KNOWN.get(sha256)
    if known and kind not in (None, known):
        raise UsageError(f"{escape(path.name)} is known by its SHA-256 to be {known}, not {kind}; leave --kind out.")
    return known or kind


def _card(kind: str | None, inputs: int, path: Path, out: Path) -> dict[str, Any]:
    said = escape(path.name)
    if kind is None and inputs != 1:
        raise UsageError(f"{said} has {inputs} inputs and is not a known file; say --kind hyperfine if it is one.")
    original = CARDS[kind] if kind else Original(out.stem, 1, "unknown: that of the Keras file", "unknown")
    if original.inputs != inputs:
        raise SetupError(f"E903 {said} has {inputs} inputs, {kind} has {original.inputs}; choose another --kind.")
    return original.card(kind or "own")


def _read(file: Any, said: str) -> dict[str, torch.Tensor]:
    root = _group(file, "model_weights", said) if "model_weights" in file else file
    if len(root) > MOST:
        raise SetupError(f"E903 {said} has {len(root)} layers, a network has 28{AGAIN}")
    table = layers()
    if extra := sorted(name for name in root if OURS.fullmatch(name) and name not in table and len(root[name])):
        raise SetupError(f"E903 {said} has layers that the network has not: {', '.join(map(escape, extra[:3]))}{AGAIN}")
    if missing := [name for name in table if name not in root]:
        raise SetupError(f"E903 {said} lacks {len(missing)} of 28 layers: {', '.join(missing[:3])}{AGAIN}")
    groups = {name: _group(_group(root, name, said), name, said) for name in table}
    first, head = (_array(groups[name], name, "kernel", said) for name in ("unet_conv_downarm_0_0", "unet_likelihood"))
    inputs, outputs = (array.shape[axis] if array.ndim == 5 else 0 for array, axis in ((first, 3), (head, 4)))
    if not {inputs, outputs} <= set(CHANNELS):
        raise SetupError(f"E903 {said} has {inputs} inputs and {outputs} outputs; 1 or 2 of each are possible.")
    with torch.device("meta"):  # shapes only
        expected = {k: tuple(v.shape) for k, v in UNet(inputs, outputs).state_dict().items()}
    state = {}
    for name, ours in table.items():
        parts = PARTS["bn" if "_bn_" in name else "conv"]
        if len(groups[name]) != len(parts):
            raise SetupError(f"E903 {said}: {name} has {len(groups[name])} weights, expected {', '.join(parts)}{AGAIN}")
        for part, leaf in parts.items():
            array = _array(groups[name], name, part, said)
            state[f"{ours}.{leaf}"] = _tensor(array, expected[f"{ours}.{leaf}"], f"{said}: {name}/{part}")
    return state


def _group(parent: Any, name: str, said: str) -> Any:
    """A group inside a group; never by way of a link, which can lead into another file."""
    import h5py

    if not isinstance(parent.get(name, getlink=True), h5py.HardLink) or not isinstance(parent[name], h5py.Group):
        raise SetupError(f"E903 {said}: {name} is not a layer stored in this file{AGAIN}")
    return parent[name]


def _array(group: Any, layer: str, part: str, said: str) -> Any:
    """An array of a layer: ``kernel:0`` in older files, ``kernel`` in those of Keras 3."""
    import h5py

    names = [name for name in (part, f"{part}:0") if name in group]
    if len(names) != 1:
        raise SetupError(f"E903 {said}: {layer} has {'two of' if names else 'no'} {part}{AGAIN}")
    if not isinstance(group.get(names[0], getlink=True), h5py.HardLink):
        raise SetupError(f"E903 {said}: {layer}/{part} is a link; weights must be stored in the file.")
    if not isinstance(group[names[0]], h5py.Dataset):
        raise SetupError(f"E903 {said}: {layer}/{part} is no array{AGAIN}")
    return group[names[0]]


def _tensor(array: Any, shape: tuple[int, ...], what: str) -> torch.Tensor:
    """The numbers, in the order of PyTorch, once everything about them is as it must be."""
    import h5py

    keras = (*shape[2:], shape[1], shape[0]) if len(shape) == 5 else shape
    if array.shape != keras:
        raise SetupError(f"E903 {what} has the shape {array.shape}, expected {keras}{AGAIN}")
    plain = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)  # neither packed, nor made of other arrays
    properties = array.id.get_create_plist()
    stored = array.dtype.kind == "f" and array.id.get_storage_size() == array.size * array.dtype.itemsize
    if not stored or properties.get_layout() not in plain or properties.get_external_count():
        raise SetupError(f"E903 {what} is not stored as plain numbers in this file{AGAIN}")
    with np.errstate(over="ignore"):  # said below
        values = np.asarray(array[()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise SetupError(f"E903 {what} holds values that are not finite{AGAIN}")
    if what.endswith("moving_variance") and (values < 0).any():
        raise SetupError(f"E903 {what} holds negative variances{AGAIN}")
    tensor = torch.from_numpy(values.copy())
    return tensor.permute(4, 3, 0, 1, 2).contiguous() if len(shape) == 5 else tensor
