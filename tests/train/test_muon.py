"""Muon: steps of one length in every direction, AdamW for the rest."""

import copy

import pytest
import torch
from torch import nn

from isomorph import device
from isomorph.train.muon import SIZE, Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 128), (128, 16), (32, 32)])
def test_all_directions_become_about_equally_long(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -1, shape[1])
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_sense_of_the_gradient_is_kept():
    matrix = torch.randn(16, 128, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    step = orthogonal(matrix)
    assert (step * (u @ v)).sum() / step.norm() / (u @ v).norm() > 0.98


def test_a_step_is_as_long_as_the_rate_says():
    layer = nn.Conv3d(16, 16, 3, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2))
    Muon(layer.parameters(), lr=0.01, weight_decay=0.0).step()
    length = (layer.weight - before).square().mean().sqrt().item()
    assert length == pytest.approx(0.01 * SIZE, rel=0.3)


def test_vectors_and_narrow_kernels_are_those_of_adam():
    torch.manual_seed(0)
    ours, theirs = nn.Conv3d(2, 4, 3), nn.Conv3d(2, 4, 3)
    theirs.load_state_dict(ours.state_dict())
    pair = [(ours, Muon(ours.parameters(), lr=0.01)), (theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01))]
    x = torch.rand(1, 2, 6, 6, 6)
    for _ in range(3):
        for layer, optimiser in pair:
            layer(x).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_a_parameter_without_gradient_stays():
    layer = nn.Conv3d(16, 16, 3)
    before = layer.weight.detach().clone()
    Muon(layer.parameters(), lr=0.01).step()
    assert torch.equal(layer.weight, before)


def test_resumed_from_its_state_it_goes_on_alike():
    torch.manual_seed(0)
    x = torch.rand(1, 16, 6, 6, 6)

    def steps(layer, optimiser, n):
        for _ in range(n):
            layer(x).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()

    whole = nn.Conv3d(16, 16, 3)
    first = Muon(whole.parameters(), lr=0.01)
    steps(whole, first, 2)
    again = nn.Conv3d(16, 16, 3)
    again.load_state_dict(whole.state_dict())
    second = Muon(again.parameters(), lr=0.01)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(whole, first, 2)
    steps(again, second, 2)
    assert torch.equal(whole.weight, again.weight)


def test_bf16_is_for_hardware_that_computes_in_it(monkeypatch):
    matrix = torch.randn(16, 128, generator=torch.Generator().manual_seed(3))
    found = {}
    for able in ("avx2", "avx512_bf16"):
        monkeypatch.setattr(device, "_capabilities", lambda able=able: {able: True})
        found[able] = orthogonal(matrix)
    monkeypatch.setattr(device, "_capabilities", dict)
    exact = orthogonal(matrix.double()).float()
    assert (found["avx2"] - exact).norm() < 1e-5 * exact.norm()
    assert 1e-3 * exact.norm() < (found["avx512_bf16"] - exact).norm() < 0.1 * exact.norm()
