"""Scans, model and options that do not go together: told before any work."""

from __future__ import annotations

from collections.abc import Sequence

from ..align import able
from ..errors import UsageError
from ..volume import Volume
from ..weights import Model, channels, sharpens, tomographic
from .channels import fit
from .compat import rules_of
from .options import Options


def possible(scans: Sequence[object | None], model: Model, how: Options, *, mask: bool, doubt: bool) -> None:
    """Refuse what cannot be.

    Parameters
    ----------
    scans : sequence
        Of one exam, or the one scan; None where one is missing.
    model : Model
    how : Options
    mask, doubt : bool
        Whether there is a mask of lesions, and whether a map of uncertainty is asked for.

    Raises
    ------
    UsageError
        If an exam does not fit the model, or an option does not go with the model or with another option.
    SetupError
        E905, if scans are to be registered and antspyx is missing; E906 as `rules_of`.
    """
    rules, several = rules_of(model, how.compat), channels(model) > 1
    given = sum(scan is not None for scan in scans)
    if not given:
        raise UsageError("an exam without a scan; give one or more.")
    if several:
        fit(scans, model)
    if tomographic(model.card) and not how.ct:
        raise UsageError(f"{model.card['name']} knows CT alone; add --ct, or choose another model for an MR scan.")
    if sharpens(model.card):
        _sharpened(scans, model, mask=mask or how.lesions == "keep", doubt=doubt)
    if several and (mask or how.lesions == "keep"):
        said = f"{model.card['name']} takes several scans at once, and lesions are neither kept nor filled"
        raise UsageError(f"{said}; leave out --lesions keep and --lesion-mask.")
    if rules and doubt:
        raise UsageError("there is no uncertainty in a compatible mode; leave out --uncertainty, or --compat none.")
    if rules and how.lesions == "keep":
        raise UsageError("SynthSR keeps no lesions; say --lesions inpaint, or --compat none.")
    if registers(scans, model, how):
        able()


def whole(scans: Sequence[object | None]) -> None:
    """Refuse what the package itself would not have read.

    Raises
    ------
    TypeError, ValueError
        If a scan is no Volume, has several channels, or values that are not finite.
    """
    for scan in scans:
        if scan is None:
            continue
        if not isinstance(scan, Volume):
            said = f"{type(scan).__name__} {scan!r:.40}"
            raise TypeError(f"A scan is a Volume, got {said}; isomorph.load(path) gives one.")
        if (n := scan.data.shape[0]) != 1:
            raise ValueError(f"The scan must have one channel, got {n}; choose one with data[i : i + 1].")
        if not scan.data.isfinite().all():
            raise ValueError("The scan holds values that are not finite; replace them, as isomorph.io.read does.")


def registers(scans: Sequence[object | None], model: Model, how: Options) -> bool:
    """Whether scans are brought to one place: the original takes a pair as its headers put it.

    Parameters
    ----------
    scans, model, how
        As for `possible`.
    """
    paired = channels(model) > 1 and rules_of(model, how.compat)
    return sum(scan is not None for scan in scans) > 1 and not paired


def _sharpened(scans: Sequence[object | None], model: Model, *, mask: bool, doubt: bool) -> None:
    """A scan that is sharpened in its own contrast keeps its lesions, and there is one of it."""
    said = f"{model.card['name']} sharpens a scan in its own contrast"
    if model.card["target"] != 0 or scans[0] is None:
        raise UsageError(f"{said}, which must be the first one of the exam; give it, or choose another model.")
    if channels(model) == 1 and len(scans) > 1:
        raise UsageError(f"{said} and takes one; give each scan by itself.")
    if mask:
        raise UsageError(f"{said}, lesions and all; leave out --lesions keep and --lesion-mask.")
    if doubt:
        raise UsageError(f"{said}, for which uncertainty was never measured; leave out --uncertainty.")
