"""A model is one file: safetensors, with everything that prediction must know as JSON metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import nn

from ..errors import SetupError
from ..nets import build
from ..place import place
from .card import AGAIN, KEY, REQUIRED, card_of, samples_of, scans_of, sharpens

LARGEST = 2 << 30  # bytes
NAME = 60  # letters of a name that are told: hundreds would hide what is wrong with it
HEADER = 100_000_000  # bytes, the most that safetensors itself reads
SHIPPED = Path(__file__).parent
OWN = ".isomorph"  # in the home folder: models that the user converted or trained, known by their names


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to run, and its card.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode, float32; ``network.multiple`` is what each axis of its input must be a multiple of.
    card : dict
        The metadata of the file: ``name``, ``network``, ``arguments``, ``residual`` (input channels that the outputs
        are added to), ``kind`` (synthesis or segmentation), ``labels`` (of a segmentation, one for each output),
        ``reliability`` (whether it reads, after the scan, which of its voxels were measured),
        ``target`` (a contrast, or the number of the scan that is made sharp),
        ``compat`` (of converted weights: by whose rules they run, see `predict.compat`),
        ``white_matter`` (level of white matter in the raw output), ``data``, ``licence``, recipe, scores.
    sha256 : str
        Of the whole file.
    """

    network: nn.Module
    card: dict[str, Any]
    sha256: str


