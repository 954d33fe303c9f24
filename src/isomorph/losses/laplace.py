"""How sure is the network? Its second output says."""

from __future__ import annotations

from torch import Tensor

SHARPEST = -6.0  # logarithm of the least scale: 0.25 % of white matter; below it only the gradient would grow


def laplace(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Negative log-likelihood of a Laplace distribution, less log 2 [1]_.

    The first half of the outputs is where the distribution is centred, in white matter = 1; the second half is the
    natural logarithm of its scale b. At the truth the loss is log b, and no scale but the true one makes it least,
    down to `SHARPEST`.

    Parameters
    ----------
    prediction : (N, 2 C, I, J, K) tensor
    target : (N, C, I, J, K) tensor
    weight : (N, 1, I, J, K) tensor

    References
    ----------
    .. [1] Kendall & Gal, NeurIPS 2017, arXiv:1703.04977
    """
    image, scale = prediction.chunk(2, 1)
    least = scale.clamp(min=SHARPEST)
    back = (least - scale).relu()  # the clamp has no slope: this alone lets a scale below it rise again
    return (((image - target).abs() * (-least).exp() + least + back - back.detach()) * weight).mean()
