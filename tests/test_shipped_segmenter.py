"""The shipped segmentation network on a head that it was not trained on: its structures and their sides."""

from pathlib import Path

import numpy as np
import pytest

from isomorph import config, segment
from isomorph.labels import LABELS, SEAM
from isomorph.train.corpus import available
from isomorph.train.source import Samples
from isomorph.volume import Volume
from isomorph.weights import load_model

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no label maps in ../shared/data")

HEAD = "training_seg_19"
VENTRICLES = (4, 43)
CLEAN = (  # a T1 of 1 mm, little noise
    "generator.contrast.random=0", "generator.contrast.weights=[1.0, 0.0, 0.0, 0.0, 0.0]", "generator.slices.thick=0",
    "generator.slices.blurred=0", "generator.slices.isotropic=[1.0, 1.01]", "generator.slices.noise=[0.0, 0.02]",
    "generator.deform.size=[160, 192, 160]",
)  # fmt: skip
LEAST = {2: 0.9, 3: 0.82, 4: 0.85, 10: 0.85, 11: 0.75, 12: 0.8, 16: 0.88, 17: 0.72}  # Dice, by left number


def overlap(a, b):
    return 2 * (a & b).sum().item() / (a.sum() + b.sum()).item()


def test_structures_of_a_head_held_out_are_found_on_their_sides():
    assert HEAD in load_model("segmenter").card["recipe"]["held_out"]
    recipe = config.load("segmenter", CLEAN)
    sample = Samples(recipe, [available(DATA)[HEAD]()]).make(0, -1)
    found = segment(Volume(sample.image, np.eye(4)), flip=False)
    truth = sample.labels[0]
    names = {label.name: number for number, label in LABELS.items()}
    shared = dict(zip(VENTRICLES, ((truth == seam).sum().item() for seam in SEAM), strict=True))
    for left, least in LEAST.items():
        right = names.get(LABELS[left].name.replace("left", "right"), left)
        for number in {left, right}:
            assert overlap(found.labels.data[0] == number, truth == number) > least, LABELS[number].name
            volume = (truth == number).sum().item() + shared.get(number, 0) / 2  # that half of a seam which is fluid
            assert found.volumes[LABELS[number].name] == pytest.approx(volume, rel=0.2)
