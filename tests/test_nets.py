import pytest
import torch

from isomorph.nets import NETWORKS, Cascade, Compact, Parcels, UNet
from isomorph.nets.cascade import SHARES
from isomorph.nets.compact import rows
from isomorph.nets.context import depth_to_space, space_to_depth

SMALL = {
    "cascade": {"sharp": (4,), "coarse": (4, 8), "fine": (4,)},
    "compact": {"features": (4, 8, 8)},
    "parcels": {"features": (4, 8, 8)},
    "unet": {"features": 2, "levels": 3},
}


@pytest.mark.parametrize(("inputs", "outputs", "total"), [(1, 1, 13_242_049), (2, 1, 13_242_697), (1, 2, 13_242_074)])
def test_the_original_has_the_published_number_of_parameters(inputs, outputs, total):
    state = UNet(inputs, outputs).state_dict()
    assert sum(v.numel() for v in state.values() if v.is_floating_point()) == total
    assert len(state) == 83
    assert sum(p.numel() for p in UNet().parameters()) == 13_239_841


def test_the_original_step_by_step():
    """Two levels written out by hand: skip before the norm, skip first in the concatenation."""
    torch.manual_seed(0)
    net = UNet(1, 1, features=2, levels=2).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.rand(1, 1, 8, 6, 4)

    def twice(level, y):
        return torch.nn.functional.elu(level.second(torch.nn.functional.elu(level.first(y))))

    top, bottom, up = net.down[0], net.down[1], net.up[0]
    skip = twice(top, x)
    y = bottom.norm(twice(bottom, torch.nn.functional.max_pool3d(top.norm(skip), 2)))
    y = y.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    y = net.head(up.norm(twice(up, torch.cat([skip, y], 1))))
    assert torch.allclose(net(x), y, atol=1e-6)
    assert up.norm.eps == 1e-3


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 1), (1, 2)])
def test_keeps_the_grid_and_trains(name, inputs, outputs):
    net = NETWORKS[name](inputs=inputs, outputs=outputs, **SMALL[name])
    m = net.multiple
    y = net(torch.rand(1, inputs, m, 2 * m, 3 * m))
    assert y.shape == (1, outputs, m, 2 * m, 3 * m)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_depth_and_space_are_inverse_and_keep_neighbours_together():
    x = torch.arange(2 * 4 * 6 * 8.0).view(1, 2, 4, 6, 8)
    assert torch.equal(depth_to_space(space_to_depth(x)), x)
    assert space_to_depth(x)[0, :8, 0, 0, 0].tolist() == x[0, 0, :2, :2, :2].flatten().tolist()
    with torch.inference_mode():
        narrow = space_to_depth(x.bfloat16())
    assert torch.equal(narrow, space_to_depth(x).bfloat16())
    assert narrow.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last_3d])
def test_a_product_of_matrices_is_the_convolution_and_leaves_channels_one_after_the_other(order: torch.memory_format):
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(5, 24, 1)
    x = torch.randn(2, 5, 4, 6, 8).contiguous(memory_format=order)
    assert torch.allclose(rows(x, layer), layer(x), atol=1e-5)
    assert rows(x, layer).is_contiguous()


def test_a_patch_and_a_head_are_treated_alike():
    """What lies beyond the receptive field changes nothing: no statistic is taken over the volume."""
    torch.manual_seed(0)
    net = Compact(features=(4, 8)).eval()
    a = torch.rand(1, 1, 64, 16, 16)
    b = a.clone()
    b[:, :, 44:] = 5.0
    same = (net(a) - net(b)).abs().amax((0, 1, 3, 4)) < 1e-6
    assert same[:8].all()
    assert not same[44:].any()
    patch = net(a[:, :, :40])
    assert torch.allclose(patch[:, :, :8], net(a)[:, :, :8], atol=1e-6)


def test_a_new_cascade_gives_the_coarse_answer_and_the_scan_seen_through_its_curves():
    torch.manual_seed(0)
    net, x = Cascade(sharp=(4,), coarse=(4, 8), fine=(4,)).eval(), torch.rand(1, 1, 32, 32, 32)
    coarse = net(torch.nn.functional.avg_pool3d(x, 2), "coarse")
    guess = net.guess(x)
    assert torch.allclose(guess, coarse)
    assert torch.equal(net(x, "sharp"), x)
    toned, guess = net.toned(x, guess), torch.nn.functional.interpolate(guess, scale_factor=2, mode="trilinear")
    mixed = sum(share * image for share, image in zip(SHARES, [guess, *toned], strict=True))
    assert torch.allclose(net(x), mixed, atol=1e-6)


def test_both_ways_is_the_whole_network_where_the_coarse_answer_has_no_side():
    """And the mean of two coarse answers where it has."""
    torch.manual_seed(0)
    net, x = Cascade(2, scans=1, sharp=(4,), coarse=(4, 8), fine=(4,)).eval(), torch.rand(1, 2, 32, 32, 32)
    torch.nn.init.normal_(net.fine.correct.weight, std=0.1)
    sharp = torch.cat([net(x, "sharp"), x[:, 1:]], 1)
    mean = (net.guess(sharp) + net.guess(sharp.flip(3)).flip(3)) / 2
    assert not torch.allclose(mean, net.guess(sharp), atol=1e-3)
    assert torch.equal(net.both_ways(x, 3), net.refine(sharp, mean))
    net.guess = lambda _: mean + mean.flip(3)
    assert torch.allclose(net.both_ways(x, 3), net(x), atol=1e-6)


