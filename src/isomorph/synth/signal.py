"""The signal equations: how bright a tissue is in a pulse sequence. Times in ms, angles in degrees.

Each takes the relaxation of one tissue and the timing of the sequence, and gives the magnitude relative to that of
water at full magnetisation.
"""

from __future__ import annotations

from math import cos, exp, log, radians, sin

from .relaxation import Times


def spin_echo(tissue: Times, *, tr: float, te: float) -> float:
    """Spin echo, and fast spin echo with its effective echo time.

    Parameters
    ----------
    tissue : Times
    tr, te : ms
        Between excitations; from excitation to the echo, short against `tr`.
    """
    return tissue.pd * (1 - exp(-tr / tissue.t1)) * exp(-te / tissue.t2)


def inversion(tissue: Times, *, tr: float, te: float, ti: float) -> float:
    """Inversion recovery, magnitude: FLAIR where `ti` lets fluid vanish.

    Parameters
    ----------
    tissue : Times
    tr, te, ti : ms
        Between inversions; echo; from inversion to excitation.
    """
    return abs(_recovered(tissue, tr, ti)) * tissue.pd * exp(-te / tissue.t2)


def phase_sensitive(tissue: Times, *, tr: float, te: float, ti: float) -> float:
    """Inversion recovery that keeps the sign: what has not yet passed zero is black, not bright again.

    Parameters
    ----------
    tissue : Times
    tr, te, ti : ms
    """
    return max(0.0, _recovered(tissue, tr, ti)) * tissue.pd * exp(-te / tissue.t2)


def spoiled_echo(tissue: Times, *, tr: float, te: float, flip: float) -> float:
    """Spoiled gradient echo (FLASH, SPGR), steady state [1]_.

    Parameters
    ----------
    tissue : Times
    tr, te : ms
    flip : degrees

    References
    ----------
    .. [1] Haase et al., JMR 1986, doi:10.1016/0022-2364(86)90433-6
    """
    left, angle = exp(-tr / tissue.t1), radians(flip)
    return tissue.pd * sin(angle) * (1 - left) / (1 - left * cos(angle)) * exp(-te / tissue.t2_star)


def mprage(tissue: Times, *, tr: float, te: float, ti: float, flip: float, echoes: float, spacing: float) -> float:
    """Inversion, then a train of gradient echoes whose middle one decides the contrast, steady state [1]_.

    Parameters
    ----------
    tissue : Times
    tr, ti : ms
        Between inversions; from inversion to the middle of the train.
    te : ms
    flip : degrees
    echoes, spacing : number and ms
        Of the train: how many, and from one to the next.

    References
    ----------
    .. [1] Deichmann et al., NeuroImage 2000, doi:10.1006/nimg.2000.0601
    """
    angle, train = radians(flip), echoes * spacing
    before, after = ti - train / 2, tr - ti - train / 2
    driven = 1 / (1 / tissue.t1 - log(cos(angle)) / spacing)  # T1 as the train of pulses makes it seem
    level = (1 - exp(-spacing / tissue.t1)) / (1 - cos(angle) * exp(-spacing / tissue.t1))
    e1, e2, e3 = exp(-before / tissue.t1), exp(-train / driven), exp(-after / tissue.t1)
    # With m before the inversion: start = 1 - (1 + m) e1, end = level + (start - level) e2, m = 1 - (1 - end) e3.
    m = (1 - e3 + e3 * (level * (1 - e2) + e2 * (1 - e1))) / (1 + e1 * e2 * e3)
    middle = level + (1 - (1 + m) * e1 - level) * exp(-train / 2 / driven)
    return tissue.pd * sin(angle) * abs(middle) * exp(-te / tissue.t2_star)


def null(t1: float, tr: float) -> float:
    """Inversion time, in ms, at which a tissue of this T1 vanishes.

    Parameters
    ----------
    t1, tr : ms
    """
    return t1 * log(2 / (1 + exp(-tr / t1)))


def _recovered(tissue: Times, tr: float, ti: float) -> float:
    """Magnetisation at the excitation, from -1 to 1; the excitation of the repetition before left none."""
    return 1 - 2 * exp(-ti / tissue.t1) + exp(-tr / tissue.t1)
