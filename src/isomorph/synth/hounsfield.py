"""CT: tissues in Hounsfield units, what calcifies, and what the head lies on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..labels import ANCHORS, CLUSTER, CLUSTERS, EXTRACEREBRAL, FLUID_OUTSIDE, STEP, TISSUES, mixture
from ..volume import Volume
from .furniture import furniture
from .mixture import paint
from .step import Draw, Range, Share, Step, randn, seed
from .texture import texture

Things = tuple[Mapping[str, float] | None, Mapping[str, float] | None]
AIR = -1000.0  # HU
WHITE, VESSEL = (round(ANCHORS[t] / STEP) for t in ("white", "vein"))  # levels that are pure
OUTSIDE = min(EXTRACEREBRAL)
HEMISPHERES = ((2, 3), (41, 42))
FALX = 3  # voxels: half of the widest fissure in which the falx is put
GRAIN = 3  # voxels: size of the specks of calcium

# Mean and spread between patients, HU: white and grey matter, fluid and blood after the usual textbook values (Prokop &
# Galanski, Computed Tomography of the Body, 2003), the others approximate. "skin" of a label map is skin and the fat
# below it, "soft" is fat and muscle, "marrow" is diploe.
HOUNSFIELD_TABLE = {
    "air": (AIR, 0), "fluid": (8, 3), "cortex": (37, 2.5), "white": (28, 2), "thalamus": (34, 2),
    "caudate": (36, 2), "putamen": (36, 2), "pallidum": (37, 3), "hippocampus": (35, 2), "amygdala": (35, 2),
    "accumbens": (35, 2), "ventral_dc": (31, 2), "brainstem": (29, 2), "cerebellar_cortex": (36, 2.5),
    "cerebellar_white": (29, 2), "choroid": (38, 6), "lesion": (22, 5), "necrosis": (18, 5), "rim": (48, 12),
    "oedema": (19, 4), "blood": (65, 9), "cavity": (9, 3), "artery": (42, 5), "vein": (50, 6), "skin": (5, 35),
    "soft": (0, 45), "muscle": (55, 6), "mucosa": (35, 12), "bone": (1100, 200), "marrow": (500, 150),
    "eye": (9, 4), "nerve": (32, 4),
}  # fmt: skip
COARSE = {"air": 0.0, "soft": 40.0, "skin": 10.0, "bone": 40.0, "marrow": 60.0}  # factor on the texture
LUMPS = 8.0  # mm: fat and muscle, diploe and its walls lie side by side, not voxel by voxel
FAT = -110.0  # HU: what is neither bone nor air is no darker, and no brighter than muscle
VESSELS = ("artery", "vein", "rim", "choroid", "mucosa")  # what contrast medium enhances, at full, a little


def hounsfield(
    x: Volume,
    *,
    means: Mapping[str, float],
    stds: Mapping[str, float],
    calcium: Mapping[str, list[float]],
    falx: float,
    holder: Mapping[str, float] | None,
    table: Mapping[str, float] | None,
    seed: int,
    lesions: Volume | None = None,
) -> Volume:
    """A head on a table, in Hounsfield units, not clipped; voxels at an edge are shared [1]_.

    Parameters
    ----------
    x : Volume
        Label map.
    means, stds : tissue to HU
        Mean and texture.
    calcium : tissue or "falx" to share and HU
        How much of it is calcified, in specks, and how dense these are.
    falx : HU
        Of the membrane between the hemispheres.
    holder, table : parameters of `isomorph.synth.furniture.furniture`, or None
        What the head lies on; only where there is air.
    seed : int
    lesions : Volume, optional
        As `isomorph.synth.mixture.paint` takes them.

    References
    ----------
    .. [1] Kalender, Computed Tomography, 3rd edition, 2011, ISBN 978-3-89578-317-3
    """
    labels = _without_glare(x.data.long())
    above = {tissue: mean - AIR for tissue, mean in means.items()}  # paint knows no negative brightness
    fine = {tissue: 0.0 if tissue in COARSE else std for tissue, std in stds.items()}
    y = paint(x.with_data(labels), means=above, stds=fine, seed=seed, lesions=lesions).data + AIR
    if any(stds[tissue] for tissue in COARSE):
        y = y + _lumps(labels, x, means, stds, seed + 2)
    for share, value in _additions(labels, x, calcium, falx, (holder, table), seed):
        there = share > 0
        y[there] = torch.lerp(y[there], torch.tensor(value).to(y), share[there])
    return x.with_data(y)


def _without_glare(labels: Tensor) -> Tensor:
    """Of a real T1 a bright voxel is white matter and not half contrast medium."""
    level = (labels - CLUSTER) % CLUSTERS
    pure = torch.where((level > WHITE) & (level < VESSEL), WHITE, level)
    return torch.where(labels >= CLUSTER, labels - level + pure, labels)


def _lumps(labels: Tensor, x: Volume, means: Mapping[str, float], stds: Mapping[str, float], seed: int) -> Tensor:
    """By how much what lies around the brain differs from its mean."""
    field = texture(seed, x.shape, x.spacing, LUMPS, like=x.data.float())
    change = torch.zeros_like(field)
    for tissue in COARSE:
        there, lumps = _tissue(labels, tissue)[0], stds[tissue] * field
        if tissue in ("soft", "skin"):
            lumps = (means[tissue] + lumps).clamp(FAT, means["muscle"]) - means[tissue]
        change = torch.where(there, lumps, change)
    return change[None]


def _additions(
    labels: Tensor, x: Volume, calcium: Mapping[str, list[float]], falx: float, things: Things, seed: int
) -> Iterator[tuple[Tensor, float]]:
    """What no label stands for: the share of each voxel that is it, and its HU; later ones lie on top."""
    membrane = _falx(labels)
    yield membrane.float(), falx
    specks = None
    for name, (share, value) in calcium.items():
        mask = membrane if name == "falx" else _tissue(labels, name)
        if share > 0 and mask.any():
            specks = _specks(labels, seed + 1) if specks is None else specks
            yield mask * (2 * (specks - NormalDist().inv_cdf(1 - share)) + 0.5).clamp(0, 1), value
    if ((labels >= OUTSIDE) & (labels < CLUSTER)).any():  # a tool that strips a skull leaves no table
        for shape in furniture(labels[0] == 0, x.spacing, holder=things[0], table=things[1]):
            yield shape.mask[None].float(), shape.value


def _tissue(labels: Tensor, tissue: str) -> Tensor:
    return (mixture()[:, TISSUES.index(tissue)] == 1).to(labels.device)[labels]


def _falx(labels: Tensor) -> Tensor:
    """Fluid with one hemisphere close to its left and the other close to its right."""
    near = labels == FLUID_OUTSIDE
    for numbers in HEMISPHERES:
        near = near & _grown((labels == numbers[0]) | (labels == numbers[1]))
    return near


def _grown(mask: Tensor) -> Tensor:
    """Grown along the first axis, either way."""
    grown = mask.clone()
    for k in range(1, FALX + 1):
        grown[:, k:] |= mask[:, :-k]
        grown[:, :-k] |= mask[:, k:]
    return grown


def _specks(labels: Tensor, seed: int) -> Tensor:
    """A field of standard normal values that is smooth over some voxels."""
    coarse = [-(-n // GRAIN) for n in labels.shape[1:]]
    field = randn(seed, 1, 1, *coarse, like=torch.empty(0, device=labels.device))
    field = interpolate(field, labels.shape[1:], mode="trilinear", align_corners=False)[0]
    return field / field.std().clamp(min=1e-6)


@dataclass(frozen=True, kw_only=True)
class Hounsfield(Step):
    """From a young head to an old one full of calcium, on a table. To be followed by `gantry` in place of `slices`."""

    spread: Range = (0.5, 1.5)  # factor on the spread of each tissue between patients
    offset: float = 2.0  # HU: standard deviation of the calibration of the scanner, for soft tissue alike
    texture: Range = (0.0, 2.5)  # HU: standard deviation inside a tissue
    enhanced: Share = 0.2  # share of scans with contrast medium
    medium: Range = (20.0, 250.0)  # HU that it adds to vessels; a sixth of that to choroid, mucosa and tumours
    calcified: Share = 0.3  # share of scans in which each of choroid, pallidum and falx is calcified
    calcium: Range = (100.0, 500.0)  # HU
    specks: Range = (0.02, 0.35)  # share of a calcified tissue that calcium fills
    falx: Range = (30.0, 60.0)  # HU
    holder: Share = 0.7  # share of scans with a head holder
    table: Share = 0.5  # share with a table
    shell: Range = (-150.0, 200.0)  # HU of both, which are thinner than they look

    effect = staticmethod(hounsfield)

    def draw(self, rng: Random) -> Draw:
        spread, shift = rng.uniform(*self.spread), rng.gauss(0, self.offset)
        means = {t: mean + rng.gauss(0, spread * std) + shift for t, (mean, std) in HOUNSFIELD_TABLE.items()}
        medium = rng.uniform(*self.medium) if rng.random() < self.enhanced else 0.0
        for tissue in VESSELS:
            means[tissue] += medium * (1.0 if tissue in ("artery", "vein") else 1 / 6)
        means["air"] = AIR
        texture = rng.uniform(*self.texture)
        calcium = {}
        for place in ("choroid", "pallidum", "falx"):
            share = rng.uniform(*self.specks) if rng.random() < self.calcified else 0.0
            calcium[place] = [round(share, 4), round(rng.uniform(*self.calcium), 1)]
        return {
            "means": {t: round(max(means[t], AIR), 2) for t in TISSUES},
            "stds": {t: round(COARSE.get(t, 1.0) * texture * rng.uniform(0.5, 1.5), 2) for t in TISSUES},
            "calcium": calcium,
            "falx": rng.uniform(*self.falx),
            "holder": self._holder(rng) if rng.random() < self.holder else None,
            "table": self._table(rng) if rng.random() < self.table else None,
            "seed": seed(rng),
        }

    def _holder(self, rng: Random) -> Draw:
        return {
            "gap": rng.uniform(2.0, 15.0),
            "clearance": rng.uniform(4.0, 25.0),
            "thickness": rng.uniform(2.0, 7.0),
            "opening": rng.uniform(100.0, 220.0),
            "value": rng.uniform(*self.shell),
        }

    def _table(self, rng: Random) -> Draw:
        return {
            "drop": rng.uniform(15.0, 60.0),
            "radius": rng.uniform(200.0, 800.0),
            "thickness": rng.uniform(2.0, 5.0),
            "width": rng.uniform(300.0, 500.0),
            "value": rng.uniform(*self.shell),
        }
