"""Networks and nothing else. A new one is one file here and one line below."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from .cascade import Cascade
from .compact import Compact
from .parcels import Parcels
from .residual import Residual
from .unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"cascade": Cascade, "compact": Compact, "parcels": Parcels, "unet": UNet}


def build(kind: str, arguments: dict[str, Any], residual: Sequence[int] = ()) -> nn.Module:
    """A network by its name: the one place that decides what is run, for training and for prediction.

    Parameters
    ----------
    kind : one of `NETWORKS`
    arguments : of its constructor
    residual : input channels that its outputs are added to, one for each output; none if empty

    Raises
    ------
    ValueError
        If there is no such network, or it does not take these arguments, or has no such channels.
    """
    if kind not in NETWORKS:
        raise ValueError(f"Unknown network {kind!r}; choose from {sorted(NETWORKS)}.")
    try:
        network = NETWORKS[kind](**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"network {kind} does not take {arguments}: {error}.") from None
    inputs, outputs = arguments.get("inputs", 1), arguments.get("outputs", 1)
    if len(residual) > outputs or not all(isinstance(k, int) and 0 <= k < inputs for k in residual):
        raise ValueError(f"residual is {list(residual)}; give one of {inputs} inputs for each of {outputs} outputs.")
    return Residual(network, residual) if residual else network


__all__ = ["NETWORKS", "Cascade", "Compact", "Parcels", "Residual", "UNet", "build"]
