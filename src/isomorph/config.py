"""Recipes: dataclasses <-> TOML, with dotted overrides; nothing else."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from .errors import UsageError
from .losses import LOSSES
from .nets import build
from .synth import ANATOMY, CONTRASTS, CORRUPTIONS, Generator

Table = dict[str, Any]
PRECISIONS = ("fp32", "bf16", "fp16")
LARGEST = 1 << 20  # bytes of a recipe


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which network, and its arguments."""

    kind: str = "compact"
    arguments: Table = field(default_factory=dict)


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
    outside: float = 0.3  # weight of what is not brain in the loss
    warmup: int = 100  # steps, of each stage
    final: float = 0.02  # of the learning rate, at the last step of a stage
    weight_decay: float = 1e-4
    clip: float = 1.0  # norm of the gradient
    average: float = 0.999  # of the weights, exponential: what is evaluated and shipped
    precision: str = "bf16"
    save_every: int = 250  # steps
    validate_every: int = 500  # steps
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
    licence: str = "as the data it was trained on"  # of the weights
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
    for override in overrides:
        _set(table, override)
    return from_dict(table)


def names() -> list[str]:
    """Recipes that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in files("isomorph.recipes").iterdir() if p.name.endswith(".toml"))


def from_dict(table: Table) -> Recipe:
    """Build a recipe; missing keys keep the defaults of the dataclasses."""
    table = dict(table)
    generator = generator_from_dict(table.pop("generator", {}))
    recipe = dataclasses.replace(_checked(Recipe, table, "recipe"), generator=generator)
    try:
        with torch.device("meta"):  # nothing is allocated
            build(recipe.network.kind, recipe.network.arguments)
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
    """Build a generator: a table for each of deform, strip, contrast, and one for each corruption by its name."""
    default = Generator()
    registry = {cls: name for name, cls in CORRUPTIONS.items()}
    order = table.get("order", [registry[type(step)] for step in default.corruptions])
    known = {"order", "contrast", *ANATOMY, *CORRUPTIONS}
    if unknown := sorted((table.keys() - known) | (set(order) - CORRUPTIONS.keys())):
        raise UsageError(f"Unknown generator sections {unknown}; choose from {sorted(known)}.")
    if idle := sorted((table.keys() & CORRUPTIONS.keys()) - set(order)):
        raise UsageError(f"generator sections {idle} would do nothing; add them to generator.order, now {order}.")
    contrast = dict(table.get("contrast", {}))
    kind = contrast.pop("kind", "mixture")
    if kind not in CONTRASTS:
        raise UsageError(f"Unknown contrast {kind!r}; choose from {sorted(CONTRASTS)}.")
    return Generator(
        **{name: _checked(cls, table.get(name, {}), name) for name, cls in ANATOMY.items()},
        contrast=_checked(CONTRASTS[kind], contrast, "contrast"),
        corruptions=tuple(_checked(CORRUPTIONS[name], table.get(name, {}), name) for name in order),
    )


def generator_to_dict(generator: Generator) -> Table:
    """The inverse of `generator_from_dict`."""
    names = {cls: name for name, cls in (CONTRASTS | CORRUPTIONS).items()}
    table: Table = {name: dataclasses.asdict(getattr(generator, name)) for name in ANATOMY}
    table["contrast"] = {"kind": names[type(generator.contrast)], **dataclasses.asdict(generator.contrast)}
    table["order"] = [names[type(step)] for step in generator.corruptions]
    return table | {names[type(step)]: dataclasses.asdict(step) for step in generator.corruptions}


def stage_generator(recipe: Recipe, stage: Stage) -> Generator:
    """The generator with the overrides of one stage."""
    table = generator_to_dict(recipe.generator)
    for override in stage.set:
        _set(table, override)
    return generator_from_dict(table)


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path.name} is larger than 1 MB, which no recipe is.")
    return path.read_text(encoding="utf-8")


def _shipped(name: str) -> str:
    if name not in names():
        raise UsageError(f"no recipe called {name!r}; choose from {names()} or give a .toml file.")
    return (files("isomorph.recipes") / f"{name}.toml").read_text()


def _set(table: Table, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UsageError(f"override {override!r} is not of the form dotted.key=value.")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        raise UsageError(f"override {override!r}: {value!r} is not a TOML value; put text in quotes.") from None
    *parents, last = key.strip().split(".")
    node = table
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise UsageError(f"override {override!r}: {parent} is a value, not a section.")
    node[last] = parsed


def _checked(cls: type, table: Table, name: str) -> Any:
    fields = {f.name for f in dataclasses.fields(cls)}
    if unknown := sorted(table.keys() - fields):
        raise UsageError(f"{name} has no option {unknown}; choose from {sorted(fields)}.")
    try:
        return TypeAdapter(cls).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}.{where}: {first['msg']}, got {first['input']!r}.") from None
