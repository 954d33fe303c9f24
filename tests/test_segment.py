"""Structures of a known brain: their numbers, their sides, their sizes, wherever and however it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from brains import CLASSES, brain, level, network_file, soft, turn
from phantoms import centred, turned

from isomorph.errors import SetupError, UsageError
from isomorph.labels import LABELS, swap_sides
from isomorph.predict import Options
from isomorph.predict.cranium import intracranial
from isomorph.predict.islands import without_islands
from isomorph.predict.memory import peak
from isomorph.predict.segment import segment, segmenter_for
from isomorph.predict.sides import Plane, middle_plane
from isomorph.predict.sizes import border
from isomorph.space import mirror
from isomorph.structures import STRUCTURES
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

COARSE = (62, 70, 64), np.diag([3.0, 3.0, 3.0])  # a whole head, for the plane alone
SLAB = (152, 168, 24), np.eye(3)  # thalamus and ventricles, up and down cut off
PAIRED = [k for k, number in enumerate(STRUCTURES) if number not in (0, 14, 15, 16)]
RIGHT = [number for number, label in LABELS.items() if label.side == "right"]
LEFT = [number for number, label in LABELS.items() if label.side == "left"]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network that reads structures off brightness."""
    return load_model(network_file(tmp_path_factory.mktemp("models") / "known.safetensors"))


