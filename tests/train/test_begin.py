"""Another model's weights to begin with: what fits is taken, what is new changes nothing at first."""

import pytest
import torch

from isomorph.errors import UsageError
from isomorph.nets import Cascade, Parcels
from isomorph.train.begin import begin_with
from isomorph.weights import save_model

FEATURES = (8, 16)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = Parcels(1, 17, FEATURES).eval()
    card = {"name": "names", "network": "parcels", "arguments": {"outputs": 17, "features": list(FEATURES)}}
    card |= {"kind": "segmentation", "white_matter": 1.0, "labels": list(range(17)), "licence": "none", "data": []}
    save_model(tmp_path / "names.safetensors", network, card, half=False)
    return network, str(tmp_path / "names.safetensors")


def test_a_network_with_another_last_layer_sees_what_the_old_one_saw_whatever_a_new_input_shows(model):
    old, path = model
    torch.manual_seed(1)
    network = Parcels(2, 2, FEATURES).eval()
    last = network.name.weight.clone()
    begin_with(network, path)
    scan, more = torch.rand(2, 1, 1, 16, 16, 16)
    assert torch.allclose(network.context(torch.cat([scan, more], 1)), old.context(scan), atol=1e-5)
    assert torch.equal(network.name.weight, last)


def test_the_same_network_begins_with_all_of_it(model):
    old, path = model
    network = Parcels(1, 17, FEATURES).eval()
    begin_with(network, path)
    x = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(network(x), old(x))


@pytest.mark.parametrize("features", [(8, 24), (8, 16, 16)], ids=["width", "depth"])
def test_another_trunk_is_another_network(model, features):
    network = Parcels(1, 17, features)
    before = {key: x.clone() for key, x in network.state_dict().items()}
    with pytest.raises(UsageError, match="holds another network"):
        begin_with(network, model[1])
    assert all(torch.equal(x, before[key]) for key, x in network.state_dict().items())


def test_inputs_that_reach_more_than_the_first_layer_are_not_guessed(tmp_path):
    how = {"sharp": [8], "coarse": [8, 16], "fine": [8]}
    card = {"name": "old", "network": "cascade", "arguments": how, "white_matter": 1.0, "licence": "none", "data": []}
    save_model(tmp_path / "old.safetensors", Cascade(**how).eval(), card, half=False)
    begin_with(Cascade(**how), str(tmp_path / "old.safetensors"))
    for other in (Cascade(2, scans=1, **how), Cascade(4, scans=2, **how), Cascade(2, **how | {"coarse": [16, 16]})):
        with pytest.raises(UsageError, match="holds another network"):
            begin_with(other, str(tmp_path / "old.safetensors"))


def test_a_cascade_for_more_scans_begins_as_the_one_for_its_reference(tmp_path):
    how = {"sharp": [8], "coarse": [8, 16], "fine": [8]}
    one, two = Cascade(2, scans=1, **how).eval(), Cascade(4, scans=2, **how).eval()
    card = {"name": "old", "network": "cascade", "arguments": {"inputs": 2, "scans": 1, **how}, "white_matter": 1.0}
    save_model(tmp_path / "old.safetensors", one, card | {"licence": "none", "data": []}, half=False)
    begin_with(two, str(tmp_path / "old.safetensors"))
    x = torch.rand(1, 4, 16, 16, 16)
    assert torch.allclose(two(x), one(x[:, [0, 2]]), atol=1e-6)
