"""A small network that names structures: fast on a plain processor."""

from __future__ import annotations

from torch import Tensor, nn

from .context import Context, depth_to_space
from .slabs import with_halo


class Parcels(Context):
    """A U-Net on the 2 mm grid, each voxel of which says what its eight voxels of 1 mm belong to.

    Parameters
    ----------
    inputs, outputs : int
        Channels; one output, a logit, for each class.
    features : sequence of int
        Width of each level, from the 2 mm grid down.
    """

    def __init__(self, inputs: int = 1, outputs: int = 2, features: tuple[int, ...] = (32, 64, 128, 192)) -> None:
        super().__init__(inputs, outputs, features)
        self.name = nn.Conv3d(features[0], 8 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        context = self.context(x)
        return with_halo(self._named, context, channels=8 * self.outputs, halo=0)

    def _named(self, context: Tensor) -> Tensor:
        return depth_to_space(self.name(context))
