"""What a network may be trained to do: add to its input, say how sure it is, name structures, look through another."""

import dataclasses
import json

import pytest
import torch
from small import head, heads, segmenter, small

from isomorph import config, load_model, synthesise
from isomorph.errors import SetupError, UsageError
from isomorph.labels import CLUSTER, LESION, brain_mask
from isomorph.nets import Residual, build
from isomorph.predict import Options
from isomorph.predict.scans import predict_scans
from isomorph.structures import NOWHERE, STRUCTURES, class_map, class_table
from isomorph.train.check import check
from isomorph.train.journal import entries
from isomorph.train.loop import train
from isomorph.train.objective import Objective
from isomorph.train.source import Batch, Samples, split
from isomorph.train.validate import _image, _labels

COMPACT = "network={kind='compact', arguments={inputs=2}}"


def silent(entry):
    pass


def run(plan, folder, **options):
    return train(plan, heads(), folder, workers=0, report=silent, **options)


def test_a_residual_network_adds_to_the_channels_it_is_told():
    network = build("compact", {"inputs": 3, "outputs": 2, "features": [4]}, residual=(2,))
    assert isinstance(network, Residual)
    x = torch.rand(1, 3, 4, 4, 4)
    alone = network.network(x)
    assert torch.equal(network(x), torch.cat([x[:, 2:] + alone[:, :1], alone[:, 1:]], 1))


@pytest.mark.parametrize("residual", [(1,), (-1,), (0, 0), ("a",), (0.5,)])
def test_a_residual_that_is_not_there_is_refused(residual):
    with pytest.raises(ValueError, match="give one of 1 inputs for each of 1 outputs"):
        build("compact", {"features": [4]}, residual)


def test_a_model_for_several_scans_is_refused_for_one(tmp_path, phantom):
    two = ("generator.channels=[{}, {}]", "generator.reliability=false")
    model = run(small("default", "network={kind='compact', arguments={inputs=2}}", *two), tmp_path)
    with pytest.raises(SetupError, match=r"^E906 default wants 2 scans of one exam"):
        synthesise(phantom, load_model(model))


@pytest.mark.parametrize("network", ["compact", "cascade", "unet"])
def test_prediction_runs_a_residual_as_training_did(network, tmp_path, phantom):
    """A learning rate of zero and a network that says nothing: the prediction is the scan."""
    arguments = "{inputs=2, scans=1}" if network == "cascade" else "{inputs=2}"
    plan = small("default", f"network={{kind={network!r}, residual=[0], arguments={arguments}}}")
    model = load_model(run(plan, tmp_path))
    assert model.card["residual"] == [0]
    with torch.no_grad():
        for parameter in model.network.network.parameters():
            parameter.zero_()
    x = torch.rand(1, 2, 16, 16, 16)
    assert torch.equal(model.network(x), x[:, :1])
    if network == "compact":  # the path is the same for all
        out = synthesise(phantom, model, device="cpu", precision="fp32", flip=False)
        assert out.volume.data.max() > 100


def test_prediction_gives_the_reliability_that_training_gave(tmp_path, phantom):
    """Slices of 5 mm on a 1 mm grid: one plane in five was measured."""
    network = "network={kind='compact', arguments={inputs=2}, residual=[0]}"
    model = load_model(run(small("default", network), tmp_path))
    assert model.card["reliability"] is True
    seen = []
    model.network.register_forward_pre_hook(lambda network, given: seen.append(given[0]))
    synthesise(phantom, model, device="cpu", precision="fp32", flip=False)
    image, measured = seen[0][0]
    measured = measured.round(decimals=3)
    assert measured.unique().tolist() == [0, 1]
    assert measured.any(0).any(0).sum() == phantom.shape[2]
    assert image.max() > 0.5


