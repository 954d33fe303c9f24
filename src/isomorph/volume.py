"""The one object that travels through the package: voxels that know where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image and its place in scanner space.

    Only functions of `isomorph.space` change the affine, and in the generator the scanner and registration; everything
    else keeps the place and replaces the voxels through `with_data`.

    Parameters
    ----------
    data : (C, I, J, K) tensor
        Intensities or labels, on any device.
    affine : (4, 4) array
        Voxel indices to scanner coordinates, RAS+, in mm. The centre of voxel (0, 0, 0) lies at
        ``affine[:3, 3]``.

    Raises
    ------
    ValueError
        If the shapes are not the above, or the affine is singular or not finite.
    """

    data: Tensor
    affine: np.ndarray

    def __post_init__(self) -> None:
        if self.data.ndim != 4:
            raise ValueError(
                f"Volume data must be (C, I, J, K), got shape {tuple(self.data.shape)}; add a channel axis."
            )
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f"Volume affine must be (4, 4), got shape {affine.shape}.")
        if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
            raise ValueError("Volume affine must be finite and invertible.")
        # Two volumes may share one affine: an edit in place would move both without a word.
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size (I, J, K)."""
        i, j, k = self.data.shape[1:]
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each axis, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    def with_data(self, data: Tensor) -> Volume:
        """Same place, new voxels."""
        return replace(self, data=data)
