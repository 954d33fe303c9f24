"""Several scans of one exam: which belong together, where they come to lie, and what each counts."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import CARD, LESION, centred, save, scan, world_of
from scipy import ndimage
from typer.testing import CliRunner

from isomorph import io
from isomorph.cli import app
from isomorph.errors import NothingFound, SetupError, UsageError
from isomorph.nets import Compact
from isomorph.predict import Options, synthesise
from isomorph.predict.batch import Listeners
from isomorph.predict.channels import onto_first, seats, together
from isomorph.predict.exam import correlation, fused, reference
from isomorph.predict.plan import plan
from isomorph.predict.result import Result
from isomorph.predict.scans import predict_scans
from isomorph.space import canonical_grid, resample
from isomorph.volume import Volume
from isomorph.weights import Model, interchangeable, load_model, save_model

SHIFT = np.array([2.0, -3.0, 1.0])  # mm
SLOW = 0.2  # s


@pytest.fixture(autouse=True)
def phantoms_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phantom does not look like a brain, and that is not what is tested here."""
    monkeypatch.setattr("isomorph.predict.quality.THRESHOLD", 0.0)


def at_origin(moving: Volume, fixed: Volume) -> Volume:
    """In the place of registration: the phantom lies about the origin, so what `moved` did is known."""
    shift = np.eye(4)
    shift[:3, 3] = -SHIFT if moving.affine[0, 3] - centre(moving)[0] > 1 else 0
    return Volume(moving.data, shift @ moving.affine)


def centre(volume: Volume) -> np.ndarray:
    """Origin that would put the middle of the grid at the origin."""
    return centred(volume.shape, volume.affine[:3, :3])[:3, 3]


@pytest.fixture
def registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isomorph.predict.possible.able", lambda: None)
    monkeypatch.setattr("isomorph.align.loaded", lambda: None)
    for room in ("exam", "channels"):
        monkeypatch.setattr(f"isomorph.predict.{room}.aligned", at_origin)


def head(thick: float = 4.0, axis: int = 2, moved: bool = False) -> Volume:
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = thick
    shape = [64, 72, 60]
    shape[axis] = round(shape[axis] / thick)
    volume = scan((shape[0], shape[1], shape[2]), np.diag(spacing))
    affine = volume.affine.copy()
    affine[:3, 3] += SHIFT * moved
    return Volume(volume.data, affine)


def single(gain: float = 0.1):
    """In the place of a network: the scan on its grid of 1 mm, as it is."""

    def run(volume: Volume) -> Result:
        image = resample(volume, *canonical_grid(volume))
        return Result(image.with_data(image.data * gain), {"network": 1.0}, "cpu", "fp32", 1, (0.0, 1.0))

    return run


