"""The contract of every loss, and what each of them is for."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from isomorph.losses import LOSSES, OVERLAP, overlap
from isomorph.losses.laplace import SHARPEST

SIDE = 12  # voxels: the window of ssim is 11 wide


CLASSES = 3


def dense(target, classes=CLASSES):
    """One at the class of a voxel, zero at the others."""
    return (target == torch.arange(classes).view(1, -1, 1, 1, 1)).float()


def truth(name, target):
    """What a network that knows the answer would give."""
    if name in OVERLAP:
        return 100 * dense(target)
    return torch.cat([target, torch.zeros_like(target)], 1) if name == "laplace" else target


def example(name, seed=0):
    """Prediction, target, weight of two samples."""
    rng = torch.Generator().manual_seed(seed)
    shape = (2, 1, SIDE, SIDE, SIDE)
    target = torch.randint(CLASSES, shape, generator=rng) if name in OVERLAP else torch.rand(shape, generator=rng)
    return torch.rand(truth(name, target).shape, generator=rng), target, torch.rand(shape, generator=rng)


@pytest.mark.parametrize("name", LOSSES)
def test_zero_at_the_truth(name):
    _, target, weight = example(name)
    assert LOSSES[name](truth(name, target), target, weight).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_the_batch(name):
    loss, (x, y, w) = LOSSES[name], example(name)
    alone = [loss(x[k : k + 1], y[k : k + 1], w[k : k + 1]).item() for k in range(2)]
    assert loss(x, y, w).item() == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert loss(x, y, 0 * w) == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("at", ["anywhere", "the truth", "a constant"])
def test_the_gradient_is_finite_and_the_target_is_left_alone(name, at):
    x, y, w = example(name)
    x = {"anywhere": x, "the truth": truth(name, y).clone(), "a constant": torch.zeros_like(x)}[at].requires_grad_()
    before = y.clone()
    LOSSES[name](x, y, w).backward()
    assert x.grad.isfinite().all()
    assert torch.equal(y, before)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_downhill_helps(name):
    x, y, w = example(name)
    x.requires_grad_()
    before = LOSSES[name](x, y, w)
    before.backward()
    step = 0.01 * x.grad / x.grad.norm()
    assert LOSSES[name](x - step, y, w) < before


def test_ssim_is_that_of_scikit_image():
    x, y, _ = example("ssim")
    _, full = structural_similarity(
        x[0, 0].numpy(), y[0, 0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inner = full[5:-5, 5:-5, 5:-5]
    assert LOSSES["ssim"](x[:1], y[:1], torch.ones(1, 1, SIDE, SIDE, SIDE)).item() == pytest.approx(
        1 - inner.mean(), abs=1e-5
    )


def test_ssim_does_not_rest_on_what_a_gpu_rounds(monkeypatch):
    def rounded(*_args, **_more):
        raise AssertionError("a convolution in float32 is TF32 on a GPU")

    for name in ("conv1d", "conv2d", "conv3d"):
        monkeypatch.setattr(torch.nn.functional, name, rounded)
        monkeypatch.setattr(torch, name, rounded)
    x, y, w = example("ssim")
    assert 0 < LOSSES["ssim"](x, y, w) < 2


def test_the_scale_of_laplace_ends_at_the_mean_error():
    torch.manual_seed(0)
    error = torch.randn(1, 1, 20, 20, 20).abs() * 0.3
    target, weight = torch.zeros_like(error), torch.ones_like(error)
    scales = torch.linspace(-4, 2, 61)
    losses = [LOSSES["laplace"](torch.cat([error, torch.full_like(error, s)], 1), target, weight) for s in scales]
    best = scales[int(torch.stack(losses).argmin())].exp().item()
    assert best == pytest.approx(error.mean().item(), rel=0.06)


def test_a_confident_laplace_has_bounds():
    target = torch.zeros(1, 1, 2, 2, 2)
    sure = torch.cat([target, torch.full_like(target, -1e4)], 1)
    assert LOSSES["laplace"](sure, target, torch.ones_like(target)) == SHARPEST


def test_a_laplace_that_is_too_sure_comes_back():
    target = torch.zeros(1, 1, 2, 2, 2)
    scale = torch.full_like(target, SHARPEST - 1).requires_grad_()
    loss = LOSSES["laplace"](torch.cat([target + 1, scale], 1), target, torch.ones_like(target))
    loss.backward()
    assert scale.grad is not None
    assert (scale.grad < 0).all()  # downhill is up


def dense_dice(prediction, target, weight):
    """The formula, with a number for each class and voxel."""
    share, target = prediction.softmax(1), dense(target, prediction.shape[1]).to(prediction.dtype)
    common, size, claimed = ((weight * x).sum((2, 3, 4)) for x in (share * target, target, share))
    present = (size > 0).to(share.dtype)
    lost = (1 - 2 * common / (size + claimed).clamp(min=1e-6)) * present
    return (lost.sum(1) / present.sum(1)).mean()


def dense_cross_entropy(prediction, target, weight):
    """The same."""
    return -(prediction.log_softmax(1) * dense(target, prediction.shape[1]) * weight).sum(1).mean()


def dense_balanced(prediction, target, weight):
    """The same."""
    surprise, target = -prediction.log_softmax(1), dense(target, prediction.shape[1]).to(prediction.dtype)
    lost, size = ((weight * x).sum((2, 3, 4)) for x in (surprise * target, target))
    return ((lost / size.clamp(min=1e-6)).sum(1) / (size > 0).sum(1)).mean()


@pytest.mark.parametrize("formula", [dense_dice, dense_cross_entropy, dense_balanced])
@pytest.mark.parametrize("slab", [1, 300, 10**6])
def test_slabs_and_indices_give_the_dense_formula_and_its_gradient(formula, slab, monkeypatch):
    name = formula.__name__.removeprefix("dense_")
    monkeypatch.setattr(overlap, "SLAB", slab)
    x, y, w = example(name)
    y[1][y[1] == 2] = 0  # a class that is not in the second sample
    values, gradients = [], []
    for loss in (LOSSES[name], formula):
        z = x.clone().requires_grad_()
        value = loss(z, y, w)
        value.backward()
        values.append(value.item())
        gradients.append(z.grad)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-9)


def test_a_rare_class_that_is_never_named_costs_as_much_as_a_common_one():
    target = torch.zeros(1, 1, 10, 10, 10, dtype=torch.int64)
    target[0, 0, 0, 0, :10] = 1  # one voxel in a hundred
    never = torch.tensor([3.0, -3.0]).view(1, 2, 1, 1, 1).expand(1, 2, 10, 10, 10)
    weight = torch.ones(1, 1, 10, 10, 10)
    surprise = math.log1p(math.exp(6)), math.log1p(math.exp(-6))
    assert LOSSES["balanced"](never, target, weight).item() == pytest.approx(sum(surprise) / 2)
    assert LOSSES["cross_entropy"](never, target, weight).item() < 0.07


def test_the_sums_of_a_whole_head_do_not_round():
    """A million voxels that are nearly sure: added one by one in float32 they would pass for quite sure."""
    target = torch.zeros(1, 1, 96, 96, 96, dtype=torch.int64)
    target[:, :, 40:50, 40:50, 40:50] = 1
    logits = 9 * dense(target, 2)
    weight = torch.ones_like(target, dtype=torch.float32)
    wanted = dense_dice(logits.double(), target, weight.double()).item()
    assert LOSSES["dice"](logits, target, weight).item() == pytest.approx(wanted, rel=1e-4)


def test_dice_counts_what_overlaps():
    """Half of a class found, nothing wrong: 2 * 1 / (2 + 1)."""
    target = torch.tensor([1, 1, 0, 0]).view(1, 1, 4, 1, 1)
    guess = dense(torch.tensor([1, 0, 0, 0]).view(1, 1, 4, 1, 1), 2)
    loss = LOSSES["dice"](100 * guess, target, torch.ones(1, 1, 4, 1, 1)).item()
    assert loss == pytest.approx(1 - (2 / 3 + 2 * 2 / (2 + 3)) / 2, abs=1e-5)


def test_what_is_not_known_is_not_judged():
    guess, target, weight = example("dice")
    weight = torch.ones_like(weight)
    weight[:, :, :6] = 0
    other = guess.clone()
    other[:, :, :6] = torch.rand_like(other[:, :, :6]) * 10
    for name in OVERLAP:
        assert LOSSES[name](guess, target, weight) == LOSSES[name](other, target, weight)
