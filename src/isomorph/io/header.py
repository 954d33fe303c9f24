"""What every format's header boils down to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isomorph.errors import Refusal
from isomorph.io.geometry import Claims
from isomorph.io.names import Notice


@dataclass(frozen=True, eq=False)
class Header:
    """The parts of a header that are used; everything else, free text above all, is dropped here.

    Parameters
    ----------
    kind : str
        ``nifti1``, ``nifti2``, ``analyze`` or ``mgh``.
    shape : tuple of int
        All axes as stated, checked to be at least 1.
    dtype : np.dtype
        Of the stored voxels, byte order included.
    offset : int
        Bytes before the first voxel.
    slope, inter : float
        Stored value times slope plus inter is the value.
    claims : Claims
        About place.
    notices : tuple of Notice
    pair : bool
        Whether the voxels lie in a second file.
    exact : bool
        Whether the file must end with the last voxel for `offset` to be believed.
    footer : bool
        Whether the format allows bytes after the voxels.
    ours : bool
        Whether isomorph wrote this header.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    claims: Claims
    notices: tuple[Notice, ...] = ()
    pair: bool = False
    exact: bool = False
    footer: bool = False
    ours: bool = False

    @property
    def end(self) -> int:
        """Bytes from the start of the file to the end of the last voxel."""
        return self.offset + self.voxels * self.dtype.itemsize

    @property
    def voxels(self) -> int:
        """Voxels in all frames."""
        return math.prod(self.shape)

    @property
    def grid(self) -> tuple[int, int, int]:
        """The three axes of space."""
        i, j, k = self.shape[:3]
        return i, j, k

    @property
    def frames(self) -> int:
        """Images in the file."""
        return math.prod(self.shape[3:])


def three_axes(shape: tuple[int, ...]) -> None:
    """Refuse what is no stack of 3-D images.

    Raises
    ------
    Refusal
        E202 fewer than three axes, E204 channels where space or time is expected.
    """
    said = " x ".join(map(str, shape))
    if len(shape) < 3:
        raise Refusal("E202", f"the image is {len(shape)}-D ({said}), a 3-D volume is needed", "give the whole volume")
    if any(n > 1 for n in shape[4:]):
        raise Refusal("E204", f"the image is {len(shape)}-D ({said}): vectors or colours", "give one scalar volume")
    if len(shape) > 3 and shape[0] <= 4 < shape[3]:
        raise Refusal(
            "E204", f"the first of the axes {said} looks like channels", "move the channels last or split them"
        )
