"""What would end a run in the middle is refused before it begins."""

from __future__ import annotations

import torch

from ..config import Recipe, Stage, stage_generator
from ..errors import UsageError
from ..labels import LABELS
from ..losses import OVERLAP
from ..nets import NETWORKS, build
from ..structures import class_table
from ..synth import Generator

MOST = 1024  # samples in a batch: sample numbers of different steps never meet


def images(generator: Generator) -> tuple[int, int]:
    """How many scans a sample holds, and how many reliability maps.

    Parameters
    ----------
    generator : Generator
    """
    scans = len(generator.channels)
    return scans, scans if generator.reliability else 0


def check(recipe: Recipe, processes: int = 1) -> None:
    """Make sure that generator, network, losses and machine fit each other.

    Parameters
    ----------
    recipe : Recipe
    processes : among which each batch is divided

    Raises
    ------
    UsageError
        If they do not.
    """
    settings = recipe.training
    for name in ("log_every", "save_every", "validate_every", "validate_samples"):
        if getattr(settings, name) < 1:
            raise UsageError(f"training.{name} is {getattr(settings, name)}; give 1 or more.")
    if not 0 <= settings.minutes < float("inf") or (settings.minutes and len(settings.stages) > 1):
        raise UsageError(
            f"training.minutes is {settings.minutes:g} with {len(settings.stages)} stages; give a time above 0 to a "
            "recipe of one stage, or 0 for as many steps as the stages say."
        )
    if settings.micro < 0:
        raise UsageError(f"training.micro is {settings.micro}; give the samples that fit on a device, or 0 for all.")
    if not settings.clip > 0:
        raise UsageError(f"training.clip is {settings.clip}, which leaves no gradient; give a number above 0.")
    for name in ("average", "final"):
        if not 0 <= getattr(settings, name) <= 1:
            raise UsageError(f"training.{name} is {getattr(settings, name)}; give a number from 0 to 1.")
    _outputs(recipe)
    if settings.lesions != 1 and not recipe.generator.lesions_in_labels:
        raise UsageError(
            "training.lesions weighs what is ill; add generator.lesions_in_labels=true, which tells where."
        )
    for number, stage in enumerate(settings.stages, 1):
        if stage.steps < 1 or stage.learning_rate < 0:
            raise UsageError(
                f"stage {number} has {stage.steps} steps and learning rate {stage.learning_rate}; give 1 step or more, "
                "and a rate that is not negative."
            )
        if not 1 <= stage.batch <= MOST or stage.batch % processes:
            raise UsageError(
                f"stage {number} has a batch of {stage.batch}; with {processes} processes give a multiple of "
                f"{processes}, {MOST} at most."
            )
        _part(recipe, stage, number)
        _inputs(recipe, stage, number)
        _size(recipe, stage, number)
        _overlap(recipe, stage, number)


def _part(recipe: Recipe, stage: Stage, number: int) -> None:
    kind = recipe.network.kind
    parts = getattr(NETWORKS[kind], "parts", ())
    if stage.part and stage.part not in parts:
        raise UsageError(f"stage {number} trains the part {stage.part!r} of {kind}, which has {list(parts)}.")
    if stage.part == "sharp" and stage_generator(recipe, stage).target != 0:
        raise UsageError(
            f"stage {number} trains the part 'sharp', which gives the scan in its own contrast; "
            "add 'target=0' to its set."
        )


def _inputs(recipe: Recipe, stage: Stage, number: int) -> None:
    scans, maps = images(stage_generator(recipe, stage))
    inputs = recipe.network.arguments.get("inputs", 1)
    if inputs != scans + maps:
        raise UsageError(
            f"the network reads {inputs} images, the generator of stage {number} gives {scans} scans and {maps} "
            f"reliability maps; set network.arguments.inputs={scans + maps}."
        )
    if recipe.network.kind == "cascade" and maps and recipe.network.arguments.get("scans") != scans:
        raise UsageError(
            f"a cascade that reads reliability maps must know which of its inputs are scans; set "
            f"network.arguments.scans={scans}."
        )


def _outputs(recipe: Recipe) -> None:
    outputs = recipe.network.arguments.get("outputs", 1)
    if recipe.kind == "segmentation":
        wanted, why = len(recipe.classes), "one for each class"
        _classes(recipe.classes)
        if recipe.network.residual:
            raise UsageError("a segmentation adds nothing to its input; leave network.residual out.")
    else:
        uncertain = any("laplace" in stage.loss for stage in recipe.training.stages)
        wanted, why = (2, "the image and, for laplace, its uncertainty") if uncertain else (1, "the image")
    if outputs != wanted:
        raise UsageError(
            f"the network gives {outputs} outputs, {wanted} are wanted: {why}; set network.arguments.outputs={wanted}."
        )


def _classes(classes: tuple[int, ...]) -> None:
    told = class_table(classes)
    if classes[:1] != (0,) or any(number not in LABELS or told[number] != k for k, number in enumerate(classes)):
        raise UsageError(
            f"classes is {list(classes)}; give 0, the background, then numbers of isomorph.labels, each once, "
            "of a pair the left one."
        )


def _size(recipe: Recipe, stage: Stage, number: int) -> None:
    deform = stage_generator(recipe, stage).deform
    with torch.device("meta"):  # nothing is allocated
        network = build(recipe.network.kind, recipe.network.arguments, recipe.network.residual)
    multiple = int(getattr(network, "multiple", 1))
    sides = [round(mm / deform.spacing) for mm in deform.size]
    if multiple > 1 and 0 in sides:
        raise UsageError(
            f"a sample of stage {number} is a whole head, the network wants multiples of {multiple} voxels; give "
            "generator.deform.size."
        )
    if any(side % multiple for side in sides):
        raise UsageError(
            f"a sample of stage {number} has {' x '.join(map(str, sides))} voxels, the network wants multiples of "
            f"{multiple}; change generator.deform.size."
        )


def _overlap(recipe: Recipe, stage: Stage, number: int) -> None:
    """The losses that compare classes."""
    classes = stage.loss.keys() & OVERLAP
    if recipe.kind == "segmentation":
        if wrong := sorted(stage.loss.keys() - OVERLAP):
            raise UsageError(f"loss {wrong} of stage {number} compares images, not classes; choose {sorted(OVERLAP)}.")
    elif classes and not recipe.training.segmenter:
        raise UsageError(
            f"loss {sorted(classes)} of stage {number} looks through a segmentation network; train one with the recipe "
            "segmenter and give its file: --set training.segmenter='\"FILE\"'."
        )
    elif classes and stage_generator(recipe, stage).deform.spacing != 1:
        raise UsageError(f"loss {sorted(classes)} of stage {number} wants samples of 1 mm, as a segmenter knows them.")