def test_laplace_gives_an_image_and_how_sure_it_is(tmp_path, phantom):
    stages = "training.stages=[{steps=3, loss={laplace=1.0, gradient=0.1}}]"
    plan = small("default", "network={kind='compact', arguments={inputs=2, outputs=2}}", stages)
    model = load_model(run(plan, tmp_path))
    assert model.network(torch.rand(1, 2, 16, 16, 16)).shape[1] == 2
    assert synthesise(phantom, model, device="cpu", precision="fp32", flip=False).volume.data.shape[0] == 1


SUBSETS = range(1, 16)  # of four scans


def part(image, subset):
    """What a network sees where scans are missing: nothing, and a reliability of 0."""
    there = torch.tensor([subset >> k & 1 for k in range(4)]).repeat(2).view(8, 1, 1, 1)
    return image * there


def exam(dropout, **training):
    network = "network={kind='compact', arguments={inputs=8}}"
    return small("exam-2021", network, f"generator.dropout={dropout}", **training)


def test_one_network_takes_any_subset_of_an_exam(tmp_path):
    """The generator gives subsets as prediction would: a scan that is missing is 0, as is its reliability."""
    plan = exam(1.0)
    images = [sample.image[0] for sample in Samples(plan, heads(), start=plan.training.steps - 2)]
    assert all(image.shape[0] == 8 for image in images)
    for image in images:
        there = [bool(channel.any()) for channel in image]
        assert there[:4] == there[4:]
        assert any(there)
    assert not all(channel.any() for image in images for channel in image)
    model = load_model(run(plan, tmp_path))
    assert (model.card["scans"], model.card["reliability"]) == (4, True)
    whole = Samples(exam(0.0), [head("a")]).make(0, 1).image
    with torch.no_grad():
        seen = [model.network(part(whole, subset)[None]) for subset in SUBSETS]
    assert all(image.isfinite().all() for image in seen)
    assert len({round(image.sum().item(), 3) for image in seen}) == len(SUBSETS)


@pytest.mark.slow
def test_a_network_trained_on_subsets_suffers_less_where_scans_are_missing(tmp_path):
    samples = Samples(exam(0.0), [head("held", shift=-2)])
    held = [samples.make(0, 10**6 + k) for k in range(6)]
    errors = {}
    for dropout in (0.0, 0.8):
        plan = exam(dropout, warmup=5, average=0.9, validate_every=1000, save_every=1000)
        stage = dataclasses.replace(
            plan.training.stages[0], steps=150, learning_rate=1e-2, set=("deform.size=[16, 16, 16]",)
        )
        plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, stages=(stage,)))
        network = load_model(run(plan, tmp_path / str(dropout))).network
        with torch.no_grad():
            alone = [(network(part(s.image, 1 << k)[None])[0] - s.target).abs().mean() for s in held for k in range(4)]
        errors[dropout] = torch.stack(alone).mean().item()
    assert errors[0.8] < 0.85 * errors[0.0]  # of a single scan


