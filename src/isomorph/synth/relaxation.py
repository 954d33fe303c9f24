"""How fast each tissue relaxes, at three field strengths.

Grey and white matter and fluid: T1 after Rooney et al. (doi:10.1002/mrm.21122), T2 after Stanisz et al.
(doi:10.1002/mrm.20605) and Wansapura et al. (JMRI 1999, 9:531), 64 mT after O'Reilly and Webb (50 mT,
doi:10.1002/mrm.29009) and Jordanova et al. (64 mT, doi:10.1007/s10334-023-01095-x). Deep nuclei lie between grey and
white matter, shortened by iron. All that lies outside the brain, and all pathology, is approximate; the proton density
of vessels is what flow leaves of it, that of scalp and marrow what is left of their fat. Every draw displaces each
number.
"""

from __future__ import annotations

from typing import NamedTuple

TESLA = (0.064, 1.5, 3.0)


class Times(NamedTuple):
    """Relaxation of a tissue; times in ms, proton density as a share of that of water."""

    pd: float
    t1: float
    t2: float
    t2_star: float


_ROWS = {  # proton density | T1 at 0.064, 1.5, 3 T | T2 at 0.064, 1.5, 3 T | T2* at 3 T
    "fluid": (1.00, 3600, 4070, 4160, 1600, 2000, 2000, 400),
    "cortex": (0.83, 335, 1190, 1400, 98, 95, 100, 52),
    "white": (0.68, 280, 660, 840, 93, 80, 75, 45),
    "thalamus": (0.76, 310, 900, 1080, 90, 82, 78, 45),
    "caudate": (0.81, 325, 1060, 1280, 92, 86, 80, 42),
    "putamen": (0.80, 318, 990, 1180, 85, 78, 70, 36),
    "pallidum": (0.72, 285, 760, 900, 72, 62, 50, 22),
    "hippocampus": (0.83, 340, 1180, 1380, 102, 98, 100, 48),
    "amygdala": (0.82, 338, 1160, 1360, 100, 96, 98, 46),
    "accumbens": (0.81, 325, 1080, 1290, 94, 88, 84, 44),
    "ventral_dc": (0.73, 295, 800, 950, 86, 72, 66, 36),
    "brainstem": (0.74, 300, 850, 1000, 92, 82, 78, 44),
    "cerebellar_cortex": (0.82, 335, 1180, 1380, 98, 95, 98, 50),
    "cerebellar_white": (0.69, 285, 680, 860, 94, 82, 77, 45),
    "choroid": (0.90, 500, 1500, 1800, 150, 140, 130, 60),
    "lesion": (0.85, 420, 1150, 1350, 170, 150, 150, 90),
    "necrosis": (0.95, 900, 1900, 2300, 300, 250, 220, 120),
    "rim": (0.85, 400, 1200, 1400, 130, 120, 115, 60),  # without contrast medium
    "oedema": (0.88, 480, 1350, 1600, 170, 150, 140, 80),
    "blood": (0.80, 400, 900, 1000, 100, 60, 45, 12),
    "cavity": (1.00, 3000, 3800, 3900, 1200, 1500, 1500, 300),
    "artery": (0.12, 450, 1440, 1900, 250, 250, 200, 60),
    "vein": (0.25, 420, 1400, 1600, 180, 100, 50, 20),
    "skin": (0.60, 180, 400, 500, 80, 75, 65, 40),
    "soft": (0.70, 200, 650, 800, 60, 55, 50, 25),
    "muscle": (0.75, 180, 900, 1200, 40, 45, 38, 25),
    "mucosa": (0.85, 350, 1100, 1300, 110, 100, 90, 30),
    "bone": (0.10, 150, 200, 250, 2, 2, 2, 1),
    "marrow": (0.45, 150, 320, 400, 90, 75, 65, 12),
    "eye": (1.00, 3500, 4000, 4100, 1500, 1600, 1600, 300),
    "nerve": (0.68, 290, 680, 860, 94, 80, 75, 40),
    "air": (0.00, 1000, 1000, 1000, 100, 100, 100, 50),
}


def times(tissue: str, tesla: float) -> Times:
    """Relaxation of a tissue of `isomorph.labels.TISSUES`.

    Parameters
    ----------
    tissue : str
    tesla : one of `TESLA`
    """
    k = TESLA.index(tesla)
    pd, *rest = _ROWS[tissue]
    t2 = rest[3 + k]
    # 1/T2* = 1/T2 + 1/T2', and the inhomogeneity T2' is that of the magnetic field times the susceptibility of tissue.
    inhomogeneity = max(0.0, 1 / rest[6] - 1 / rest[5]) * tesla / TESLA[-1]
    return Times(pd, rest[k], t2, 1 / (1 / t2 + inhomogeneity))
