"""Networks and nothing else. A new one is one file here and one line below."""

from typing import Any

from torch import nn

from .cascade import Cascade
from .compact import Compact
from .unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"cascade": Cascade, "compact": Compact, "unet": UNet}


def build(kind: str, arguments: dict[str, Any]) -> nn.Module:
    """A network by its name.

    Parameters
    ----------
    kind : one of `NETWORKS`
    arguments : of its constructor

    Raises
    ------
    ValueError
        If there is no such network, or it does not take these arguments.
    """
    if kind not in NETWORKS:
        raise ValueError(f"Unknown network {kind!r}; choose from {sorted(NETWORKS)}.")
    try:
        return NETWORKS[kind](**arguments)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError, IndexError) as error:
        raise ValueError(f"network {kind} does not take {arguments}: {error}.") from None


__all__ = ["NETWORKS", "Cascade", "Compact", "UNet", "build"]