def test_a_segmentation_learns_structures(tmp_path):
    easy = ("deform.size=[16, 16, 16]", "contrast.random=0.0", "contrast.tables=['T1']", "contrast.weights=[1.0]")
    plan = small("segmenter", warmup=5, average=0.9, log_every=20)
    stage = dataclasses.replace(plan.training.stages[0], steps=60, learning_rate=1e-2, set=easy)
    plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, stages=(stage,)))
    model = load_model(run(plan, tmp_path))
    assert model.card["kind"] == "segmentation"
    assert model.card["labels"] == list(STRUCTURES)
    losses = [entry["loss"] for entry in entries(tmp_path / "log.jsonl") if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
    assert 0 <= model.card["scores"]["validation_dice"] <= 1


def test_a_segmentation_is_trained_on_structures_alone():
    trained, held = split(small("segmenter"), heads())
    assert [h.name for h in trained] == ["a", "b"]
    assert [h.name for h in held] == ["held"]
    with pytest.raises(UsageError, match="none of 2 heads is left"):
        split(small("segmenter"), [head("real", real=True), head("held")])


def test_a_head_that_is_never_drawn_is_not_trained_on():
    plan = dataclasses.replace(small("default"), weights={"a": 0.0})
    assert [h.name for h in split(plan, heads())[0]] == ["b", "real"]


def test_sides_are_one_and_the_unknown_is_not_judged():
    table = class_table(STRUCTURES)
    assert table[17] == table[53] == STRUCTURES.index(17)
    assert table[31] == table[4]
    assert table[511] == table[24] == 0
    assert table[85] == NOWHERE
    labels = torch.tensor([[2, 53, 85], [0, CLUSTER + 12, 0]]).view(2, 1, 3, 1, 1)
    number, known = class_map(labels, STRUCTURES)
    assert known.flatten().tolist() == [1, 1, 0, 0, 0, 0]
    assert number[0].flatten().tolist() == [STRUCTURES.index(2), STRUCTURES.index(17), 0]


def test_classes_other_than_structures():
    """Lesions alone: whatever is none is background, and what maps call lesion is not judged."""
    table = class_table((0, 77))
    assert table[77] == 1
    assert not table[torch.tensor([0, 2, 42, 4, 24, 511, 29, 30, 85])].any()
    assert table[25] == table[57] == NOWHERE
    assert class_table(STRUCTURES)[25] == class_table(STRUCTURES)[77] == STRUCTURES.index(2)


def test_a_recipe_says_which_classes_it_tells_apart(tmp_path):
    easy = ("deform.size=[16, 16, 16]",)
    plan = small("lesions", warmup=2, validate_samples=2, validate_every=2)
    stage = dataclasses.replace(plan.training.stages[0], steps=2, set=easy)
    plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, stages=(stage,)))
    model = load_model(run(plan, tmp_path))
    assert model.card["labels"] == [0, 77]
    assert model.network(torch.zeros(1, 2, 16, 16, 16)).shape[1] == 2
    assert 0 <= model.card["scores"]["validation_dice"] <= 1


@pytest.mark.parametrize("classes", ["[77, 0]", "[0, 41]", "[0, 2, 2]", "[0, 900]"])
def test_classes_that_make_no_sense_are_refused(classes):
    n = len(json.loads(classes))
    with pytest.raises(UsageError, match=r"give 0, the background, then numbers of isomorph\.labels"):
        check(config.load("lesions", (f"classes={classes}", f"network.arguments.outputs={n}")))


@pytest.mark.parametrize(("guess", "score"), [(-9.0, 1.0), (9.0, 0.0)])
def test_a_sample_without_lesion_scores_whether_none_was_found(guess, score):
    sample = Batch(*[torch.zeros(1, 4, 4, 4)] * 3, torch.full((1, 4, 4, 4), 2, dtype=torch.int16))
    logits = torch.stack([torch.zeros(4, 4, 4), torch.full((4, 4, 4), guess)])
    assert _labels((0, 77), logits, sample)[0] == {"dice": score}


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    return segmenter(tmp_path_factory.mktemp("segmenter"))


def through(eyes, *changes):
    stages = "training.stages=[{steps=2, loss={l1=1.0, dice=0.25}}]"
    return small("default", COMPACT, stages, f"training.segmenter={str(eyes)!r}", *changes)


def test_dice_looks_through_a_segmenter_that_stays_as_it_is(eyes, tmp_path):
    model = load_model(run(through(eyes), tmp_path))
    assert model.card["segmenter"] == load_model(eyes).sha256
    assert model.card["recipe"]["training"]["segmenter"] == eyes.name  # no path
    assert not any("segmenter" in key for key in model.network.state_dict())


def test_the_loss_of_2023_is_l1_and_a_quarter_of_what_dice_lacks(eyes):
    plan = through(eyes)
    device, stage = torch.device("cpu"), plan.training.stages[0]
    objective = Objective(plan, device, torch.no_grad)
    batch = next(iter(Samples(plan, [head("a")])))
    seen = torch.rand_like(batch.target)
    both = objective(stage, seen, batch)
    l1 = objective(dataclasses.replace(stage, loss={"l1": 1.0}), seen, batch)
    lacking = objective(dataclasses.replace(stage, loss={"dice": 1.0}), seen, batch)
    assert both.item() == pytest.approx((l1 + 0.25 * lacking).item(), rel=1e-5)
    assert 0 < lacking <= 1


