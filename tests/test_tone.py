"""Local tone curves: what is one curve everywhere is found exactly, what changes in space is followed."""

import pytest
import torch

from isomorph.nets.tone import apply_curves, hats, local_curves, local_lines

SIZE = 32


@pytest.fixture
def image():
    return torch.rand(1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_the_shares_are_those_of_linear_interpolation(image):
    share, levels = hats(image, 6), torch.linspace(0, 1, 6).view(1, -1, 1, 1, 1)
    assert torch.allclose(share.sum(1), torch.ones(1, SIZE, SIZE, SIZE))
    assert torch.allclose((share * levels).sum(1, keepdim=True), image, atol=1e-6)
    assert ((share > 0).sum(1) <= 2).all()


@pytest.mark.parametrize("window", range(3))
def test_an_inverted_contrast_is_turned_back(image, window):
    levels = torch.round(image * 7) / 7  # brightness at the nodes: the curve is exact
    curve = local_curves(levels, 1 - levels, nodes=8, levels=3)[window]
    assert torch.allclose(apply_curves(levels, curve), 1 - levels, atol=0.04)


def test_a_curve_that_changes_in_space_is_followed_by_the_narrow_window(image):
    levels = torch.round(image * 7) / 7
    left = torch.arange(SIZE).view(1, 1, SIZE, 1, 1) < SIZE // 2
    truth = torch.where(left, levels, 1 - levels)
    narrow, *_, wide = (apply_curves(levels, c) for c in local_curves(levels, truth, nodes=8, levels=3))
    assert (narrow - truth)[:, :, :4].abs().mean() < 0.02
    assert (narrow - truth).abs().mean() < (wide - truth).abs().mean()


def test_a_blurred_answer_becomes_as_sharp_as_the_scan():
    x = torch.zeros(1, 1, SIZE, SIZE, SIZE)
    x[:, :, SIZE // 2 :] = 1.0
    blurred = torch.nn.functional.avg_pool3d(x, (5, 1, 1), 1, (2, 0, 0))
    sharp = apply_curves(x, local_curves(x, blurred, nodes=8, levels=3)[1])
    assert (sharp - x).abs().max() < 0.5 * (blurred - x).abs().max()


def test_a_brightness_that_does_not_occur_is_asked_of_the_wider_window():
    x = torch.zeros(1, 1, SIZE, SIZE, SIZE)
    x[:, :, -4:] = 1.0
    for curve in local_curves(x, x, nodes=8, levels=3):
        assert curve.isfinite().all()
        assert curve[:, -1].max() == pytest.approx(1, abs=0.05)


def test_a_line_is_found_again_whatever_air_says():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 64, 64, 64)
    y = 0.2 + 0.7 * x
    x[:, :, :16], y[:, :, :16] = 0.0, 5.0  # air is not tissue
    line = local_lines(x, y, levels=3)
    assert line.shape == (1, 2, 8, 8, 8)
    seen = apply_curves(x, line)[:, :, 16:]
    assert (seen - y[:, :, 16:]).abs().max() < 0.02


def test_what_is_brighter_than_bright_tissue_does_not_tilt_the_line():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 64, 64, 64) * 1.4  # curves take what is above 1 for 1
    line = local_lines(x, x.clamp(max=1), levels=3)
    assert (apply_curves(x, line) - x.clamp(max=1))[x > 0.05].abs().max() < 0.02


def test_where_brightness_does_not_vary_a_line_is_flat():
    x, y = torch.full((1, 1, 32, 32, 32), 0.5), torch.rand(1, 1, 32, 32, 32)
    line = local_lines(x, y, levels=3)
    assert (line[:, 0] - line[:, 1]).abs().max() < 1e-3
    assert line.mean() == pytest.approx(0.5, abs=0.02)