@pytest.mark.usefixtures("registration")
def test_the_thinner_scan_is_the_reference_and_counts_more() -> None:
    thick, thin = head(6.0, moved=True), head(3.0)
    result = fused([thick, thin], single())
    assert result.reference == 1
    alone = single()(thin).volume
    assert result.volume.shape == alone.shape
    np.testing.assert_array_equal(result.volume.affine, alone.affine)
    first, second = result.parts
    assert (first.share, second.share) == (pytest.approx(1 / 3, abs=0.03), pytest.approx(2 / 3, abs=0.03))
    assert first.moved == pytest.approx(np.linalg.norm(SHIFT), abs=0.01)
    assert second.moved == 0
    np.testing.assert_allclose(first.affine[:3, 3], thick.affine[:3, 3] - SHIFT, atol=1e-6)
    assert first.agreement > 0.75  # edges are hard, slices 6 mm thick
    middle = tuple(n // 2 for n in alone.shape)
    t1 = single()(thick).volume
    other = resample(at_origin(t1, alone), alone.shape, alone.affine)
    expected = (float(other.data[0][middle]) + 2 * float(alone.data[0][middle])) / 3
    assert float(result.volume.data[0][middle]) == pytest.approx(expected, abs=0.1)
    assert result.seconds == {"network": 2.0}


@pytest.mark.usefixtures("registration")
@pytest.mark.parametrize("several", [False, True])
def test_registration_is_told_and_its_time_counts_once(
    several: bool, tmp_path: Path, identity_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*given: object) -> None:
        time.sleep(SLOW)

    def registered(moving: Volume, fixed: Volume) -> Volume:
        slowly()
        return at_origin(moving, fixed)

    monkeypatch.setattr("isomorph.align.loaded", slowly)  # the import of what registers
    for room in ("exam", "channels"):
        monkeypatch.setattr(f"isomorph.predict.{room}.aligned", registered)
    scans, told = [head(4.0, moved=True), head(3.0)], list[tuple[str, float]]()
    model = load_model(channels_file(tmp_path, 0.5) if several else identity_file)
    start = time.perf_counter()
    result = synthesise(scans, model, flip=False, progress=lambda *said: told.append(said))
    wall = time.perf_counter() - start
    assert result.seconds["align"] > 2 * SLOW
    assert 2 * SLOW < sum(result.seconds.values()) <= wall
    assert [share for stage, share in told if stage == "align"] == [0, 1, 0, 0, 0.5, 1]
    names = [stage for stage, _ in told]
    assert names.index("align") < names.index("network")  # what is broken costs no network
    assert sum(seconds for stage, seconds in result.seconds.items() if stage != "align") < wall - 2 * SLOW
    assert "align" not in synthesise(scans[0], load_model(identity_file), flip=False).seconds


@pytest.mark.usefixtures("registration")
def test_the_mean_is_nearer_to_the_truth_than_either() -> None:
    truth = single()(scan((64, 72, 60), np.eye(3))).volume
    scans = [head(4.0, axis=2), head(4.0, axis=1)]
    errors = []
    for volumes in ([scans[0]], [scans[1]], scans):
        image = fused(volumes, single()).volume if len(volumes) > 1 else single()(volumes[0]).volume
        image = resample(image, truth.shape, truth.affine)
        errors.append((image.data - truth.data).square().mean().item())
    assert errors[2] < 0.85 * min(errors[:2])


@pytest.mark.usefixtures("registration")
def test_another_head_is_left_out_and_that_is_told() -> None:
    one, other = head(3.0), head(4.0)
    noise = torch.rand(other.data.shape, generator=torch.Generator().manual_seed(0)) * 900
    result = fused([one, other.with_data(noise)], single())
    assert [notice.code for notice in result.notices] == ["W602"]
    assert result.parts[1].share == 0
    torch.testing.assert_close(result.volume.data, single()(one).volume.data)


@pytest.mark.usefixtures("registration")
def test_where_one_scan_has_seen_nothing_the_other_counts_alone() -> None:
    whole, part = head(3.0), head(3.0)
    half = Volume(part.data[..., :10] * 1.0, part.affine)
    result = fused([whole, half], single())
    top = (slice(None), slice(None), slice(None), slice(-20, None))
    torch.testing.assert_close(result.volume.data[top], single()(whole).volume.data[top])
    assert result.parts[1].share < 0.4


def test_of_equally_thin_scans_the_one_most_like_a_t1_is_the_reference() -> None:
    like, unlike = head(4.0), head(4.1)
    t1s = [single()(like).volume, single()(like).volume]
    turned = unlike.with_data(1000 - unlike.data)
    assert reference([turned, like], t1s) == 1
    assert reference([like, turned], t1s) == 0
    assert reference([turned, head(5.0)], t1s) == 0


def test_fat_of_the_scalp_does_not_make_a_flair_the_reference() -> None:
    """It is bright in a T1 and in a FLAIR, and there is so much of it that the brain hardly counts."""
    shape = (96, 96, 96)
    affine = centred(shape, np.eye(3))
    far = np.linalg.norm(world_of(shape, affine), axis=-1)
    folds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 3) > 0
    brain, scalp = far < 30, (far > 34) & (far < 42)

    def image(grey: float, white: float, fat: float) -> Volume:
        x = np.where(brain, np.where(folds, white, grey), np.where(scalp, fat, 0.0))
        return Volume(torch.tensor(x, dtype=torch.float32)[None], affine)

    t1, flair = image(400, 550, 250), image(550, 400, 1500)
    made = image(80, 110, 200)
    head = made.data[0] > 20
    assert correlation(flair.data[0], made.data[0], head) > correlation(t1.data[0], made.data[0], head)
    assert reference([flair, t1], [made, made]) == 1


