"""Scans, model and options that do not go together: told before any work."""

from __future__ import annotations

from collections.abc import Sequence

from ..align import able
from ..errors import UsageError
from ..weights import Model, channels
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
    if several and mask:
        raise UsageError(f"{model.card['name']} takes several scans at once and no lesion mask; leave it out.")
    if rules and doubt:
        raise UsageError("there is no uncertainty in a compatible mode; leave out --uncertainty, or --compat none.")
    if rules and mask and how.lesions == "keep":
        raise UsageError("SynthSR keeps no lesions; say --lesions inpaint, or --compat none.")
    if given > 1 and not (several and rules):  # the original takes a pair as its headers put it
        able()
