"""What goes wrong in a scanner, and after it. Each is one file: a function and its prior."""

from .background import Background
from .dropped import Dropped
from .ghosting import Ghosting
from .quantise import Quantise
from .reslice import Reslice
from .slice_motion import SliceMotion
from .spikes import Spikes
from .view import View
from .wrap import Wrap

ARTEFACTS = {
    "slice_motion": SliceMotion, "dropped": Dropped, "ghosting": Ghosting, "spikes": Spikes, "wrap": Wrap,
    "view": View, "background": Background, "reslice": Reslice, "quantise": Quantise,
}  # fmt: skip

__all__ = ["ARTEFACTS"]
