"""Training samples to look at: as images, with what was drawn for them, and as one picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from torch import Tensor

from . import config, io
from .config import Recipe
from .errors import UsageError, escape
from .io.target import present, trouble
from .place import place
from .report.pictures import drawing
from .report.sheet import contact_sheet
from .structures import anatomical
from .synth import Sample
from .train.corpus import Head, available, levelled
from .train.source import borrowed, share, spared

SHEET, MOST = "samples.png", 9999
SHOWN = 8  # samples in the picture
PARTS = {"image": "float32", "target": "float32", "labels": "int16"}


def generate(
    recipe: str,
    out: str | Path,
    *,
    n: int = 4,
    seed: int = 0,
    data: str | Path | None = None,
    changes: tuple[str, ...] = (),
    overwrite: bool = False,
    report: Callable[[str], None] = print,
) -> Path:
    """Draw samples as the last stage of a recipe trains on them.

    Parameters
    ----------
    recipe : name of a recipe, or path of a TOML file
    out : folder
        Receives for each sample ``sample-0000_image.nii.gz``, ``_target``, ``_labels``, and ``sample-0000.json``, which
        holds every number that was drawn; and ``samples.png``.
    n : int
        Samples; sample k of a seed is the same whatever `n` is.
    seed : int
    data : folder of prepared heads, or one with ``labels/`` and ``t1/``
        Without it the heads are one: the average brain that comes with nilearn.
    changes : ``dotted.key=value``, applied to the recipe
    overwrite : bool
        Replace what is there.
    report : called with one line for each sample

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    UsageError, NothingFound, Refusal, SetupError
        Before any work, if something is wrong with recipe, data or output.
    """
    if not 1 <= n <= MOST:
        raise UsageError(f"{n} samples were asked for; give a number from 1 to {MOST}.")
    plan, out = config.load(recipe, changes), Path(out)
    _check(out, n, overwrite)
    drawing()
    heads = _heads(plan, data)
    generator = config.stage_generator(plan, plan.training.stages[-1])
    table = config.generator_to_dict(generator)
    rows: dict[str, dict[str, Tensor]] = {}
    for k in range(n):
        rng = Random(f"{seed}/{k}")
        name, head = _drawn(plan, heads, rng)
        sample = generator(head.labels, head.target, rng.getrandbits(31), head.lesions)
        about = {"recipe": plan.name, "seed": seed, "sample": k, "head": name, "generator": table}
        _write(sample, out / _name(k), about, overwrite)
        if k < SHOWN:
            rows[f"{_name(k)}, {escape(name)}"] = _shown(sample, len(generator.channels))
        report(f"{_name(k)}: {escape(name)}, {' x '.join(map(str, sample.image.shape))} voxels")
    _place(out / SHEET, contact_sheet(rows), overwrite)
    return out / SHEET


def _heads(plan: Recipe, data: str | Path | None) -> dict[str, Callable[[], Head]]:
    """Those that the recipe trains on."""
    if data is None:
        from .demo import load_truth

        head = levelled("MNI152", load_truth())
        return {"MNI152": lambda: head}
    heads = available(data)
    wanted = {name: head for name, head in heads.items() if not spared(plan, name)}
    if not wanted:
        raise UsageError(f"the recipe trains on none of the {len(heads)} heads; see its held_out and weights.")
    return wanted


def _drawn(plan: Recipe, heads: dict[str, Callable[[], Head]], rng: Random) -> tuple[str, Head]:
    """A head as training draws it: for a segmentation one that names structures, and none that `borrowed` refuses."""
    names, worn = list(heads), 0
    while names:
        name = rng.choices(names, [share(head, plan.weights) for head in names])[0]
        head = heads[name]()
        lent = borrowed(plan, head)
        if not lent and (plan.kind != "segmentation" or anatomical(head.labels.data) > 0):
            return name, head
        names.remove(name)
        worn += lent
    if worn == len(heads):
        raise UsageError(
            f"each of {worn} scans wears the head of a map that is held out or never drawn; prepare them for this "
            "recipe."
        )
    raise UsageError(f"none of {len(heads)} heads names structures, which a segmentation learns; give label maps.")


def _name(k: int) -> str:
    return f"sample-{k:04d}"


def _check(out: Path, n: int, overwrite: bool) -> None:
    for k in range(n):
        for part in PARTS:
            io.check_output(out / f"{_name(k)}_{part}.nii.gz", overwrite=overwrite)
    for path in (out / SHEET, *(out / f"{_name(k)}.json" for k in range(n))):
        if path.exists() and not (overwrite and path.is_file()):
            raise present(path)


def _write(sample: Sample, path: Path, about: dict[str, Any], overwrite: bool) -> None:
    """The images, then the JSON: where it is, the sample is whole."""
    Path(f"{path}.json").unlink(missing_ok=True)  # of a sample that is now replaced
    for part, dtype in PARTS.items():
        io.save(getattr(sample, part), Path(f"{path}_{part}.nii.gz"), overwrite=overwrite, dtype=dtype)
    text = {"tool": "isomorph", "version": version("isomorph"), **about, "draws": sample.recipe}
    _place(Path(f"{path}.json"), (json.dumps(text, indent=2, allow_nan=False) + "\n").encode(), overwrite)


def _place(path: Path, content: bytes, overwrite: bool) -> None:
    try:
        place(path, content, overwrite=overwrite)
    except FileExistsError:
        raise present(path) from None
    except OSError as error:
        raise trouble(error, path) from None


def _shown(sample: Sample, channels: int) -> dict[str, Tensor]:
    images = {}
    for k, image in enumerate(sample.image.data):
        images[f"scan {k}" if k < channels else f"reliability {k - channels}"] = image
    return images | {"target": sample.target.data[0], "labels": sample.labels.data[0].long()}
