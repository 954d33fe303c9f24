"""What a network is trained on: heads as plain arrays, prepared once from the files of a data folder.

A data folder holds ``labels/`` (label maps) and, if wanted, ``t1/`` (skull-stripped T1 scans), ``segmentations/`` of
these scans, and ``lesions/`` (masks of patients in MNI space). Each map and each scan becomes one ``.safetensors`` file
with ``labels``, for a real scan ``target``, and with masks ``lesions``: RAS, 1 mm, cropped around the brain. A scan
borrows the head of one of the maps, and the lesions in it. Training reads these files alone, so that it runs where
there is no image library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import max_pool3d

from ..errors import NothingFound, SetupError, UsageError
from ..labels import ANCHORS, CLUSTER, CLUSTERS, LABELS, LESION, SEAM, STEP, brain_mask
from ..place import place
from ..space import canonical_grid, resample, window
from ..volume import Volume
from .brightness import bias_corrected, tissue_levels
from .carry import carrier
from .machine import writing
from .names import belong, implausible, name_of, named, segmentation_of
from .whole import FIT, in_head, lends

MARGIN = 24  # mm around the brain: neck and air would teach little
TRIES = 3  # heads for a scan, one after the other: what one map does not fit another may
AGAIN = "make space, or choose another folder, and run again: what is prepared is kept"


@dataclass(frozen=True)
class Head:
    """One person: a label map, the real T1 where there is one, and lesions of others where they were carried over."""

    name: str
    labels: Volume
    target: Volume | None
    lesions: Volume | None = None  # uint8: bit k of a voxel is the mask of patient k
    lender: str = ""  # of a real T1: the label map whose skull and skin it wears


def prepare(
    data: str | Path,
    corpus: str | Path,
    *,
    spare: Callable[[str], bool] = lambda _: False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Prepare all heads of a data folder; those already there are kept.

    Parameters
    ----------
    data : folder with ``labels/``, ``t1/``, ``segmentations/`` and ``lesions/``
    corpus : folder to write
    spare : says of the name of a label map whether it lends no head to a scan; see `source.spared`
    report : called with a line for what is done, and for what will take long

    Raises
    ------
    NothingFound
        If the folder holds neither.
    UsageError
        If two heads have one name, a map holds a label that is not in the table, or there is no brain in a file.
    """
    data, corpus = _there(data), Path(corpus)
    maps = sorted((data / "labels").glob("*.nii*"))
    scans = sorted((data / "t1").glob("*.nii*"))
    if not maps and not scans:
        raise NothingFound(f"{data} holds no labels/*.nii.gz and no t1/*.nii.gz; give the root that holds them.")
    with writing(corpus.name, AGAIN):
        corpus.mkdir(parents=True, exist_ok=True)
    names = [name_of(path) for path in maps + scans]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{data.name} holds {twice[:3]} twice; give each person a name of its own.")
    missing = [path for path in maps + scans if not _prepared(corpus, path).exists()]
    carry = carrier(data / "lesions", report=report) if missing else None
    lenders = _Lenders([_prepared(corpus, path) for path in maps if not spare(name_of(path))])
    for path in missing:  # maps before scans, which borrow from them
        head = _from_labels(path) if path in maps else _dressed(_from_scan(path, report), lenders, report)
        if carry and not head.lesions:
            head = replace(head, lesions=carry(head.name, head.labels, head.target))
        with writing(_prepared(corpus, path).name, AGAIN):
            _write(head, _prepared(corpus, path))
        report(f"prepared {_prepared(corpus, path).name}")
    old = [path for path in scans if path not in missing and "lender" not in _said(_prepared(corpus, path))]
    if old and next(lenders(name_of(old[0])), None):
        report(f"{len(old)} scans stay skull-stripped, as an older version prepared them; choose a new folder for them")
    for line in belong(data / "segmentations", scans):
        report(line)
    bare = [path for path in scans if path not in missing and segmentation_of(path)]
    if bare := [path for path in bare if not _said(_prepared(corpus, path)).get("named")]:
        report(f"{len(bare)} scans stay without names, as they were prepared; choose a new folder to name them")
    return corpus


