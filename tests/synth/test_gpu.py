"""On a GPU a recipe is followed as it is on a processor. Skipped where there is none."""

import json

import pytest
import torch

from isomorph import config
from isomorph.volume import Volume

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def on_gpu(x):
    return Volume(x.data.cuda(), x.affine)


@pytest.mark.parametrize("name", config.names())
def test_each_recipe_runs_on_a_gpu_and_its_anatomy_is_that_of_a_processor(name, head):
    generator = config.load(name, ("generator.deform.size=[24, 24, 24]", "generator.deform.spacing=1.0")).generator
    masks = head.with_data((head.data == 2).to(torch.uint8) * 255)
    here = generator(head, None, 3, masks)
    there = generator(on_gpu(head), None, 3, on_gpu(masks))
    assert {part.data.device.type for part in there[:3]} == {"cuda"}
    assert here.recipe == there.recipe
    # Voxel-wise noise has another generator there; what lies where does not depend on it.
    assert (here.labels.data == there.labels.data.cpu()).float().mean() > 0.995
    assert there.image.data.isfinite().all()
    again = generator.replay(on_gpu(head), None, json.loads(json.dumps(there.recipe)), on_gpu(masks))
    torch.testing.assert_close(there.image.data, again.image.data, atol=1e-5, rtol=1e-5)