def test_a_head_without_structures_is_judged_by_its_image_alone(eyes):
    plan = through(eyes)
    objective = Objective(plan, torch.device("cpu"), torch.no_grad)
    batch = next(iter(Samples(plan, [head("real", real=True)])))
    stage = dataclasses.replace(plan.training.stages[0], loss={"dice": 1.0})
    assert objective(stage, torch.rand_like(batch.target), batch) == 0


def test_the_gradient_passes_through_the_segmenter(eyes):
    from contextlib import nullcontext

    plan = through(eyes)
    objective = Objective(plan, torch.device("cpu"), nullcontext)
    batch = next(iter(Samples(plan, [head("a")])))
    image = torch.rand_like(batch.target).requires_grad_()
    objective(dataclasses.replace(plan.training.stages[0], loss={"dice": 1.0}), image, batch).backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in objective.segmenter.parameters())


def test_a_model_that_gives_labels_does_not_synthesise(eyes, phantom, phantom_file, tmp_path):
    with pytest.raises(SetupError, match=r"^E906 segmenter gives labels, not an image; choose"):
        synthesise(phantom, str(eyes))
    with pytest.raises(SetupError, match=r"^E906"):
        predict_scans([phantom_file], tmp_path / "out.nii.gz", Options(model=str(eyes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("network.arguments={inputs=3}",), r"reads 3 images, .* gives 1 scans and 1 reliability maps; set .*inputs=2"),
        (("network.arguments.outputs=2",), r"gives 2 outputs, 1 are wanted: the image; set .*outputs=1"),
        (("training.stages=[{steps=1, loss={laplace=1.0}}]",), r"gives 1 outputs, 2 are wanted"),
        (("kind='segmentation'",), r"gives 1 outputs, 17 are wanted: one for each class"),
        (("training.stages=[{steps=1, loss={dice=1.0}}]",), r"train one with the recipe segmenter"),
        (
            ("training.stages=[{steps=1, loss={dice=1.0}, set=['deform.spacing=2.0']}]", "training.segmenter='x'"),
            r"wants samples of 1 mm",
        ),
        (("generator.deform.size=[100, 96, 96]",), r"100 x 96 x 96 voxels, the network wants multiples of 16"),
        (("generator.deform.size=[0, 0, 0]",), r"is a whole head, the network wants multiples of 16 voxels"),
        (("training.stages=[{steps=1, batch=0}]",), r"stage 1 has a batch of 0"),
        (("training.micro=-1",), r"micro is -1"),
        (("training.stages=[{steps=1, part='fine'}]",), r"stage 1 trains the part 'fine' of compact, which has \[\]"),
        (
            ("network.kind='cascade'", "training.stages=[{steps=1, part='shrap'}]"),
            r"part 'shrap' of cascade, which has \['sharp', 'coarse', 'fine'\]",
        ),
        (("network.kind='cascade'", "training.stages=[{steps=1, part='sharp'}]"), r"add 'target=0' to its set"),
        (("training.log_every=0",), r"log_every is 0; give 1 or more"),
        (("network.kind='cascade'",), r"which of its inputs are scans; set network\.arguments\.scans=1"),
        (("network={kind='cascade', arguments={inputs=2, scans=2}}",), r"are scans; set network\.arguments\.scans=1"),
        (
            ("network={kind='cascade', arguments={inputs=4, scans=1}}", "generator.channels=[{}, {}]"),
            r"are scans; set network\.arguments\.scans=2",
        ),
        (
            ("training.lesions=8.0", "generator.lesions_in_labels=false"),
            r"weighs what is ill; add generator\.lesions_in_labels=true",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(changes, message, tmp_path):
    base = (COMPACT, "training.stages=[{steps=1}]", "training.precision='fp32'", "held_out=[]")
    plan = config.load("default", (*base, *changes))
    with pytest.raises(UsageError, match=message):
        train(plan, heads(), tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        ("network={kind='cascade', arguments={inputs=2, scans=1}}",),
        ("network={kind='cascade', arguments={inputs=4, scans=2}}", "generator.channels=[{}, {}]"),
        (
            "network={kind='cascade', arguments={inputs=2}}",
            "generator.channels=[{}, {}]",
            "generator.reliability=false",
        ),
        ("training.lesions=1.0", "generator.lesions_in_labels=false"),
    ],
)
def test_what_fits_is_not_refused(changes):
    check(config.load("default", (COMPACT, "training.stages=[{steps=1}]", *changes)))


def test_what_is_ill_weighs_as_much_as_the_recipe_says():
    there = head("a")
    masks = torch.zeros_like(there.labels.data, dtype=torch.uint8)
    masks[:, 13:17, 21:27, 13:31] = 255  # of each patient, in white matter
    ill = dataclasses.replace(there, lesions=there.labels.with_data(masks))
    still = ("rotation=0.0", "scale=0.0", "shear=0.0", "velocity=[0.0, 0.0]", "mirror=0.0")
    changes = [f"generator.deform.{change}" for change in still]
    changes += ["generator.pathology={carried=1.0}", "generator.strip.stripped=0.0"]
    plan = small("default", COMPACT, *changes, lesions=8.0)
    sample = Samples(plan, [ill]).make(0, 1)
    sick, inside = sample.labels == LESION, brain_mask(sample.labels)
    assert sick.sum() > 100
    assert set(sample.weight[sick].tolist()) == {8.0}
    assert set(sample.weight[inside & ~sick].tolist()) == {1.0}
    assert sample.weight[~inside].unique().tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(("healthy", "left", "right"), [(2, 77, 77), (4, 31, 63), (4, 136, 163), (4, 137, 164)])
def test_lesions_and_choroid_plexus_that_a_map_shows_weigh_as_much(healthy, left, right):
    well = head("a")
    labels = well.labels.with_data(well.labels.data.masked_fill(well.labels.data == healthy, left))
    rare = dataclasses.replace(well, labels=labels)
    sample = Samples(small("default", COMPACT, "generator.strip.stripped=0.0", lesions=8.0), [rare]).make(0, 1)
    shown = (sample.labels == left) | (sample.labels == right)  # mirrored
    assert shown.any()
    assert set(sample.weight[shown].tolist()) == {8.0}


def test_validation_counts_what_is_ill_as_brain():
    off = torch.tensor([1.0, 0.0, 5.0]).view(1, 3, 1, 1)  # ill, well, outside
    weight = torch.tensor([8.0, 1.0, 0.3]).view(1, 3, 1, 1)
    labels = torch.tensor([77, 2, 511], dtype=torch.int16).view(1, 3, 1, 1)
    sample = Batch(off, torch.zeros_like(off), weight, labels)
    assert _image(off, sample)[0] == pytest.approx({"mae": 0.5, "psnr": 3.0103}, rel=1e-4)


def test_a_segmentation_compares_classes_alone():
    with pytest.raises(UsageError, match=r"loss \['l1'\] of stage 1 compares images"):
        check(small("segmenter", "training.stages=[{steps=1}]"))


def test_another_model_is_no_segmenter(eyes, tmp_path):
    model = run(small("default", COMPACT), tmp_path / "one")
    with pytest.raises(UsageError, match="gives no labels"):
        run(through(model), tmp_path / "two")


def test_a_model_of_another_shape_cannot_be_begun_with(tmp_path):
    model = run(small("default", COMPACT), tmp_path / "one")
    plan = small("default", "network={kind='compact', residual=[0], arguments={inputs=2}}")
    with pytest.raises(UsageError, match="holds another network"):
        run(plan, tmp_path / "two", start=str(model))
