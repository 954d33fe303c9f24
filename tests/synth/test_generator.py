import json

import pytest
import torch

from isomorph.labels import CLUSTER, LESION, SEAM
from isomorph.synth import Channel, Deform, Generator
from isomorph.synth.contrasts import CONTRAST_TABLES, target_means
from isomorph.synth.mixture import Mixture, paint
from isomorph.synth.strip import Strip


def test_a_sample_can_be_made_again_from_its_recipe(head):
    generator = Generator()
    first = generator(head, None, seed=7)
    again = generator.replay(head, None, json.loads(json.dumps(first.recipe)))
    assert torch.equal(first.image.data, again.image.data)
    assert torch.equal(first.target.data, again.target.data)


def test_other_seed_other_contrast(head):
    a, b = (Generator()(head, None, seed=s).recipe["channels"][0]["contrast"]["means"] for s in (1, 2))
    assert a != b


def test_the_painted_target_is_an_mprage(head):
    sample = Generator()(head, None, seed=3)
    inside = sample.labels.data == 41
    assert sample.target.data[inside].median().item() == pytest.approx(1.0, abs=0.01)
    grey = sample.target.data[sample.labels.data == 42].median().item()
    assert grey == pytest.approx(target_means("T1", ill=False)["cortex"], abs=0.1)


@pytest.mark.parametrize("contrast", ["T1", "FLAIR"])
def test_what_ventricle_and_white_matter_share_is_as_much_of_both_in_scan_and_target(head, contrast):
    labels = head.with_data(torch.where(head.data == 41, SEAM[1], head.data))
    plain = Mixture(random=0.0, tables=(contrast,), weights=(1.0,), spread=(0, 0), texture=(0, 0), black_air=1.0)
    channels = (Channel(contrast=plain, corruptions=()),)
    sample = Generator(channels=channels, strip=Strip(stripped=0.0), deform=Deform(mirror=0.0))(labels, None, seed=3)
    seam = sample.labels.data == SEAM[1]
    for image, means in ((sample.image, CONTRAST_TABLES[contrast]), (sample.target, target_means("T1", ill=False))):
        half = (means["fluid"] + means["white"]) / 2
        assert image.data[seam].median().item() == pytest.approx(half, abs=0.03)


def test_a_lesion_that_a_map_shows_has_healed_in_the_target_and_not_in_the_scan(head):
    labels = head.with_data(torch.where(head.data == 41, LESION, head.data))  # white matter of the right side
    means = CONTRAST_TABLES["FLAIR"]
    flair = Mixture(random=0.0, tables=("FLAIR",), weights=(1.0,), spread=(0, 0), texture=(0, 0), black_air=1.0)
    still = {
        "channels": (Channel(contrast=flair, corruptions=()),),
        "strip": Strip(stripped=0.0),
        "deform": Deform(mirror=0.0),
    }
    whole = Generator(**still)
    sample = whole(labels, None, seed=3)
    ill = sample.labels.data == LESION
    assert sample.target.data[ill].median().item() == pytest.approx(1.0, abs=0.01)
    assert sample.image.data[ill].median().item() == pytest.approx(means["lesion"], abs=0.03)
    shown = Generator(**still, lesions_in_target=True)
    assert shown(labels, None, seed=3).target.data[ill].median().item() == pytest.approx(0.7, abs=0.01)


def test_the_ventricles_of_a_real_t1_are_fluid_in_every_contrast(head):
    """Levels of the darkest class: its middle is fluid and what shares voxels with it, pure fluid is darker."""
    for level, fluid in ((1, 1.0), (3, 1.0), (5, 0.75), (12, 0.0)):
        x = head.with_data(torch.full_like(head.data, CLUSTER + level))
        for name in ("T2", "FLAIR"):
            means = CONTRAST_TABLES[name]
            y = paint(x, means=means, stds=dict.fromkeys(means, 0.0), seed=0).data[0, 4:-4, 4:-4, 4:-4]
            share = (y.mean().item() - means["cortex"]) / (means["fluid"] - means["cortex"])
            assert share == pytest.approx(fluid, abs=0.05)


def test_a_real_target_moves_with_its_labels(head):
    sample = Generator()(head, head.with_data((head.data == 17).float()), seed=5)
    number = 53 if sample.recipe["deform"]["mirror"] else 17
    hippocampus = sample.labels.data == number
    assert sample.target.data[hippocampus].mean() > 0.6
    assert sample.target.data[~hippocampus].mean() < 0.01


def test_a_patch_is_as_large_as_asked_and_lies_in_the_head(head):
    sample = Generator(deform=Deform(size=(32, 24, 16)))(head, None, seed=1)
    assert sample.image.shape == (32, 24, 16)
    assert sample.image.spacing == (1.0, 1.0, 1.0)


def test_the_image_is_normalised(head):
    for seed in range(5):
        image = Generator()(head, None, seed=seed).image.data
        assert image.min() >= 0
        assert image.max() <= 1.5
        assert image.max() > 0.5


def test_a_t1_of_a_head_with_a_real_t1_may_be_that_t1_itself(head):
    real = head.with_data(torch.rand(head.data.shape, generator=torch.Generator().manual_seed(0)))

    def sample(table, own):
        contrast = Mixture(random=0.0, tables=(table,), weights=(1.0,), spread=(0.0, 0.0))
        channel = Channel(contrast=contrast, corruptions=())
        made = Generator(strip=Strip(stripped=0.0), channels=(channel,), own=own)(head, real, seed=3)
        seen = made.labels.data > 0
        return made.image.data[seen], made.target.data[seen]

    assert torch.allclose(*sample("T1", 1.0), atol=1e-6)
    assert not torch.allclose(*sample("T1", 0.0), atol=0.1)
    assert not torch.allclose(*sample("T2", 1.0), atol=0.1)
