"""A model is one file: safetensors, with everything that prediction must know as JSON metadata."""

from __future__ import annotations

import hashlib
import json
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

AGAIN = "; fetch it again, or update isomorph."
KEY = "isomorph"  # the metadata entry that holds the card
LARGEST = 2 << 30  # bytes
HEADER = 100_000_000  # bytes, the most that safetensors itself reads
SHIPPED = Path(__file__).parent
OWN = ".isomorph"  # in the home folder: models that the user converted or trained, known by their names
REQUIRED = {"name", "network", "arguments", "white_matter", "licence", "data"}


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
        Store float16 (half the size; on the default model it moved the output by 0.006 % of white matter).

    Returns
    -------
    str
        SHA-256 of the file.
    """
    if missing := REQUIRED - card.keys():
        raise ValueError(f"A model card needs {sorted(missing)}.")
    kind = torch.float16 if half else torch.float32
    state = {
        k: v.detach().cpu().to(kind).contiguous() for k, v in network.state_dict().items() if v.is_floating_point()
    }
    content = serialise(state, metadata={KEY: json.dumps(card, allow_nan=False)})
    place(Path(path), content)
    return hashlib.sha256(content).hexdigest()


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
    card = _card(content, path)
    try:
        with torch.device("meta"):  # shapes only: nothing is allocated on the word of a file
            network = build(card["network"], card["arguments"], card.get("residual", ()))
    except (ValueError, TypeError) as error:
        raise SetupError(f"E903 {path.name}: {str(error).rstrip('.')}{AGAIN}") from None
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
    return int(model.card.get("arguments", {}).get("inputs", 1)) // (2 if model.card.get("reliability") else 1)


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


def sharpens(card: dict[str, Any]) -> bool:
    """Whether a model gives not a T1 but the (first) scan, sharpened, in its own contrast: its target was the scan.

    Parameters
    ----------
    card : dict
    """
    return isinstance(card.get("target"), int)


def tomographic(card: dict[str, Any]) -> bool:
    """Whether a model was trained on CT alone, in Hounsfield units.

    Parameters
    ----------
    card : dict
    """
    return samples_of(card).get("contrast", {}).get("kind") == "hounsfield"


def samples_of(card: dict[str, Any]) -> dict[str, Any]:
    """What the recipe of a model says of its training samples: its table ``generator``; empty where there is none.

    Parameters
    ----------
    card : dict
    """
    return card.get("recipe", {}).get("generator", {})


def shipped() -> list[Path]:
    """Files of the models that come with the package."""
    return sorted(SHIPPED.glob("*.safetensors"))


def own_folder() -> Path:
    """Where a user may put models, to call them by name."""
    return Path("~", OWN).expanduser()


def collected() -> dict[str, Path]:
    """All models that are known by name: those of the user, and those that come with the package, which come first."""
    return {path.stem: path for path in [*sorted(own_folder().glob("*.safetensors")), *shipped()]}


def digest(path: str | Path) -> str:
    """SHA-256 of a model file, as it stands in the JSON of each output."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_card(model: str | Path) -> dict[str, Any]:
    """Card of a model, by its name or file, without building the network."""
    path = locate(model)
    with _readable(path), path.open("rb") as file:
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), HEADER))
    return _card(start, path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A file that cannot be read is no bug."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"E904 {path.name} cannot be read ({error.strerror}); check its permissions.") from None


def locate(model: str | Path) -> Path:
    """File of a model, by its name or path.

    Parameters
    ----------
    model : name of a model that is known, or a path

    Raises
    ------
    SetupError
        E901 another kind of file, E904 there is none.
    """
    named = collected()
    if str(model) in named:
        return named[str(model)]
    path = Path(model)
    if path.suffix == ".h5" and path.is_file():
        raise SetupError(
            f"E901 {path.name} is a Keras file; type: isomorph convert-weights {path.name} OUT.safetensors"
        )
    if path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".h5", ".npz"}:
        raise SetupError(f"E901 {path.name} may be a pickle, which can run code; give a .safetensors model.")
    if not path.is_file():
        raise SetupError(
            f"E904 no model called {str(model)!r}; choose from {sorted(named)} or give a .safetensors file."
        )
    return path


def _card(content: bytes, path: Path) -> dict[str, Any]:
    try:
        size = int.from_bytes(content[:8], "little")
        if not 0 < size <= len(content) - 8:
            raise ValueError("header length")
        header = json.loads(content[8 : 8 + size], object_pairs_hook=_unique)
        card = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SetupError(f"E902 {path.name} is damaged or not an isomorph model ({error}); fetch it again.") from None
    missing = REQUIRED - (card.keys() if isinstance(card, dict) else set())
    if missing:
        raise SetupError(f"E903 {path.name} has no {sorted(missing)} in its card; fetch it again.")
    white = card["white_matter"]
    if not isinstance(white, int | float) or not 0 < white < float("inf"):
        raise SetupError(f"E903 {path.name} puts white matter at {white!r}, a positive number is needed.")
    if not isinstance(card["arguments"], dict) or not isinstance(card["network"], str):
        raise SetupError(f"E903 {path.name} does not say which network it holds; fetch it again.")
    return card


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key appears twice")
    return table


def _fill(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Strict: every tensor there, none left over, right shapes, all finite."""
    expected = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    wrong = sorted(expected.keys() ^ state.keys())
    wrong += sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
    if wrong:
        said = f"E903 {path.name} does not fit its network: {wrong[:3]} of {len(wrong)} tensors differ"
        raise SetupError(f"{said}{AGAIN}")
    if bad := sorted(k for k, v in state.items() if not v.isfinite().all()):
        raise SetupError(f"E903 {path.name} holds values that are not finite in {bad[:3]}; fetch it again.")
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False, assign=True)
    for name, buffer in list(network.named_buffers()):  # counters of batch norm: not stored, not used in evaluation
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            network.get_submodule(owner).register_buffer(leaf, torch.zeros_like(buffer, device="cpu"))
