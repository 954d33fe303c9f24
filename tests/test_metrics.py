from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from isomorph.evaluate import METRICS, mae, ncc, psnr, ssim
from isomorph.volume import Volume


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    reference = rng.random((20, 22, 24)).cumsum(0).cumsum(1) / 20
    return torch.tensor(reference + rng.normal(0, 0.5, reference.shape)).float(), torch.tensor(reference).float()


def test_psnr_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = peak_signal_noise_ratio(pair[1].double().numpy(), pair[0].double().numpy(), data_range=20)
    assert psnr(*pair, data_range=20) == pytest.approx(expected, rel=1e-9)


def test_ssim_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    a, b = (x.double().numpy() for x in pair)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 20.0}
    expected, whole = structural_similarity(a, b, full=True, **options)
    assert ssim(*pair, data_range=20) == pytest.approx(expected, rel=1e-6)
    mask = np.zeros(a.shape, bool)
    mask[6:12, 7:14, 8:15] = True
    assert ssim(*pair, mask=torch.tensor(mask), data_range=20) == pytest.approx(whole[mask].mean(), rel=1e-6)


def test_ncc_agrees_with_numpy_and_is_blind_to_gain_and_offset(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = np.corrcoef(*(x.double().numpy().ravel() for x in pair))[0, 1]
    assert ncc(*pair) == pytest.approx(expected, rel=1e-9)
    assert ncc(3 * pair[0] + 100, pair[1]) == pytest.approx(expected, rel=1e-6)
    assert math.isnan(ncc(torch.ones_like(pair[0]), pair[1]))


def test_mae_agrees_with_numpy(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert mae(*pair) == pytest.approx(np.abs((pair[0] - pair[1]).numpy()).mean(), rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_perfect_on_identity_symmetric_and_sees_only_the_mask(
    name: str, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    metric = METRICS[name]
    perfect = {"mae": 0.0, "psnr": math.inf, "ssim": 1.0, "ncc": 1.0}[name]
    assert metric(pair[1], pair[1], data_range=20) == pytest.approx(perfect)
    assert metric(*pair, data_range=20) == pytest.approx(metric(*pair[::-1], data_range=20))
    assert metric(*(x.flip(0).permute(2, 0, 1) for x in pair), data_range=20) == pytest.approx(
        metric(*pair, data_range=20)
    )
    mask = torch.zeros(pair[0].shape, dtype=torch.bool)
    mask[8:12, 8:12, 8:12] = True
    far = pair[0].clone()
    far[-1] += 1000  # beyond the reach of any window in the mask
    assert metric(far, pair[1], mask=mask, data_range=20) == metric(*pair, mask=mask, data_range=20)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_names_what_is_wrong(name: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="one grid"):
        METRICS[name](pair[0][1:], pair[1], data_range=1)
    with pytest.raises(ValueError, match="empty"):
        METRICS[name](*pair, mask=torch.zeros(pair[0].shape, dtype=torch.bool), data_range=1)
    if name in {"psnr", "ssim"}:
        for wrong in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match="data_range"):
                METRICS[name](*pair, data_range=wrong)
            with pytest.raises(ValueError, match="data_range"):
                METRICS[name](pair[0], pair[0], data_range=wrong)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_says_what_to_give_in_place_of_a_volume(name: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = Volume(pair[0][None], np.eye(4))
    for said, given in {
        "prediction is a Volume": ((x, pair[1]), None),
        "reference is a Volume": ((pair[0], x), None),
        "mask is a Volume": (pair, x),
        "prediction is a ndarray": ((pair[0].numpy(), pair[1]), None),
    }.items():
        with pytest.raises(TypeError, match=rf"{said}, not a tensor; of a Volume give `volume.data\[0\]`\.$"):
            METRICS[name](*given[0], mask=given[1], data_range=1)
