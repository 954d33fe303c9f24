"""The one place where the defaults of prediction live."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to predict.

    Parameters
    ----------
    model : str
        Name of a shipped model, or a ``.safetensors`` file.
    ct : bool
        The scan is CT, in Hounsfield units.
    device : str
        ``auto`` takes a GPU where there is one.
    threads : int, optional
        Of the processor; PyTorch chooses if not given.
    precision : str
        ``auto`` takes bf16 where the hardware computes in it, else fp32.
    flip : bool
        Average with the prediction of the mirrored scan: twice the time, a little better.
    overwrite : bool
        Replace outputs that are there already.
    strict : bool
        Refuse a scan whose geometry or intensities are only probably right (warnings W4xx and W5xx).

    Raises
    ------
    UsageError
        If a value is none of these.
    """

    model: str = "default"
    ct: bool = False
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    flip: bool = True
    overwrite: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("device", DEVICES), ("precision", PRECISIONS)):
            if (value := getattr(self, name)) not in choices:
                raise UsageError(f"--{name} is {value!r}; choose from {', '.join(choices)}.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads is {self.threads}; give 1 or more.")


OPTIONS = Options()