@pytest.mark.usefixtures("registration")
def test_a_slab_of_thinner_slices_does_not_cut_the_head_down() -> None:
    whole, slab = head(3.0), scan((64, 72, 20), np.diag([1.0, 1.0, 0.8]))  # 16 mm
    result = fused([slab, whole], single())
    assert (result.reference, result.notices) == (1, ())
    assert result.volume.shape == single()(whole).volume.shape
    assert result.parts[0].share > 0.1


@pytest.mark.usefixtures("registration")
def test_a_bad_scan_of_thin_slices_does_not_throw_out_those_that_agree() -> None:
    thin, good = head(1.0), [head(2.0, axis=axis) for axis in range(3)]
    noise = torch.rand(thin.data.shape, generator=torch.Generator().manual_seed(0)) * 900
    result = fused([thin.with_data(noise), *good], single())
    assert result.reference > 0
    assert [part.share > 0 for part in result.parts] == [False, True, True, True]
    assert [notice.message[:25] for notice in result.notices] == ["scan 1 of the exam does n"]
    torch.testing.assert_close(result.volume.data, fused(good, single()).volume.data)


@pytest.mark.usefixtures("registration")
def test_where_no_scans_agree_the_best_one_stays_the_reference() -> None:
    made = torch.Generator().manual_seed(0)
    scans = [volume.with_data(torch.rand(volume.data.shape, generator=made) * 900) for volume in map(head, (3, 2, 4))]
    result = fused(scans, single())
    assert result.reference == 1
    assert [part.share > 0 for part in result.parts] == [False, True, False]


@pytest.mark.usefixtures("registration")
def test_scans_are_counted_as_they_were_given(identity_file: Path) -> None:
    noise = torch.rand(head(4.0).data.shape, generator=torch.Generator().manual_seed(0)) * 900
    scans = [None, head(3.0), None, head(4.0).with_data(noise)]
    result = synthesise(scans, load_model(identity_file), flip=False)
    assert (result.reference, [part.index for part in result.parts]) == (1, [1, 3])
    (said,) = (notice.message for notice in result.notices if notice.code == "W602")
    assert said.startswith("scan 4 of the exam")
    assert synthesise(scans[:3], load_model(identity_file), flip=False).reference == 1


def test_files_and_an_image_are_an_exam_files_and_a_folder_are_not(tmp_path: Path) -> None:
    a, b = save(head(), tmp_path / "a.nii.gz"), save(head(), tmp_path / "b.nii.gz")
    (job,) = plan([a, b], tmp_path / "t1.nii.gz")
    assert (job.exam, job.sources, job.name) == ((a, b), [a, b], "a.nii.gz and 1 more")
    (job,) = plan(["-", b], tmp_path / "t1.mgz")
    assert (job.exam, job.sources, job.source) == ((None, b), [b], b)
    assert [job.exam for job in plan([a, b], tmp_path / "out")] == [(), ()]
    assert [job.exam for job in plan([a], tmp_path / "t1.nii.gz")] == [()]
    with pytest.raises(UsageError, match="without a scan"):
        plan(["-", "-"], tmp_path / "t1.nii.gz")
    with pytest.raises(UsageError, match="twice"):
        plan([a, tmp_path / "." / "a.nii.gz"], tmp_path / "t1.nii.gz")


