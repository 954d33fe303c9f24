"""Where networks run, and how precisely."""

from __future__ import annotations

import torch

from .errors import SetupError


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``mps`` into a device.

    Raises
    ------
    SetupError
        If the machine has no such device.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if not present[name]:
        raise SetupError(
            f"E804 this machine has no usable {name} device; choose from {[k for k in present if present[k]]}."
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """Turn ``auto`` into ``bf16`` where the hardware computes in it, else ``fp32``."""
    if name != "auto":
        return name
    return "bf16" if computes_in_bf16(device) else "fp32"


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware does; else PyTorch imitates it, and a convolution takes a hundred times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = {name for name, there in _capabilities().items() if there}
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & able)


def _capabilities() -> dict[str, object]:
    """What the processor can do, as PyTorch says; nothing where it cannot tell."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return dict(ask()) if ask else {}