def save_model(path: str | Path, network: nn.Module, card: dict[str, Any], *, half: bool = True) -> str:
    """Write a network and its card; replaces an older file in one step.

    Parameters
    ----------
    path : path of a ``.safetensors`` file
    network : nn.Module
    card : dict
        JSON; must hold `REQUIRED`.
    half : bool
        Store float16 (half the size; on the default model it moved the output by 0.006 % of white matter), but for
        tensors with a value that it cannot hold.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    SetupError
        E903 if a weight is not finite: `load_model` would refuse such a file. The older one is untouched.
    """
    if missing := REQUIRED - card.keys():
        raise ValueError(f"A model card needs {sorted(missing)}.")
    path, kept = Path(path), {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    state = {k: v.detach().cpu().float().contiguous() for k, v in kept.items()}
    if bad := _infinite(state):
        said = f"E903 {path.name} was not written, since weights are not finite in {bad[:3]}"
        raise SetupError(f"{said}; train again with a lower learning_rate.")
    state = {k: _halved(v) for k, v in state.items()} if half else state
    content = serialise(state, metadata={KEY: json.dumps(card, allow_nan=False)})
    place(path, content)
    return hashlib.sha256(content).hexdigest()


def _halved(x: torch.Tensor) -> torch.Tensor:
    """As float16, if that holds all values: a variance may be beyond it, and no model is lost for that."""
    small = x.half()
    return small if small.isfinite().all() else x


def _infinite(state: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that are not finite."""
    return sorted(k for k, v in state.items() if not v.isfinite().all())


def load_model(model: str | Path = "default") -> Model:
    """Load a shipped model by name, or any ``.safetensors`` file of this package.

    Parameters
    ----------
    model : str or path
        A name listed by `isomorph models`, or a file.

    Raises
    ------
    SetupError
        If there is no such model, or the file is damaged, incomplete or not one of ours.
    """
    path = locate(model)
    with _readable(path):
        if path.stat().st_size > LARGEST:
            raise SetupError(f"E902 {path.name} is larger than {LARGEST >> 30} GB, as no model is; choose another.")
        content = path.read_bytes()  # read once: what is hashed is what is parsed
    card = card_of(content, path)
    try:
        with torch.device("meta"):  # shapes only: nothing is allocated on the word of a file
            network = build(card["network"], card["arguments"], card.get("residual", ()))
    except (ValueError, TypeError, LookupError) as error:
        said = f"E903 the network of {path.name} cannot be built ({str(error).rstrip('.')})"
        raise SetupError(f"{said}{AGAIN}") from None
    try:
        state = parse(content)
    except SafetensorError as error:
        raise SetupError(f"E902 {path.name} is damaged ({error}); fetch it again.") from None
    _fill(network, state, path)
    return Model(network.eval(), card, hashlib.sha256(content).hexdigest())


def channels(model: Model) -> int:
    """How many scans a network takes at once.

    Parameters
    ----------
    model : Model
    """
    return scans_of(model.card)


def synthesises(model: Model, *, exam: bool = False) -> Model:
    """The same model, if it makes an image of one scan.

    Parameters
    ----------
    model : Model
    exam : bool
        Or of several scans of one exam, which are at hand.

    Raises
    ------
    SetupError
        If it gives labels, or wants several scans at once, and one alone would not do.
    """
    name = model.card.get("name", "this model")
    if model.card.get("kind", "synthesis") != "synthesis":
        raise SetupError(f"E906 {name} gives labels, not an image; choose a model that synthesises.")
    scans = channels(model)
    if scans != 1 and not exam and not interchangeable(model):
        raise SetupError(f"E906 {name} wants {scans} scans of one exam; choose a model for single scans.")
    return model


def interchangeable(model: Model) -> bool:
    """Whether a model takes the scans of an exam in any order, or one alone: in training all channels were alike, and
    the first was always there.

    Parameters
    ----------
    model : Model
    """
    samples = samples_of(model.card)
    alike = not any(samples.get("channels") or ())  # a table says what is different about a channel
    return bool(samples.get("leads") and samples.get("dropout")) and alike and not sharpens(model.card)


def shipped() -> list[Path]:
    """Files of the models that come with the package."""
    return sorted(SHIPPED.glob("*.safetensors"))


def own_folder() -> Path:
    """Where a user may put models, to call them by name; with its ``~`` where nobody knows a home folder."""
    return Path(os.path.expanduser(f"~/{OWN}"))  # that of pathlib would raise there


def own() -> list[Path]:
    """Files of the user's own models; none where there is no home folder, or it may not be entered."""
    folder = own_folder()
    try:
        return sorted(folder.glob("*.safetensors")) if folder.is_absolute() else []
    except OSError:  # HOME is that of another user, as in a container
        return []


def collected() -> dict[str, Path]:
    """All models that are known by name: those of the user, and those that come with the package, which come first."""
    return {path.stem: path for path in [*own(), *shipped()]}


def digest(path: str | Path) -> str:
    """SHA-256 of a model file, as it stands in the JSON of each output."""
    with _readable(path := Path(path)):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def read_card(model: str | Path) -> dict[str, Any]:
    """Card of a model, by its name or file, without building the network."""
    path = locate(model)
    with _readable(path), path.open("rb") as file:
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), HEADER))
    return card_of(start, path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A file that cannot be read is no bug."""
    try:
        yield
    except OSError as error:
        said = f"E904 {path.name[:NAME]} cannot be read ({error.strerror})"
        raise SetupError(f"{said}; check its path and permissions.") from None


def locate(model: str | Path) -> Path:
    """File of a model, by its name or path.

    Parameters
    ----------
    model : name of a model that is known, or a path

    Raises
    ------
    SetupError
        E901 another kind of file, E904 there is none, or none that may be seen.
    """
    named = collected()
    if str(model) in named:
        return named[str(model)]
    path = Path(model)
    with _readable(path):  # a name that is too long, or a folder that may not be entered
        there = path.is_file()
    if path.suffix == ".h5" and there:
        raise SetupError(
            f"E901 {path.name} is a Keras file; type: isomorph convert-weights {path.name} OUT.safetensors"
        )
    if path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".h5", ".npz"}:
        raise SetupError(f"E901 {path.name} may be a pickle, which can run code; give a .safetensors model.")
    if not there:
        raise SetupError(
            f"E904 no model called {str(model)!r}; choose from {sorted(named)} or give a .safetensors file."
        )
    return path


def _fill(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Strict: every tensor there, none left over, right shapes, all finite."""
    expected = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    wrong = sorted(expected.keys() ^ state.keys())
    wrong += sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
    if wrong:
        said = f"E903 {path.name} does not fit its network: {wrong[:3]} of {len(wrong)} tensors differ"
        raise SetupError(f"{said}{AGAIN}")
    state = {k: v.float() for k, v in state.items()}
    if bad := _infinite(state):  # here, not before: float64 goes further
        raise SetupError(f"E903 {path.name} holds values that are not finite in {bad[:3]}; fetch it again.")
    network.load_state_dict(state, strict=False, assign=True)
    for name, buffer in list(network.named_buffers()):  # counters of batch norm: not stored, not used in evaluation
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            network.get_submodule(owner).register_buffer(leaf, torch.zeros_like(buffer, device="cpu"))