@pytest.mark.usefixtures("registration")
def test_an_exam_from_files_to_a_file(tmp_path: Path, identity_file: Path) -> None:
    files = [save(head(4.0, moved=True), tmp_path / "thick.nii.gz"), save(head(3.0), tmp_path / "thin.nii.gz")]
    out, options = tmp_path / "t1.nii.gz", Options(model=str(identity_file), flip=False, threads=1)
    summary = predict_scans(files, out, options)
    assert summary.line == "1 scan: 1 done; exit code 0: all done"
    card = json.loads((tmp_path / "t1.json").read_text())
    assert card["input"]["file"] == "thin.nii.gz"
    assert [(part["file"], part["reference"]) for part in card["exam"]] == [
        ("thick.nii.gz", False),
        ("thin.nii.gz", True),
    ]
    assert sum(part["share"] for part in card["exam"]) == pytest.approx(1, abs=1e-3)
    assert (
        {"read", "network", "align", "fuse"} <= card["seconds"].keys() == summary.outcomes[0].seconds.keys() - {"write"}
    )
    assert predict_scans(files, out, options).outcomes[0].status == "skipped"
    assert predict_scans(files[::-1], out, options).outcomes[0].message[:4] == "E705"  # another order is another exam
    save(head(5.0), files[0])
    assert predict_scans(files, out, options).outcomes[0].message[:4] == "E705"
    into = Options(**{**vars(options), "overwrite": True})
    assert predict_scans(files, files[1], into).outcomes[0].message[:4] == "E701"


@pytest.mark.usefixtures("registration")
def test_a_bad_scan_is_left_out_of_its_exam_and_told(tmp_path: Path, identity_file: Path) -> None:
    good, bad, gone = save(head(3.0), tmp_path / "good.nii.gz"), tmp_path / "bad.nii.gz", tmp_path / "gone.nii.gz"
    bad.write_bytes(b"")
    options = Options(model=str(identity_file), flip=False, threads=1)
    alone = predict_scans([good], tmp_path / "alone.nii.gz", options)
    shown: list[tuple[Volume, Volume]] = []
    to = Listeners(watch=lambda _, scan, t1: shown.append((scan, t1)))
    rest = predict_scans([bad, good], tmp_path / "rest.nii.gz", options, to)
    assert (alone.exit_code, rest.exit_code) == (0, 0)
    assert (tmp_path / "rest.nii.gz").read_bytes() == (tmp_path / "alone.nii.gz").read_bytes()
    assert shown[0][0].shape == head(3.0).shape
    (warning,) = rest.outcomes[0].warnings
    assert warning == "W604 left out of the exam: E101 bad.nii.gz the file is empty; fetch it again"
    card = json.loads((tmp_path / "rest.json").read_text())
    assert (card["input"]["file"], card["status"]) == ("good.nii.gz", "done_with_warnings")
    assert predict_scans([bad, good], tmp_path / "rest.nii.gz", options).outcomes[0].status == "skipped"
    save(head(4.0), bad)  # fetched again
    assert predict_scans([bad, good], tmp_path / "rest.nii.gz", options).outcomes[0].message[:4] == "E705"
    bad.write_bytes(b"")
    none = predict_scans([bad, gone], tmp_path / "none.nii.gz", options)
    said = "E101 bad.nii.gz the file is empty, and 1 more of this exam cannot be used; fetch it again"
    assert (none.exit_code, none.outcomes[0].message) == (5, said)
    mask = Options(**{**vars(options), "lesion_mask": str(good)})  # drawn on a scan that cannot be read
    for exam in ([bad, good], ["-", bad, good]):
        told = predict_scans(exam, tmp_path / "none.nii.gz", mask).outcomes[0].message
        assert told.startswith("E101 bad.nii.gz")
    pair = Options(**{**vars(options), "model": str(channels_file(tmp_path, 0.0))})  # that needs both
    assert predict_scans([bad, good], tmp_path / "none.nii.gz", pair).outcomes[0].message.startswith("E101 bad.nii.gz")
    assert not (tmp_path / "none.nii.gz").exists()