class Rolled(torch.nn.Module):
    """The same network, the last of its outputs first: the background is the second."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.multiple = network, network.multiple

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).roll(1, 1)


def slab(**how: object) -> Volume:
    """Labels of some of the structures, in slices of 1 mm."""
    shape, matrix = SLAB
    return brain(shape, centred(shape, matrix), only=CLASSES, **how)  # pyright: ignore[reportArgumentType]


def seen_as(labels: Volume) -> Volume:
    return labels.with_data(level(labels.data))


def misplaced(plane: Plane, labels: Volume) -> float:
    """Share of the paired voxels on the wrong side of a plane."""
    right = plane.right(labels.shape, labels.affine)
    on_right, on_left = (torch.isin(labels.data[0], torch.tensor(side)) for side in (RIGHT, LEFT))
    return float(((right & on_left) | (~right & on_right)).sum() / (on_right | on_left).sum())


POSES = {
    "straight": {},
    "tilted": {"pose": turn(15, -15), "shift": (6.0, -4.0, 3.0)},
    "tilted the other way": {"pose": turn(-15, 10), "shift": (-9.0, 0.0, 0.0)},
    "not symmetric": {"pose": turn(-12, 6), "shrink": 0.85},
    "left cerebrum missing": {"pose": turn(8, -5), "without": "left"},
    "right cerebrum missing": {"shift": (5.0, 0.0, 0.0), "without": "right"},
}


@pytest.mark.parametrize("name", POSES)
def test_the_plane_divides_left_from_right(name: str) -> None:
    shape, matrix = COARSE
    labels = brain(shape, centred(shape, matrix), **POSES[name])
    plane = middle_plane(soft(labels), torch.ones(shape, dtype=torch.bool), STRUCTURES, PAIRED)
    assert misplaced(plane, labels) < 0.01
    assert plane.normal[0] > 0.9
    truth = POSES[name].get("pose", np.eye(3))[:, 0]
    assert np.degrees(np.arccos(plane.normal @ truth)) < 3.5


@pytest.mark.parametrize("first", [0, 26])
def test_a_plane_is_found_where_the_field_of_view_ends_beside_it(first: int) -> None:
    """Of one half there is all, of the other a centimetre."""
    shape, matrix = COARSE
    affine = centred(shape, matrix)
    whole = brain(shape, affine, pose=turn(6, 4))
    affine[:3, 3] += affine[:3, 0] * first
    part = Volume(whole.data[:, first : first + 36], affine)
    plane = middle_plane(soft(part), torch.ones(part.shape, dtype=torch.bool), STRUCTURES, PAIRED)
    assert misplaced(plane, part) < 0.01


def test_where_there_is_no_brain_the_plane_is_that_of_the_grid() -> None:
    nothing = Volume(torch.zeros(17, 8, 8, 8), np.eye(4))
    plane = middle_plane(nothing, torch.ones(8, 8, 8, dtype=torch.bool), STRUCTURES, PAIRED)
    assert plane.right((8, 8, 8), np.eye(4))[:, 0, 0].tolist() == [False] * 4 + [True] * 4


def test_numbers_sides_and_sizes_are_those_of_the_brain(known: Model) -> None:
    labels = slab(pose=turn(10, 0), shift=(4.0, 0.0, 0.0))
    found = segment(seen_as(labels), known, precision="fp32", flip=False)
    assert found.labels.data.dtype == torch.uint8
    assert found.labels.shape == labels.shape
    np.testing.assert_allclose(found.labels.affine, labels.affine, atol=1e-9)
    assert float((found.labels.data == labels.data).float().mean()) > 0.999
    for number in labels.data.unique().tolist():
        if number:
            there = float((labels.data == number).sum())
            assert found.volumes[LABELS[number].name] == pytest.approx(there, rel=0.02)
    tissue = float(((labels.data > 0) & ~torch.isin(labels.data, torch.tensor([4, 43]))).sum())
    assert found.brain == pytest.approx(tissue, rel=0.001)
    assert set(found.cut) >= {"left cortex", "right cortex", "left white matter"}
    assert [n.code for n in found.notices] == ["W603"]


def test_a_mirrored_head_swaps_its_sides_and_two_passes_are_one(known: Model) -> None:
    scan = seen_as(slab(shrink=0.9))
    once, both = (segment(scan, known, precision="fp32", flip=flip) for flip in (False, True))
    assert torch.equal(once.labels.data, both.labels.data)
    other = segment(mirror(scan), known, precision="fp32", flip=False)
    swapped = swap_sides(mirror(other.labels).data.long())
    assert float((swapped == once.labels.data).float().mean()) > 0.999
    assert other.volumes["left cortex"] == pytest.approx(once.volumes["right cortex"], rel=0.01)


@pytest.mark.parametrize("at", [((2, 0, 1), (-1, 1, -1)), ((1, 2, 0), (1, -1, 1)), ((0, 1, 2), (-1, -1, 1))])
def test_left_stays_left_in_any_orientation(at: tuple, known: Model) -> None:
    labels = slab(shrink=0.9)
    stored = turned(seen_as(labels), *at)
    found = segment(stored, known, precision="fp32", flip=False, grid="input")
    assert found.labels.shape == stored.shape
    expected = turned(labels, *at)
    assert float((found.labels.data == expected.data).float().mean()) > 0.999


def test_on_a_coarser_grid_a_voxel_is_what_most_of_it_is(known: Model) -> None:
    from isomorph.predict.segment import segmented

    labels = slab(shrink=0.9)
    target = Volume(torch.zeros(1, 38, 42, 6), labels.affine @ np.diag([4.0, 4, 4, 1]))
    how = Options(precision="fp32", flip=False)
    fine, coarse = (segmented(seen_as(labels), known, how, target=t) for t in (None, target))
    assert coarse.labels.shape == (38, 42, 6)
    assert torch.equal(torch.unique(coarse.labels.data), torch.unique(fine.labels.data))
    assert coarse.volumes == fine.volumes
    share = [float((x.labels.data == 42).float().mean()) for x in (fine, coarse)]
    assert share[1] == pytest.approx(share[0], rel=0.1)
    last, *rest = reversed(known.card["labels"])
    other = Model(Rolled(known.network), known.card | {"labels": [last, *reversed(rest)]}, "1" * 64)
    assert torch.equal(segmented(seen_as(labels), other, how, target=target).labels.data, coarse.labels.data)


def test_what_the_scan_has_not_seen_is_not_counted(known: Model) -> None:
    from isomorph.predict.segment import segmented

    labels = slab()
    half = Volume(torch.zeros(1, 152, 84, 24), labels.affine)  # what lies behind
    how = Options(precision="fp32", flip=False)
    whole, part = (segmented(seen_as(labels), known, how, scan=scan) for scan in (None, half))
    assert part.labels.data[:, :, 85:].sum() == 0
    assert part.volumes["left cortex"] == pytest.approx(whole.volumes["left cortex"] / 2, rel=0.05)


def test_islands_are_given_away_and_shares_still_add_up() -> None:
    numbers, side = [0, 2, 11], 40
    shares = torch.zeros(3, side, side, side)
    shares[1, 4:30, 4:30, 4:30] = 0.9
    shares[2, 4:30, 4:30, 4:30] = 0.1
    body, island, stray = (slice(8, 16),) * 3, (slice(22, 24),) * 3, (slice(36, 38),) * 3
    for where, share in ((body, 0.8), (island, 0.8), (stray, 0.7)):
        shares[(2, *where)] = share
        shares[(1, *where)] = 1 - share
    shares[0] = 1 - shares[1:].sum(0)
    before = shares.clone()
    without_islands(shares, numbers)
    torch.testing.assert_close(shares.sum(0), torch.ones(side, side, side))
    best = shares.argmax(0)
    assert bool((best[body] == 2).all())
    assert bool((best[island] == 1).all())
    assert bool((best[stray] == 0).all())
    assert torch.equal(shares[(slice(None), *body)], before[(slice(None), *body)])


def test_the_border_of_what_was_seen() -> None:
    seen = torch.ones(5, 5, 5, dtype=torch.bool)
    seen[4] = False
    expected = torch.ones(5, 5, 5, dtype=torch.bool)
    expected[1:3, 1:4, 1:4] = False
    assert torch.equal(border(seen), expected & seen)


def test_the_skull_is_a_closed_brain_and_more_where_ventricles_are_wide() -> None:
    axis = torch.arange(100) - 49.5
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    ball = (radius < 40).float()
    cleft = ball.clone()
    cleft[48:52] = 0
    solid, split = (intracranial(x, 0.0, 1.0) for x in (ball, cleft))
    assert split == pytest.approx(solid, rel=0.01)  # a cleft is within the skull
    assert solid == pytest.approx(1.03 * float(ball.sum()), rel=0.04)
    assert intracranial(ball, 1000.0, 1.0) > solid + 1000
    assert intracranial(torch.zeros(8, 8, 8), 0.0, 1.0) == 0


def test_a_network_for_something_else_is_refused(known: Model) -> None:
    images = Model(torch.nn.Identity(), {"name": "images"}, "0" * 64)
    with pytest.raises(SetupError, match="E906 images does not name the structures"):
        segment(seen_as(slab()), images)
    silent = Model(torch.nn.Identity(), {"name": "silent", "kind": "segmentation"}, "0" * 64)
    with pytest.raises(SetupError, match="E903 silent does not say which structures"):
        segment(seen_as(slab()), silent)
    for numbers in ([2, 3], [0, 2, 41], [0, 506], [0, 9999]):  # no background, a right number, none that uint8 holds
        odd = Model(torch.nn.Identity(), {"name": "odd", "kind": "segmentation", "labels": numbers}, "0" * 64)
        with pytest.raises(SetupError, match="E903 odd does not say which structures"):
            segment(seen_as(slab()), odd)
    two = {"name": "two", "kind": "segmentation", "labels": [0, 2], "arguments": {"inputs": 2}}
    for changes in ({}, {"reliability": True}):
        with pytest.raises(SetupError, match="E906 two does not name the structures"):
            segment(seen_as(slab()), Model(torch.nn.Identity(), two | changes, "0" * 64))
    own = Model(torch.nn.Identity(), {"name": "own", "target": 0}, "0" * 64)
    with pytest.raises(UsageError, match="makes no T1"):
        segmenter_for(known, own)
    assert segmenter_for(False, own) is None
    with pytest.raises(ValueError, match="one channel of finite"):
        segment(Volume(torch.zeros(2, 8, 8, 8), np.eye(4)), known)


def test_the_memory_of_a_limit_includes_the_segmentation(known: Model, model_file: Path) -> None:
    outline, model = [((192, 224, 160), np.eye(4))], load_model(model_file)
    how = Options(precision="fp32", flip=False)
    alone, both = (peak(outline, model, how, "fp32", 2**21, segmenter=s) for s in (None, known))
    assert both > alone + 6 * 8 * 192 * 224 * 160 / 2  # six outputs, twice, less what the first network held