def load(corpus: str | Path) -> list[Head]:
    """Read all prepared heads of a folder.

    Raises
    ------
    NothingFound
        If there are none, or no such folder.
    SetupError
        If one is damaged.
    """
    paths = sorted(_there(corpus).glob("*.safetensors"))
    if not paths:
        raise NothingFound(f"{corpus} holds no prepared heads; run `isomorph corpus DATA {corpus}` first.")
    return [_read(path) for path in paths]


def available(data: str | Path) -> dict[str, Callable[[], Head]]:
    """The heads of a folder, prepared or not, and how to read each; nothing is read yet, and no scan wears a head but
    one that `prepare` gave it.

    Parameters
    ----------
    data : folder of prepared heads, or one with ``labels/``, ``t1/`` and ``segmentations/``

    Raises
    ------
    NothingFound
        If it holds neither.
    """
    data = _there(data)
    prepared = {path.stem: partial(_read, path) for path in sorted(data.glob("*.safetensors"))}
    maps = {name_of(path): partial(_from_labels, path) for path in sorted((data / "labels").glob("*.nii*"))}
    scans = {name_of(path): partial(_from_scan, path) for path in sorted((data / "t1").glob("*.nii*"))}
    if not prepared and not maps and not scans:
        raise NothingFound(f"{data} holds no prepared heads, no labels/*.nii.gz and no t1/*.nii.gz; give their folder.")
    return prepared or maps | scans


