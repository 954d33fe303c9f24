"""Networks and nothing else. A new one is one file here and one line below."""

from .compact import Compact
from .unet import UNet

NETWORKS = {"compact": Compact, "unet": UNet}

__all__ = ["NETWORKS", "Compact", "UNet"]
