import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from isomorph.errors import SetupError
from isomorph.nets import Compact, UNet
from isomorph.weights import load_model, read_card, save_model, shipped

CARD = {
    "name": "tiny", "network": "compact", "arguments": {"features": [4, 8]}, "white_matter": 1.0,
    "licence": "Apache-2.0", "data": "none",
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(path, Compact(features=(4, 8)), CARD)
    return path


def rewrite(path, change):
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"isomorph": json.dumps(CARD)})


def test_round_trip(tmp_path):
    torch.manual_seed(0)
    network, path = Compact(features=(4, 8)).eval(), tmp_path / "tiny.safetensors"
    sha = save_model(path, network, CARD, half=False)
    model = load_model(path)
    x = torch.rand(1, 1, 8, 8, 8)
    assert torch.equal(model.network(x), network(x))
    assert (model.card, model.sha256) == (CARD, sha)
    assert not model.network.training


def test_half_precision_changes_little(tmp_path):
    torch.manual_seed(0)
    network, path = Compact(features=(4, 8)).eval(), tmp_path / "tiny.safetensors"
    save_model(path, network, CARD)
    x = torch.rand(1, 1, 16, 16, 16)
    expected = network(x)
    assert (load_model(path).network(x) - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("stem.bias"), "does not fit"),
        (lambda s: s.update(extra=torch.zeros(1)), "does not fit"),
        (lambda s: s.update({"stem.bias": torch.zeros(5)}), "does not fit"),
        (lambda s: s.update({"stem.bias": torch.full((4,), float("nan"))}), "not finite"),
    ],
)
def test_anything_but_the_right_tensors_is_refused(tiny, change, message):
    rewrite(tiny, change)
    with pytest.raises(SetupError, match=message):
        load_model(tiny)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"\xff" * 64, b"PK\x03\x04" + b"x" * 100, (2).to_bytes(8, "little") + b"{}"]
)
def test_damage_is_one_line(tiny, content):
    tiny.write_bytes(content)
    with pytest.raises(SetupError, match="E902") as caught:
        load_model(tiny)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-100])
    with pytest.raises(SetupError, match="E902"):
        load_model(tiny)


def test_a_duplicate_key_is_refused(tiny):
    content = tiny.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip()
    doubled = header[:-1] + b',"stem.bias":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}'
    tiny.write_bytes(len(doubled).to_bytes(8, "little") + doubled + content[8 + size :])
    with pytest.raises(SetupError, match="twice"):
        load_model(tiny)


@pytest.mark.parametrize("name", ["model.pt", "model.h5", "model.npz"])
def test_a_pickle_is_never_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(SetupError, match="E901"):
        load_model(tmp_path / name)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(SetupError, match="choose from"):
        load_model("no-such-model")


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"width": 3}},
        {"arguments": [1]},
        {"arguments": {"features": [20_000, 20_000]}},
        {"arguments": {"features": [-4, 8]}},
        {"network": ["compact"]},
        {"network": "transformer"},
        {"white_matter": 0},
        {"white_matter": -1},
        {"white_matter": "bright"},
    ],
    ids=str,
)
def test_a_hostile_card_is_one_line(tiny, change):
    save_file(load_file(tiny), tiny, metadata={"isomorph": json.dumps(CARD | change)})
    with pytest.raises(SetupError, match="E903") as caught:
        load_model(tiny)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_no_table_is_refused(tiny):
    save_file(load_file(tiny), tiny, metadata={"isomorph": '"card"'})
    with pytest.raises(SetupError, match="E903"):
        load_model(tiny)


def test_the_original_network_survives_the_file(tmp_path):
    network, path = UNet(features=2, levels=3).eval(), tmp_path / "unet.safetensors"
    save_model(path, network, CARD | {"network": "unet", "arguments": {"features": 2, "levels": 3}}, half=False)
    x = torch.rand(1, 1, 8, 8, 8)
    assert torch.equal(load_model(path).network(x), network(x))


@pytest.mark.parametrize("ask", [load_model, read_card])
def test_a_file_that_may_not_be_read_is_no_bug(ask, tiny, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(SetupError, match=r"E904 .* cannot be read \(Permission denied\); check its permissions"):
        ask(tiny)


def test_only_the_card_is_read_of_a_file(tiny, monkeypatch):
    cut = tiny.with_name("cut.safetensors")
    content = tiny.read_bytes()
    cut.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])
    assert read_card(cut) == read_card(tiny)


@pytest.mark.parametrize("path", shipped(), ids=lambda p: p.stem)
def test_each_shipped_model_loads_and_is_small_enough(path):
    assert path.stat().st_size <= 16 * 2**20
    assert load_model(path.stem).card == read_card(path)