def _there(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise NothingFound(f"no such folder: {folder}; check the path.")
    return Path(folder)


def _from_labels(path: Path) -> Head:
    grid = _straight(path, "nearest")
    labels = grid.with_data(_told_apart(grid.data.round().to(torch.int16)))
    if unknown := sorted(set(labels.data.unique().tolist()) - LABELS.keys()):
        raise UsageError(
            f"{path.name} holds labels {unknown[:5]}, which isomorph.labels does not list; merge them first."
        )
    if not brain_mask(labels.data).any():
        raise UsageError(f"{path.name} holds no label of a brain; take it out of labels/.")
    return _cropped(Head(name_of(path), labels, None))


def _told_apart(labels: Tensor) -> Tensor:
    """What a map calls lesion of one side is one where it is thick. A thin layer is what ventricle and white matter
    share: healed, with the weight of a lesion, it taught that a ventricle is smaller than it looks."""
    said = torch.isin(labels, torch.tensor(SEAM))
    deep = 1 - max_pool3d((~said).float(), 3, 1, 1)
    return labels.masked_fill(said & (max_pool3d(deep, 3, 1, 1) > 0), LESION)


def _from_scan(path: Path, report: Callable[[str], None] = lambda _: None) -> Head:
    report(f"preparing {name_of(path)}, which takes a minute")
    grid = _straight(path, "linear")
    if not (grid.data > 0).any():
        raise UsageError(f"{path.name} holds no brain, nothing above 0; take it out of t1/.")
    corrected = grid.with_data(torch.from_numpy(bias_corrected(grid.data[0].numpy()))[None])
    return levelled(name_of(path), corrected, _names(path, grid, report))


def _names(path: Path, grid: Volume, report: Callable[[str], None]) -> Volume | None:
    """The segmentation of a scan on its grid, if there is one that can be true."""
    if (found := segmentation_of(path)) is None:
        return None
    segmentation = _straight(found, "nearest", like=path)
    if why := implausible(segmentation, grid):
        report(f"{name_of(path)} stays without names: {why}")
        return None
    return segmentation


class _Lenders:
    """Prepared label maps that may lend their heads; one that knows of none is read but once."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.bare = paths, set[Path]()

    def __call__(self, name: str) -> Iterator[Head]:
        """Whole heads for a scan of this name, in an order that is its own."""
        for path in Random(f"head/{name}").sample(self.paths, len(self.paths)):
            if path in self.bare:
                continue
            head = _read(path)
            if lends(head.labels):
                yield head
            else:
                self.bare.add(path)


def _dressed(scan: Head, lenders: _Lenders, report: Callable[[str], None]) -> Head:
    """A skull-stripped scan in the head of a map; as it is, said in one line, where it fits into none."""
    assert scan.target
    for lender in islice(lenders(scan.name), TRIES):
        labels, target, lesions, fit = in_head(scan.labels, scan.target, lender.labels, lender.lesions)
        if fit >= FIT:
            return Head(scan.name, labels, target, lesions, lender.name)
    report(f"{scan.name} stays skull-stripped: it fits into the head of no label map")
    return scan


def levelled(name: str, grid: Volume, names: Volume | None = None) -> Head:
    """A real T1: its own brightness, cut into levels, is the label map.

    Parameters
    ----------
    name : str
    grid : Volume
        T1, skull-stripped, without bias; 1 mm, axes along R, A, S.
    names : Volume, optional
        Its segmentation, on the same grid: which grey matter is which.
    """
    x = grid.data[0].numpy()
    fluid, grey, white = tissue_levels(x[x > 0])
    level = np.interp(x, [0, fluid, grey, white, 1.45 * white], list(ANCHORS.values()))
    clusters = np.clip(np.round(level / STEP), 0, CLUSTERS - 1).astype(np.int16)
    labels = np.where(clusters > 0, clusters + CLUSTER, 0).astype(np.int16)
    target = grid.with_data(torch.from_numpy((x / white).astype(np.float16))[None])
    levels = target.with_data(torch.from_numpy(labels)[None])
    return _cropped(Head(name, named(levels, names) if names else levels, target))


def _straight(path: Path, mode: str, like: Path | None = None) -> Volume:
    """The image on a 1 mm grid along its own axes, or those of another, and these axes taken for R, A and S: for
    training, a head that lay askew in the scanner is as good as one that did not, without an interpolation."""
    from .. import io  # here, so that training runs where there is no image library

    image = io.load(path, kind="image")
    grid = resample(image, *canonical_grid(io.load(like, kind="image") if like else image), mode=mode)
    straight = np.eye(4)
    straight[:3, 3] = grid.affine[:3, :3].T @ grid.affine[:3, 3]
    return Volume(grid.data, straight)


def _prepared(corpus: Path, path: Path) -> Path:
    return corpus / f"{name_of(path)}.safetensors"


def _cropped(head: Head) -> Head:
    """The brain and some of the head around it; air, where the image ends before."""
    inside = np.argwhere(brain_mask(head.labels.data[0]).numpy())
    start, stop = inside.min(0) - MARGIN, inside.max(0) + 1 + MARGIN
    box = start.tolist(), (stop - start).tolist()
    return Head(head.name, window(head.labels, *box), head.target and window(head.target, *box))


def _write(head: Head, path: Path) -> None:
    volumes = {"labels": head.labels, "target": head.target, "lesions": head.lesions}
    tensors = {key: volume.data.contiguous() for key, volume in volumes.items() if volume}
    said = {"affine": json.dumps(head.labels.affine.tolist()), "lender": head.lender}
    said["named"] = "deep grey matter" if (head.labels.data >= CLUSTER + CLUSTERS).any() else ""
    place(path, save(tensors, metadata=said))


def _read(path: Path) -> Head:
    with _opened(path) as file:
        said = file.metadata()
        affine = np.array(json.loads(said["affine"]))
        volumes = {key: Volume(file.get_tensor(key), affine) for key in file.keys()}  # noqa: SIM118
        lender = said.get("lender", "")
        return Head(path.stem, volumes["labels"], volumes.get("target"), volumes.get("lesions"), lender)


def _said(path: Path) -> dict[str, str]:
    """What a prepared head says of itself; older versions had less to say. Its voxels are not read."""
    with _opened(path) as file:
        return file.metadata()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        raise SetupError(f"E902 {path} is damaged, or no prepared head; delete it and prepare again.") from None