@pytest.mark.parametrize("scans", [1, 2])
def test_a_slice_is_as_reliable_to_the_coarse_part_as_it_was_when_it_was_trained(scans):
    net, seen = Cascade(scans + 1, scans=scans, sharp=(4,), coarse=(4, 8), fine=(4,)).eval(), []
    net.coarse.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    x = torch.full((1, scans + 1, 16, 16, 16), 0.4)
    x[:, -1] = 0
    x[:, -1, ::4] = 1  # slices 4 mm apart, on a grid of 1 mm
    x[:, -1, 8:] = 1  # and a part that is measured throughout
    net.guess(x)
    assert seen[0][0, -1, :, 0, 0].tolist() == [1, 0, 1, 0, 1, 1, 1, 1]
    assert torch.allclose(seen[0][:, :scans], torch.tensor(0.4))


def test_a_cascade_that_was_not_told_which_inputs_are_scans_sees_all_of_them_alike():
    """As files did that are older than the number of scans."""
    net, seen = Cascade(2, sharp=(4,), coarse=(4, 8), fine=(4,)).eval(), []
    net.coarse.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    x = torch.rand(1, 2, 16, 16, 16)
    net.guess(x)
    assert torch.equal(seen[0], torch.nn.functional.avg_pool3d(x, 2))


def test_a_cascade_for_an_exam_begins_as_the_one_for_its_reference_and_learns_to_hear_the_others():
    torch.manual_seed(0)
    parts = {"sharp": (4,), "coarse": (4, 8), "fine": (4,)}
    one, three = Cascade(2, scans=1, **parts).eval(), Cascade(6, scans=3, **parts).eval()
    torch.nn.init.normal_(one.fine.correct.weight, std=0.1)
    three.load_state_dict(three.grown(one.state_dict(), 1))
    x = torch.rand(1, 6, 32, 32, 32)
    reference = x[:, [0, 3]]
    assert torch.allclose(three(x), one(reference), atol=1e-6)
    assert torch.allclose(three.both_ways(x, 3), one.both_ways(reference, 3), atol=1e-6)
    assert torch.equal(three(x, "sharp"), one(reference, "sharp"))
    three(x).sum().backward()
    assert (three.coarse.stem.weight.grad.unflatten(1, (6, 8)).abs().amax((0, 2, 3, 4, 5)) > 0).all()


def test_what_the_coarse_part_wants_to_be_a_multiple_of_is_filled_with_air():
    torch.manual_seed(0)
    net, x = Cascade(sharp=(4,), coarse=(4, 8, 8), fine=(4,)).eval(), torch.rand(1, 1, 48, 32, 16)
    assert (net.multiple, net.coarse.multiple) == (16, 8)
    small = torch.nn.functional.avg_pool3d(x[:, :, :40], 2)  # 20 voxels long: 24 are wanted
    air = torch.zeros(1, 1, 2, 16, 8)
    assert torch.equal(net.guess(x[:, :, :40]), net.coarse(torch.cat([air, small, air], 2))[:, :, 2:22])


def test_every_part_after_the_first_sees_the_sharp_scan():
    torch.manual_seed(0)
    net, x = Cascade(2, scans=1, sharp=(4,), coarse=(4, 8), fine=(4,)).eval(), torch.rand(1, 2, 32, 32, 32)
    for layer in (net.sharp.network.correct, net.fine.correct):
        torch.nn.init.normal_(layer.weight, std=0.1)
    sharp = torch.cat([net(x, "sharp"), x[:, 1:]], 1)
    whole = net(x)
    assert not torch.allclose(sharp, x, atol=0.01)
    net.sharp = torch.nn.Identity()
    net.sharp.forward = lambda x: x[:, :1]
    assert torch.equal(net(sharp), whole)


def test_going_to_2_mm_and_back_shifts_nothing():
    net = Cascade(sharp=(4,), coarse=(4, 8), fine=(4,)).eval()
    net.coarse = torch.nn.Identity()
    ramp = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 1, 32, 32, 32) / 31
    net.coarse.multiple = 4
    guess = net.guess(ramp)
    toned = net.toned(ramp, guess)
    guess = torch.nn.functional.interpolate(guess, scale_factor=2, mode="trilinear")
    assert torch.allclose(guess[:, :, 1:-1], ramp[:, :, 1:-1], atol=1e-5)
    assert (toned[0] - ramp).mean().abs() < 1e-3  # a shift by half a voxel would be 0.016


@pytest.mark.parametrize(
    "net",
    [Compact(features=(4, 8)), Cascade(sharp=(4,), coarse=(4, 8), fine=(4,)), Parcels(features=(4, 8))],
    ids=["compact", "cascade", "parcels"],
)
def test_training_and_evaluation_agree(net):
    x = torch.rand(1, 1, 32, 32, 32)
    assert torch.equal(net.train()(x), net.eval()(x))


def test_the_tone_curve_is_piecewise_linear():
    net = Compact(features=(4,), tones=3)
    x = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.4]).view(1, 1, 6, 1, 1)
    curve = torch.tensor([0.0, 2.0, 1.0]).view(1, 3, 1, 1, 1).expand(1, 3, 6, 1, 1)
    assert net.tone(x, curve).flatten().tolist() == pytest.approx([0, 1, 2, 1.5, 1, 1])
