import json
import os
import pwd
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from isomorph.errors import SetupError
from isomorph.nets import Compact, UNet
from isomorph.weights import collected, digest, load_model, locate, read_card, save_model, shipped

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


def test_a_weight_beyond_float16_is_kept_as_it_is(tmp_path):
    """Or the file would hold an infinity, which nobody could load."""
    network, path = Compact(features=(4, 8)).eval(), tmp_path / "tiny.safetensors"
    with torch.no_grad():
        network.stem.bias[0] = 1e5
    save_model(path, network, CARD)
    assert torch.equal(load_model(path).network.stem.bias, network.stem.bias)
    kinds = {name: x.dtype for name, x in load_file(path).items()}
    assert {name for name, kind in kinds.items() if kind != torch.float16} == {"stem.bias"}


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300])
def test_weights_that_are_not_finite_replace_no_model(tiny, half, value):
    before = tiny.read_bytes()
    network = Compact(features=(4, 8)).double()
    with torch.no_grad():
        network.stem.bias[0] = value
    with pytest.raises(
        SetupError, match=r"^E903 tiny\.safetensors was not written, .* not finite in \['stem\.bias'\]; "
    ):
        save_model(tiny, network, CARD, half=half)
    assert tiny.read_bytes() == before
    assert list(tiny.parent.iterdir()) == [tiny]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("stem.bias"), "does not fit"),
        (lambda s: s.update(extra=torch.zeros(1)), "does not fit"),
        (lambda s: s.update({"stem.bias": torch.zeros(5)}), "does not fit"),
        (lambda s: s.update({"stem.bias": torch.full((4,), float("nan"))}), "not finite"),
        (lambda s: s.update({"stem.bias": torch.full((4,), 1e300, dtype=torch.float64)}), "not finite"),
        (lambda s: s.update({"stem.bias": torch.zeros(4).to(torch.float8_e4m3fn)}), "of type F8_E4M3, not one of"),
        (lambda s: s.update({"stem.bias": torch.zeros(4, dtype=torch.complex64)}), "of type C64, not one of"),
        (lambda s: s.update({"stem.bias": torch.zeros(4, dtype=torch.int64)}), "of type I64, not one of"),
    ],
)
def test_anything_but_the_right_tensors_is_refused(tiny, change, message):
    rewrite(tiny, change)
    with pytest.raises(SetupError, match=rf"^E903 .*{message}"):
        load_model(tiny)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_kind_of_number_of_networks_is_taken(tiny, kind):
    before = load_model(tiny).network.stem.bias
    rewrite(tiny, lambda s: s.update({"stem.bias": s["stem.bias"].to(kind)}))
    after = load_model(tiny).network.stem.bias
    torch.testing.assert_close(after, before, rtol=0.01, atol=0)
    assert after.dtype == torch.float32


def test_numbers_that_the_library_does_not_know_are_one_line(tiny):
    content = tiny.read_bytes()
    changed = content.replace(b'"dtype":"F16"', b'"dtype":"F99"', 1)
    assert changed != content
    tiny.write_bytes(changed)
    with pytest.raises(SetupError, match="of type F99, not one of"):
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
        {"white_matter": None},
        {"name": ["tiny"]},
        {"kind": 3},
        {"licence": {}},
        {"residual": 1},
        {"residual": None},
        {"residual": {"0": 0}},
        {"labels": 3},
        {"labels": [0, [2]]},
        {"reliability": "yes"},
        {"compat": ["freesurfer"]},
        {"target": ["T1"]},
        {"held_out": [["one"]]},
        {"runs": 3},
        {"recipe": None},
        {"recipe": "default"},
        {"recipe": {"generator": ["contrast"]}},
        {"recipe": {"generator": {"contrast": "hounsfield"}}},
        {"recipe": {"generator": {"channels": 2}}},
        {"recipe": {"training": {"stages": {"loss": {}}}}},
        {"recipe": {"training": {"stages": [{"loss": 1}]}}},
        {"arguments": {"features": {}}},
        {"arguments": None},
        {"network": "cascade", "arguments": {"scans": 1.5}},
    ],
    ids=str,
)
def test_a_hostile_card_is_one_line(tiny, change):
    save_file(load_file(tiny), tiny, metadata={"isomorph": json.dumps(CARD | change)})
    with pytest.raises(SetupError, match="E903") as caught:
        load_model(tiny)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_in_a_card_is_named(tiny):
    save_file(load_file(tiny), tiny, metadata={"isomorph": json.dumps(CARD | {"recipe": {"generator": [1]}})})
    with pytest.raises(
        SetupError, match=r"tiny\.safetensors has a card .*: generator is of type list, not dict; fetch"
    ):
        read_card(tiny)


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
    with pytest.raises(
        SetupError, match=r"E904 .* cannot be read \(Permission denied\); check its path and permissions"
    ):
        ask(tiny)


@pytest.mark.parametrize("ask", [load_model, read_card, locate])
@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + ".safetensors", "n" * 300 + ".h5", "folder/" * 1000])
def test_a_name_that_can_be_no_file_is_one_line(ask, name):
    with pytest.raises(SetupError, match=r"^E904 .* \(File name too long\); check") as caught:
        ask(name)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("ask", [load_model, read_card, locate])
def test_a_folder_that_may_not_be_entered_is_no_bug(ask, tiny, monkeypatch):
    seen = Path.stat

    def denied(path, **how):
        if path == tiny:
            raise PermissionError(13, "Permission denied")
        return seen(path, **how)

    monkeypatch.setattr(Path, "stat", denied)
    monkeypatch.setattr(os.path, "isfile", lambda _: False)  # which newer Pythons ask, and are told nothing of why
    with pytest.raises(SetupError, match="E904"):
        ask(tiny)


def test_a_hash_of_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(SetupError, match=r"E904 none\.safetensors cannot be read"):
        digest(tmp_path / "none.safetensors")


def test_without_a_home_there_is_no_own_folder(tmp_path, monkeypatch):
    def unknown(_):
        raise KeyError

    (tmp_path / "~" / ".isomorph").mkdir(parents=True)
    (tmp_path / "~" / ".isomorph" / "trap.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert list(collected().values()) == shipped()
    with pytest.raises(SetupError, match="E904"):
        load_model("trap")


def test_the_home_of_another_is_no_own_folder(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("isomorph.weights.file.SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: denied() if self.name == ".isomorph" else [])
    assert collected() == {}


def test_only_the_card_is_read_of_a_file(tiny, monkeypatch):
    cut = tiny.with_name("cut.safetensors")
    content = tiny.read_bytes()
    cut.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])
    assert read_card(cut) == read_card(tiny)


@pytest.mark.parametrize("path", shipped(), ids=lambda p: p.stem)
def test_each_shipped_model_loads_and_is_small_enough(path):
    assert path.stat().st_size <= 16 * 2**20
    assert load_model(path.stem).card == read_card(path)
