"""How bright each tissue is in the contrasts that hospitals use.

The cerebral values of T1 and T2 are the priors of SynthSR (median of scans, 0-255, here divided by 226.4 so that
white matter of a T1 is 1; doi:10.1016/j.neuroimage.2021.118206). FLAIR, PD, T2* and the tissues outside the brain
follow from the usual relaxation times and are approximate: every draw displaces each of them. CT is HU / 80, clipped
to 0..1 as prediction clips it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .relaxation import times
from .signal import spin_echo

_NAMES = ("T1", "T2", "FLAIR", "PD", "T2*", "CT")
_BRIGHTNESS = {
    "air": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "fluid": (0.22, 1.05, 0.12, 0.85, 0.95, 0.10),
    "cortex": (0.575, 0.43, 0.64, 0.80, 0.60, 0.46),
    "white": (1.00, 0.32, 0.50, 0.65, 0.50, 0.35),
    "thalamus": (0.83, 0.30, 0.56, 0.72, 0.48, 0.42),
    "caudate": (0.67, 0.35, 0.62, 0.76, 0.50, 0.46),
    "putamen": (0.79, 0.29, 0.58, 0.73, 0.42, 0.46),
    "pallidum": (0.97, 0.17, 0.45, 0.62, 0.25, 0.44),
    "hippocampus": (0.57, 0.43, 0.70, 0.80, 0.60, 0.43),
    "amygdala": (0.59, 0.40, 0.70, 0.79, 0.58, 0.43),
    "accumbens": (0.66, 0.36, 0.62, 0.76, 0.50, 0.44),
    "ventral_dc": (0.92, 0.27, 0.52, 0.67, 0.42, 0.38),
    "brainstem": (0.80, 0.29, 0.52, 0.68, 0.46, 0.36),
    "cerebellar_cortex": (0.56, 0.42, 0.62, 0.80, 0.58, 0.44),
    "cerebellar_white": (0.97, 0.31, 0.50, 0.65, 0.50, 0.36),
    "choroid": (0.50, 0.60, 0.60, 0.80, 0.50, 0.50),
    "lesion": (0.70, 0.62, 0.95, 0.80, 0.65, 0.25),
    "artery": (0.55, 0.10, 0.20, 0.30, 0.60, 0.55),
    "vein": (0.45, 0.20, 0.25, 0.40, 0.25, 0.65),
    "skin": (0.95, 0.55, 0.65, 0.70, 0.50, 0.15),
    "soft": (0.55, 0.40, 0.50, 0.60, 0.45, 0.35),
    "muscle": (0.48, 0.20, 0.35, 0.55, 0.40, 0.70),
    "mucosa": (0.55, 0.60, 0.70, 0.80, 0.50, 0.45),
    "bone": (0.10, 0.05, 0.08, 0.10, 0.05, 1.00),
    "marrow": (0.55, 0.35, 0.40, 0.50, 0.30, 1.00),
    "eye": (0.22, 1.05, 0.12, 0.85, 0.90, 0.15),
    "nerve": (0.75, 0.32, 0.50, 0.65, 0.45, 0.40),
    "necrosis": (0.35, 0.90, 0.40, 0.85, 0.85, 0.22),
    "rim": (0.62, 0.45, 0.72, 0.75, 0.50, 0.62),  # without contrast medium, as nearly all that is solid in a tumour
    "oedema": (0.70, 0.72, 0.92, 0.82, 0.75, 0.25),
    "blood": (0.85, 0.20, 0.40, 0.55, 0.08, 0.85),  # some days old; its iron darkens T2 and T2*
    "cavity": (0.22, 1.05, 0.12, 0.85, 0.95, 0.10),
}
CONTRAST_TABLES = {name: {tissue: row[k] for tissue, row in _BRIGHTNESS.items()} for k, name in enumerate(_NAMES)}


def _spin_echo_t1() -> dict[str, float]:
    """The T1 of most clinical exams, mean of 1.5 and 3 T: grey matter is nearly as bright as white, which has 1."""
    tr, te = 550.0, 12.0  # ms
    seen = {t: sum(spin_echo(times(t, tesla), tr=tr, te=te) for tesla in (1.5, 3.0)) for t in _BRIGHTNESS}
    return {t: round(signal / seen["white"], 3) for t, signal in seen.items()}


CONTRAST_TABLES["T1 SE"] = _spin_echo_t1()
T1S = ("T1", "T1 SE")

# What the network is to produce: MP-RAGE, white matter at 1. Its brightness is that of the real T1s that are targets
# beside the painted ones (six of ds002748, N4, medians in structures): of two kinds the network would give a mean.
TARGET = "T1"
_MEASURED = {
    "cortex": 0.65, "thalamus": 0.90, "caudate": 0.73, "putamen": 0.83, "pallidum": 1.00, "hippocampus": 0.70,
    "amygdala": 0.71, "accumbens": 0.69, "ventral_dc": 1.00, "brainstem": 1.00, "cerebellar_cortex": 0.71,
    "cerebellar_white": 1.02,
}  # fmt: skip


def target_means(name: str, *, ill: bool) -> dict[str, float]:
    """How bright each tissue is in a painted target, white matter at 1.

    Parameters
    ----------
    name : one of `CONTRAST_TABLES`
    ill : bool
        Whether lesions are to be seen in it. If not, those that a label map shows by itself have healed, too.
    """
    means = CONTRAST_TABLES[name] | (_MEASURED if name == TARGET else {})
    return means if ill else means | {"lesion": means["white"]}


CEREBRAL = ("fluid", "cortex", "white", "thalamus", "caudate", "putamen", "hippocampus")
LIKE = 0.25  # of white matter: how far a T1 of another scanner may lie from the table


def is_t1(means: Mapping[str, float]) -> bool:
    """Whether brain tissues are about as bright as in an MP-RAGE, up to a gain.

    Parameters
    ----------
    means : tissue to number, arbitrary units
    """
    white = max(means["white"], 1e-6)
    from_mprage, from_spin_echo = ([means[t] / white - CONTRAST_TABLES[name][t] for t in CEREBRAL] for name in T1S)
    nearer = sum(x * x for x in from_mprage) < sum(x * x for x in from_spin_echo)
    return nearer and all(abs(x) < LIKE for x in from_mprage)
