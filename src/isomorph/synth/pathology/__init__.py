"""Disease, grown: what it is made of as soft maps, and where it pushes the brain.

A new kind is one file here, one line in `grow.KINDS` and one in `prior.Pathology`.
"""

from .grow import grow, pathology
from .prior import Pathology

__all__ = ["Pathology", "grow", "pathology"]
