"""Pre- and post-processing of the original SynthSR, for its converted weights."""

from .hyperfine import HYPERFINE
from .repeat import passes, rules_of
from .rules import RULES, Fed, Rules

__all__ = ["HYPERFINE", "RULES", "Fed", "Rules", "passes", "rules_of"]