@pytest.mark.usefixtures("registration")
def test_each_folder_of_scans_is_an_exam(tmp_path: Path, identity_file: Path) -> None:
    root, out = tmp_path / "exams", tmp_path / "out"
    for name in ("a/t1", "a/t2", "b/later/flair", "c/bad"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        save(head(3.0, moved=name == "a/t2"), root / f"{name}.nii.gz")
    (root / "c" / "bad.nii.gz").write_bytes(b"")
    (root / "a" / "mask.nii.gz").write_bytes(b"")
    options = Options(model=str(identity_file), flip=False, threads=1, exams=True)
    summary = predict_scans([root], out, options)
    assert summary.line.startswith("3 scans: 1 done, 1 done with warnings, 1 refused; exit code 4")
    assert [(o.name, o.status) for o in summary.outcomes] == [
        ("a", "done_with_warnings"), ("b/later", "done"), ("c", "refused")
    ]  # fmt: skip
    assert summary.outcomes[2].line.startswith("ERROR E101 c: bad.nii.gz the file is empty")
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.nii.gz")} == {
        "a_desc-synth_T1w.nii.gz", "b/later_desc-synth_T1w.nii.gz"
    }  # fmt: skip
    card = json.loads((out / "a_desc-synth_T1w.json").read_text())
    assert [part["file"] for part in card["exam"]] == ["t1.nii.gz", "t2.nii.gz"]
    again = predict_scans([root / "a", root / "b"], out, options)  # as `exams/*` gives them, and so in the same place
    assert [o.status for o in again.outcomes] == ["skipped", "done"]
    (tmp_path / "one").mkdir()
    assert predict_scans([root / "a"], tmp_path / "one" / "a.nii.gz", options).exit_code == 0


