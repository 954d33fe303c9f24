"""Commands for who trains: parse, call one library function, print. Heavy imports wait until they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import say, verbose

CT = Annotated[bool, typer.Option("--ct", help="The scans are CT, in Hounsfield units.")]
DEBUG = Annotated[bool, typer.Option("--debug", help="Show where an internal error comes from.")]
RECIPE = Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file.")]
CHANGES = Annotated[list[str] | None, typer.Option("--set", help="dotted.key=value, as often as wanted.")]
RESUME = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT.")]
THREADS = Annotated[int | None, typer.Option(help="Threads of the processor.")]
WORKERS = Annotated[int | None, typer.Option(help="Processes that make samples.")]


def corpus(
    data: Annotated[Path, typer.Argument(help="Folder that holds labels/, t1/, segmentations/ and lesions/.")],
    out: Annotated[Path, typer.Argument(help="Folder for the prepared heads.")],
    recipe: Annotated[
        str, typer.Option(help="Name, or a TOML file: label maps not trained on lend no head to a scan.")
    ] = "default",
    debug: DEBUG = False,
) -> None:
    """Prepare heads for training: reoriented, bias-corrected, cropped, scans in whole heads, as plain arrays."""
    verbose(debug)
    from functools import partial

    from . import config
    from .train.corpus import prepare
    from .train.source import spared

    prepare(data, out, spare=partial(spared, config.load(recipe)), report=typer.echo)


def generate(
    recipe: RECIPE,
    out: Annotated[Path, typer.Argument(help="Folder for the samples.")],
    n: Annotated[int, typer.Option("--n", help="How many.")] = 4,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Heads, as `isomorph train` takes them; else one of nilearn.")
    ] = None,
    changes: CHANGES = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace samples that are there already.")] = False,
    debug: DEBUG = False,
) -> None:
    """Draw training samples to look at: images, targets, labels, every number drawn, and OUT/samples.png."""
    verbose(debug)
    from .generate import generate as run

    options = {"n": n, "seed": seed, "data": data, "changes": tuple(changes or ()), "overwrite": overwrite}
    say(f"look at {run(recipe, out, **options, report=typer.echo)}")


def priors(
    images: Annotated[Path, typer.Argument(help="A scan, a folder of scans, or a .txt list of scans.")],
    labels: Annotated[Path, typer.Argument(help="Their segmentations: of the same names, or in the same order.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.toml", help="What a recipe may include.")],
    factor: Annotated[float, typer.Option(help="By which deviations between scans are widened.")] = 5.0,
    raw: Annotated[bool, typer.Option("--raw", help="Brightness is comparable between scans as it is.")] = False,
    ct: CT = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.toml if it is there already.")] = False,
    debug: DEBUG = False,
) -> None:
    """Measure how bright each tissue is in scans with rough segmentations, for training on contrasts like theirs."""
    verbose(debug)
    from .priors import estimate

    options = {"factor": factor, "raw": raw, "ct": ct, "overwrite": overwrite}
    raise typer.Exit(estimate(images, labels, out, report=say, **options))


def train(
    recipe: RECIPE,
    out: Annotated[Path, typer.Option(help="Folder of the run: log, checkpoints, model.")],
    data: Annotated[Path, typer.Option(help="Folder of `isomorph corpus`, or its source, prepared into OUT/corpus.")],
    changes: CHANGES = None,
    resume: RESUME = False,
    start: Annotated[
        str | None,
        typer.Option(help="Model, name or file, whose weights to begin with; by default what the recipe names."),
    ] = None,
    threads: THREADS = None,
    workers: WORKERS = None,
    debug: DEBUG = False,
) -> None:
    """Train a network from a recipe; interrupt it whenever, and go on with --resume."""
    verbose(debug)
    from .progress import training
    from .train.run import run

    with training() as report:
        options = {"resume": resume, "start": start, "threads": threads, "workers": workers, "report": report}
        typer.echo(run(recipe, data, out, changes=tuple(changes or ()), **options))


def improve(
    recipe: RECIPE,
    data: Annotated[Path, typer.Option(help="Folder of `isomorph corpus`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the model that is replaced goes there too.")],
    minutes: Annotated[float, typer.Option(help="How long to train.")],
    model: Annotated[str | None, typer.Option(help="Its name or file; by default that of the recipe's name.")] = None,
    stage: Annotated[int | None, typer.Option(help="Of the recipe, from 1; by default the last.")] = None,
    record: Annotated[Path | None, typer.Option(help="Model card that gets a line; by default OUT/card.md.")] = None,
    changes: CHANGES = None,
    resume: RESUME = False,
    threads: THREADS = None,
    workers: WORKERS = None,
    debug: DEBUG = False,
) -> None:
    """Train a model for some minutes more, and replace it if it does better on the heads held out."""
    verbose(debug)
    from .progress import training
    from .train.improve import improve as run

    options = {"minutes": minutes, "model": model, "stage": stage, "record": record, "changes": tuple(changes or ())}
    with training() as report:
        result = run(recipe, data, out, **options, resume=resume, threads=threads, workers=workers, report=report)
    if result:
        say(result.line)
