"""The weights that the authors of SynthSR published: which file is which, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SetupError

LEVEL = 110 / 255  # of white matter in the raw output: times 255, it is where FreeSurfer expects it
FREESURFER = "FreeSurfer Software License"


@dataclass(frozen=True)
class Original:
    """A published network.

    Parameters
    ----------
    name : str
        Under which the converted model goes.
    inputs : int
        Scans that it wants.
    licence, data : str
    file : str
        As published.
    """

    name: str
    inputs: int
    licence: str
    data: str
    file: str = ""

    def card(self, kind: str) -> dict[str, Any]:
        """What prediction must know of it."""
        hyperfine = kind == "hyperfine"
        return {
            "name": self.name,
            "network": "unet",
            "kind": "synthesis",
            "original": kind,
            "compat": "hyperfine" if hyperfine else "freesurfer",
            "white_matter": LEVEL,
            "licence": self.licence,
            "data": self.data,
        } | ({"residual": [0]} if hyperfine else {})  # it says what to add to the T1


P21, P23 = "doi:10.1016/j.neuroimage.2021.118206", "doi:10.1126/sciadv.add3607"
CARDS = {
    "v1": Original("synthsr-v1", 1, "Apache-2.0", f"that of {P21}", "synthsr_v10_210712.h5"),
    "v2": Original("synthsr-v2", 1, FREESURFER, f"that of {P23}", "synthsr_v20_230130.h5"),
    "lowfield": Original("synthsr-lowfield", 1, FREESURFER, f"that of {P23}", "synthsr_lowfield_v20_230130.h5"),
    "hyperfine": Original("synthsr-hyperfine", 2, "Apache-2.0", f"that of {P21}", "synthsr_v10_210712_hyperfine.h5"),
}
KNOWN = {  # SHA-256 of the file
    "2fd59e96196388360eba95254fb6dfc9eb9eb8638018b590575e47e0a387f255": "v1",
    "a472f776e7b33b5ea6e10c801f55fee488f1477a208b3e6998dc1aec1d9c5f8b": "v2",
    "a7c5ea91c94fe31f3c716252caae0d181629201bd884dc59af88ddfd75ed4b84": "lowfield",
}


def missing(kind: str, folder: Path) -> SetupError:
    """The error of weights that are not there: where to get them, and what to type."""
    original = CARDS[kind]
    return SetupError(
        f"E904 the {kind} weights of SynthSR are not shipped: take {original.file} from models/ of FreeSurfer 7.4 or "
        f"newer (docs/original-weights.md), then type: isomorph convert-weights {original.file} "
        f"{folder / original.name}.safetensors"
    )