def test_what_is_no_folder_of_exams_is_told_before_any_work(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        save(head(), tmp_path / "in" / name / "scan.nii.gz")
    with pytest.raises(UsageError, match="2 exams need a folder as output"):
        plan([tmp_path / "in"], tmp_path / "t1.nii.gz", exams=True)
    with pytest.raises(UsageError, match=r"--exams takes folders, 'scan.nii.gz' is none; give"):
        plan([tmp_path / "in" / "a" / "scan.nii.gz"], tmp_path / "out", exams=True)
    with pytest.raises(NothingFound, match="no such"):
        plan([tmp_path / "gone"], tmp_path / "out", exams=True)
    (tmp_path / "other" / "a").mkdir(parents=True)
    save(head(), tmp_path / "other" / "a" / "scan.nii.gz")
    with pytest.raises(UsageError, match="would both become a_desc-synth_T1w"):
        plan([tmp_path / "in" / "a", tmp_path / "other"], tmp_path / "out", exams=True)
    pair = Options(model=str(channels_file(tmp_path, 0.5)), exams=True)
    with pytest.raises(UsageError, match="in an order, which --exams cannot know; name the files"):
        predict_scans([tmp_path / "in"], tmp_path / "out", pair)
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
    with pytest.raises(NothingFound, match=r"no scan in .*; the image was made by isomorph; give the original scan"):
        plan([ours(tmp_path / "made")], tmp_path / "t1.nii.gz", exams=True)
    with pytest.raises(NothingFound, match="no scan in"):
        plan([tmp_path / "made"], tmp_path / "t1.nii.gz")


def ours(folder: Path) -> Path:
    """A folder in which all is of isomorph."""
    folder.mkdir()
    io.write(head(), folder / "t1.nii.gz", sidecar={})
    return folder


def test_a_scan_that_is_linked_beside_itself_counts_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(head(), tmp_path / "in" / "a.nii.gz")
    save(head(), tmp_path / "in" / "c.nii.gz")
    (tmp_path / "in" / "b.nii.gz").symlink_to(tmp_path / "in" / "a.nii.gz")
    for output in ("out", "t1.nii.gz"):
        (job,) = plan([tmp_path / "in"], tmp_path / output, exams=True)
        assert [path.name for path in job.sources] == ["a.nii.gz", "c.nii.gz"]


def channels_file(folder: Path, dropout: float) -> Path:
    """A network of two scans and their reliability, of random weights."""
    torch.manual_seed(0)
    arguments = {"inputs": 4, "features": (4, 8)}
    card = {"name": "pair", "network": "compact", "arguments": arguments, "reliability": True, **CARD}
    card["recipe"] = {"generator": {"dropout": dropout}}
    save_model(folder / "pair.safetensors", Compact(**arguments), card, half=False)
    return folder / "pair.safetensors"


@pytest.mark.usefixtures("registration")
def test_a_model_of_several_scans_takes_any_of_them_if_it_learnt_to(tmp_path: Path) -> None:
    model, scans = load_model(channels_file(tmp_path, 0.5)), [head(4.0), head(5.0, axis=1, moved=True)]
    both = synthesise(scans, model, flip=False)
    assert [part.moved for part in both.parts] == [0, pytest.approx(np.linalg.norm(SHIFT), abs=0.01)]
    one = synthesise([None, scans[1]], model, flip=False)
    assert (one.reference, len(one.parts)) == (1, 1)
    image, _ = together([None, scans[1]], model)
    assert [bool(channel.any()) for channel in image.data] == [False, True, False, True]
    image, _ = together(onto_first(scans), model)
    assert image.data[3].mean().item() == pytest.approx(0.2, abs=0.08)  # one plane of five was measured
    assert synthesise([scans[0]], model, flip=False).reference == 0
    strict = load_model(channels_file(tmp_path, 0.0))
    with pytest.raises(UsageError, match="needs all 2 scans"):
        synthesise([scans[0], None], strict, flip=False)
    with pytest.raises(UsageError, match="takes 1 to 2 scans"):
        synthesise([scans[0]] * 3, model, flip=False)


def leading(tmp_path: Path) -> Model:
    """A model of two scans, the first of which lends its detail."""
    model = load_model(channels_file(tmp_path, 0.5))
    model.card["recipe"]["generator"]["leads"] = True
    return model


@pytest.mark.usefixtures("registration")
def test_where_any_order_will_do_the_thinnest_scan_leads(tmp_path: Path) -> None:
    thick, thin = head(5.0, axis=1), head(4.0, moved=True)
    results = [synthesise(scans, leading(tmp_path), flip=False) for scans in ([thick, thin], [thin, thick])]
    assert [result.reference for result in results] == [1, 0]
    assert [[part.index for part in result.parts] for result in results] == [[0, 1]] * 2
    assert [result.parts[result.reference].moved for result in results] == [0, 0]
    assert torch.equal(*(result.volume.data for result in results))
    assert [(part.agreement, part.share) for part in results[0].parts] == [(None, None)] * 2
    assert [part.window is None for part in results[0].parts] == [True, False]
    assert synthesise([None, thick], leading(tmp_path), flip=False).reference == 1
    one = synthesise(thick, leading(tmp_path), flip=False)  # by itself, and so in a folder of scans
    assert torch.equal(one.volume.data, synthesise([thick], leading(tmp_path), flip=False).volume.data)


def test_of_scans_as_thin_as_each_other_the_first_leads(tmp_path: Path) -> None:
    model, scans = leading(tmp_path), [head(4.0, axis=k) for k in range(2)]
    assert (seats(scans, model), seats([None, scans[0]], model)) == ([0, 1], [1])
    slab = scans[0].with_data(scans[0].data[..., : scans[0].shape[-1] // 3])
    assert seats([slab, scans[1]], model) == [1, 0]  # a slab would cut the others down to it


@pytest.mark.parametrize(
    ("samples", "card"),
    [
        ({"leads": False}, {}),
        ({"dropout": 0.0}, {}),
        ({"channels": [{}, {"contrast": {"tables": ["T2"]}}]}, {}),
        ({}, {"target": 0}),
    ],
)
def test_where_channels_are_not_alike_scans_stay_in_order(tmp_path: Path, samples: dict, card: dict) -> None:
    model = leading(tmp_path)
    assert interchangeable(model)
    model.card["recipe"]["generator"] |= samples
    model.card.update(card)
    assert not interchangeable(model)
    assert seats([head(5.0), head(3.0)], model) == [0, 1]


@pytest.mark.usefixtures("registration")
def test_a_folder_is_an_exam_where_any_order_will_do(tmp_path: Path) -> None:
    model = leading(tmp_path)
    path = tmp_path / "leading.safetensors"
    save_model(path, model.network, model.card)
    for name, mm in (("a", 5.0), ("b", 3.0)):
        (tmp_path / "in" / "one").mkdir(parents=True, exist_ok=True)
        save(head(mm), tmp_path / "in" / "one" / f"{name}.nii.gz")
    options = Options(model=str(path), exams=True, flip=False, threads=1)
    summary = predict_scans([tmp_path / "in"], tmp_path / "out", options)
    assert summary.exit_code == 0, [outcome.message for outcome in summary.outcomes]
    (card,) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.json"))
    assert [(part["file"], part["reference"]) for part in card["exam"]] == [("a.nii.gz", False), ("b.nii.gz", True)]


@pytest.mark.usefixtures("registration")
def test_an_exam_of_too_many_scans_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    model, path = leading(tmp_path), tmp_path / "leading.safetensors"
    save_model(path, model.network, model.card)
    for name in ("many/a", "many/b", "many/c", "one/a"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        save(head(4.0), tmp_path / "in" / f"{name}.nii.gz")
    options = Options(model=str(path), exams=True, flip=False, threads=1)
    summary = predict_scans([tmp_path / "in"], tmp_path / "out", options)
    assert (summary.exit_code, [outcome.status for outcome in summary.outcomes]) == (4, ["refused", "done"])
    told = "takes 1 to 2 scans of one exam, 3 of 3 were given; give as many"
    assert summary.outcomes[0].line == f"ERROR E906 many: pair {told} [not processed]"
    with pytest.raises(UsageError, match=f"^many: pair {told}"):
        predict_scans([tmp_path / "in" / "many"], tmp_path / "alone", options)
    files = sorted((tmp_path / "in" / "many").iterdir())
    with pytest.raises(UsageError, match=f"^a.nii.gz and 2 more: pair {told}"):
        predict_scans(files, tmp_path / "t1.nii.gz", Options(model=str(path)))


@pytest.mark.usefixtures("registration")
def test_every_flag_at_once_on_the_command_line(tmp_path: Path, identity_file: Path) -> None:
    files = [save(head(3.0), tmp_path / "one.nii.gz"), save(head(4.0, moved=True), tmp_path / "two.nii.gz")]
    lesion = head(3.0)
    near = np.linalg.norm(world_of(lesion.shape, lesion.affine) - LESION, axis=-1) < 6
    mask = save(lesion.with_data(torch.tensor(near)[None].float()), tmp_path / "mask.nii.gz")
    say = ["--model", identity_file, "--no-flip", "--uncertainty", tmp_path / "wide.nii.gz"]
    say += ["--lesions", "keep", "--lesion-mask", mask]
    run = CliRunner().invoke(app, ["predict", *map(str, [*files, tmp_path / "t1.nii.gz", *say])])
    assert run.exit_code == 0, run.output
    assert "one.nii.gz and 1 more" in run.output
    card = json.loads((tmp_path / "wide.json").read_text())
    assert [part["file"] for part in card["exam"]] == ["one.nii.gz", "two.nii.gz"]
    assert card["output"]["shape"] == json.loads((tmp_path / "t1.json").read_text())["output"]["shape"]


def test_a_missing_library_is_told_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, identity_file: Path
) -> None:
    monkeypatch.setattr("isomorph.io.read", lambda *_, **__: pytest.fail("read before asking"))
    monkeypatch.setattr("isomorph.align.loaded", lambda: pytest.fail("imported before asking"))
    monkeypatch.setitem(sys.modules, "ants", None)
    with pytest.raises(SetupError, match="E905"):
        synthesise([head(3.0), head(4.0)], load_model(identity_file))
    files = [save(head(3.0), tmp_path / "one.nii.gz"), save(head(4.0), tmp_path / "two.nii.gz")]
    with pytest.raises(SetupError, match="E905"):
        predict_scans(files, tmp_path / "t1.nii.gz", Options(model=str(identity_file)))
