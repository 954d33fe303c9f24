"""Recipes: dataclasses <-> TOML, with dotted overrides; nothing else."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError

from .errors import UsageError
from .include import included
from .losses import LOSSES
from .nets import build
from .override import override
from .structures import STRUCTURES
from .synth import ANATOMY, CONTRASTS, CORRUPTIONS, Channel, Generator, Motion

Table = dict[str, Any]
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LARGEST = 1 << 20  # bytes of a recipe
# Not of one channel.
OPTIONS = ("target", "reliability", "own", "dropout", "leads", "lesions_in_target", "lesions_in_labels")
CHANNEL = ("contrast", "order", "motion")  # of each channel, beside its corruptions


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which network, and its arguments."""

    kind: str = "compact"
    arguments: Table = field(default_factory=dict)
    residual: tuple[int, ...] = ()  # the input channel that each output is added to; none: the output is the image


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the training with settings of its own: a curriculum is a list of these."""

    steps: int
    batch: int = 1
    loss: dict[str, float] = field(default_factory=lambda: {"l1": 1.0})
    learning_rate: float = 1e-3  # highest: it rises, then falls, within each stage
    part: str = ""  # of the network, where it can be trained in parts
    set: tuple[str, ...] = ()  # dotted overrides of the generator, such as "contrast.random=0.1"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained."""

    stages: tuple[Stage, ...] = (Stage(steps=1000),)
    segmenter: str = ""  # model file of a segmentation network, which the loss dice looks through
    outside: float = 0.3  # weight of what is not brain in the loss
    lesions: float = 1.0  # weight of what a scan may show and the T1 does not: lesions, and enhanced choroid plexus
    minutes: float = 0.0  # after which a recipe of one stage ends, whatever its steps. 0: it ends after its steps
    warmup: int = 100  # steps, of each stage
    final: float = 0.02  # of the learning rate, at the last step of a stage
    optimiser: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 1e-4
    clip: float = 1.0  # norm of the gradient
    average: float = 0.999  # of the weights, exponential: what is evaluated and shipped
    precision: str = "auto"  # bf16 where the hardware computes in it, else fp32
    micro: int = 0  # samples that a device holds at once; gradients of a larger batch are accumulated. 0: all
    log_every: int = 50  # steps
    save_every: int = 250  # steps
    validate_every: int = 500  # steps
    validate_samples: int = 12  # of the heads held out
    seed: int = 0

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage that a step belongs to, and how much of it is done, from 0 to 1; the last stage beyond the end."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step / stage.steps
            step -= stage.steps
        return self.stages[-1], 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a network comes out, but for the data."""

    name: str
    kind: Literal["synthesis", "segmentation"] = "synthesis"  # what the network gives
    classes: tuple[int, ...] = STRUCTURES  # that a segmentation tells apart, the background first
    licence: str = "as the data it was trained on"  # of the weights
    start: str = ""  # name or file of the model that it goes on from; none: from nothing
    network: Network = field(default_factory=Network)
    generator: Generator = Generator()
    training: Training = field(default_factory=Training)
    held_out: tuple[str, ...] = ()  # names of heads that are never trained on
    weights: dict[str, float] = field(default_factory=dict)  # name prefix -> how often such heads are drawn


def load(source: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    source : name of a recipe that comes with the package, or path of a TOML file
    overrides : ``dotted.key=value`` with TOML values, applied in order

    Raises
    ------
    UsageError
        If there is no such recipe, or it holds an unknown key or a value of the wrong type.
    """
    path = Path(source)
    try:
        table = tomllib.loads(_text(path) if path.suffix == ".toml" and path.is_file() else _shipped(str(source)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"recipe {source} is not TOML ({error}); see docs/recipes.md.") from None
    for change in overrides:
        override(table, change)
    return from_dict(included(table, path.parent))


def names() -> list[str]:
    """Recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in files("isomorph.recipes").iterdir() if p.name.endswith(".toml"))


def from_dict(table: Table) -> Recipe:
    """Build a recipe; missing keys keep the defaults of the dataclasses."""
    table = dict(table)
    generator = generator_from_dict(table.pop("generator", {}))
    for section in _sections(table):
        _known(*section)
    recipe = dataclasses.replace(_checked(Recipe, table, "recipe"), generator=generator)
    try:
        with torch.device("meta"):  # nothing is allocated
            build(recipe.network.kind, recipe.network.arguments, recipe.network.residual)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if recipe.training.precision not in PRECISIONS:
        raise UsageError(f"Unknown precision {recipe.training.precision!r}; choose from {PRECISIONS}.")
    for stage in recipe.training.stages:  # a mistake in the last stage should not wait for it
        if unknown := sorted(stage.loss.keys() - LOSSES.keys()):
            raise UsageError(f"Unknown loss {unknown}; choose from {sorted(LOSSES)}.")
        stage_generator(recipe, stage)
    return recipe


def to_dict(recipe: Recipe) -> Table:
    """The inverse of `from_dict`, with every default written out."""
    return dataclasses.asdict(recipe) | {"generator": generator_to_dict(recipe.generator)}


def generator_from_dict(table: Table) -> Generator:
    """Build a generator: sections are the settings of every channel; tables in ``channels`` say what is different."""
    known = {*OPTIONS, *ANATOMY, *CHANNEL, *CORRUPTIONS, "channels"}
    if unknown := sorted(table.keys() - known):
        raise UsageError(f"Unknown generator sections {unknown}; choose from {sorted(known)}.")
    common = {name: table[name] for name in table.keys() & {*CHANNEL, *CORRUPTIONS}}
    different = table.get("channels", [{}])
    if not (isinstance(different, list) and different and all(isinstance(own, dict) for own in different)):
        raise UsageError("generator.channels is a list of tables; write [[generator.channels]] for each.")
    tables = [_merged(common, own) for own in different]
    parts: Table = {name: _checked(cls, table.get(name, {}), name) for name, cls in ANATOMY.items()}
    channels = tuple(_channel(own) for own in tables)
    orders = [own.get("order", _order(Channel())) for own in tables]
    _busy(common, {name for order in orders for name in order})
    for own, order in zip(different, orders, strict=True):
        _busy(own, set(order))
    options = {name: table[name] for name in OPTIONS if name in table}
    return _checked(Generator, parts | {"channels": channels} | options, "generator")


def generator_to_dict(generator: Generator) -> Table:
    """The inverse of `generator_from_dict`: the first channel whole, of the others what is different."""
    table: Table = {name: getattr(generator, name) for name in OPTIONS}
    table |= {name: dataclasses.asdict(getattr(generator, name)) for name in ANATOMY}
    first, *others = (_channel_to_dict(channel) for channel in generator.channels)
    return table | first | ({"channels": [{}, *(_different(first, own) for own in others)]} if others else {})


def _busy(table: Table, order: set[str]) -> None:
    if idle := sorted((table.keys() & CORRUPTIONS.keys()) - order):
        raise UsageError(
            f"generator sections {idle} would do nothing; add them to generator.order, now {sorted(order)}."
        )


def _channel(table: Table) -> Channel:
    order = table.get("order", _order(Channel()))
    if unknown := sorted((table.keys() - {*CHANNEL, *CORRUPTIONS}) | (set(order) - CORRUPTIONS.keys())):
        raise UsageError(f"Unknown sections of a channel {unknown}; choose from {sorted({*CHANNEL, *CORRUPTIONS})}.")
    contrast = dict(table.get("contrast", {}))
    kind = contrast.pop("kind", "mixture")
    if kind not in CONTRASTS:
        raise UsageError(f"Unknown contrast {kind!r}; choose from {sorted(CONTRASTS)}.")
    parts = {
        "contrast": _checked(CONTRASTS[kind], contrast, "contrast"),
        "corruptions": tuple(_checked(CORRUPTIONS[name], table.get(name, {}), name) for name in order),
        "motion": _checked(Motion, table.get("motion", {}), "motion"),
    }
    return _checked(Channel, parts, "channel")


def _channel_to_dict(channel: Channel) -> Table:
    kinds = {cls: name for name, cls in CONTRASTS.items()}
    table: Table = {"contrast": {"kind": kinds[type(channel.contrast)], **dataclasses.asdict(channel.contrast)}}
    table |= {"motion": dataclasses.asdict(channel.motion), "order": _order(channel)}
    return table | {
        name: dataclasses.asdict(step) for name, step in zip(_order(channel), channel.corruptions, strict=True)
    }


def _order(channel: Channel) -> list[str]:
    names = {cls: name for name, cls in CORRUPTIONS.items()}
    return [names[type(step)] for step in channel.corruptions]


def _merged(common: Table, own: Table) -> Table:
    """The settings of a channel, section by section; another kind of contrast begins anew."""
    table = dict(common)
    for name, section in own.items():
        old = table.get(name)
        if (
            isinstance(old, dict)
            and isinstance(section, dict)
            and section.get("kind", old.get("kind")) == old.get("kind")
        ):
            section = old | section
        table[name] = section
    return table


def _different(first: Table, own: Table) -> Table:
    """What `_merged` needs beside the first channel to give another one."""
    table: Table = {}
    for name, section in own.items():
        old = first.get(name)
        if isinstance(section, dict) and isinstance(old, dict) and section.get("kind") == old.get("kind"):
            section = {key: value for key, value in section.items() if key not in old or value != old[key]}
        if section and section != old:
            table[name] = section
    return table


def stage_generator(recipe: Recipe, stage: Stage) -> Generator:
    """The generator with the overrides of one stage."""
    table = generator_to_dict(recipe.generator)
    for change in stage.set:
        override(table, change)
    return generator_from_dict(table)


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path.name} is larger than 1 MB, which no recipe is.")
    return path.read_text(encoding="utf-8-sig")


def _shipped(name: str) -> str:
    if name not in names():
        raise UsageError(f"no recipe called {name!r}; choose from {names()} or give a .toml file.")
    return (files("isomorph.recipes") / f"{name}.toml").read_text()


def _sections(table: Table) -> Iterator[tuple[type, Any, str]]:
    """Tables inside that of a recipe, whose misspelt options pydantic would pass over."""
    training = table.get("training")
    stages = training.get("stages") if isinstance(training, dict) else None
    yield from ((Network, table.get("network"), "network"), (Training, training, "training"))
    yield from ((Stage, stage, "training.stages") for stage in (stages if isinstance(stages, list) else ()))


def _known(cls: type, table: Any, name: str) -> None:
    fields = {f.name for f in dataclasses.fields(cls)}
    if isinstance(table, dict) and (unknown := sorted(table.keys() - fields)):
        raise UsageError(f"{name} has no option {unknown}; choose from {sorted(fields)}.")


def _checked(cls: type, table: Table, name: str) -> Any:
    _known(cls, table, name)
    try:
        return TypeAdapter(cls).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}.{where}: {first['msg']}, got {first['input']!r}.") from None
