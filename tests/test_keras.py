"""Weights of the original SynthSR: files that Keras itself writes, and files that mean harm."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from keras_graph import synthsr_graph
from typer.testing import CliRunner

from isomorph.cli import app
from isomorph.errors import SetupError, UsageError
from isomorph.nets import UNet
from isomorph.weights import convert, load_model, original
from isomorph.weights.keras import layers, read_keras

h5py = pytest.importorskip("h5py")

CLOSE = 1e-5


@pytest.fixture(scope="session")
def keras() -> Iterator[Any]:
    """Keras on torch: another framework's layers, loader and writer, without TensorFlow's 270 MB."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("keras")
    yield module
    os.environ.pop("KERAS_BACKEND")
    if before is not None:
        os.environ["KERAS_BACKEND"] = before


def network(keras: Any, inputs: int = 1, outputs: int = 1, seed: int = 0) -> Any:
    """The graph of SynthSR with random weights and random batch-norm statistics."""
    given, x = synthsr_graph(keras, inputs, outputs)
    model = keras.Model(given, keras.layers.Activation("linear", name="unet_prediction")(x), name="unet")
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if "_bn_" in layer.name:
            n = layer.get_weights()[0].shape
            layer.set_weights(
                [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.3, n), rng.normal(0, 0.3, n), rng.uniform(0.3, 2, n)]
            )
        elif layer.get_weights():
            kernel, bias = layer.get_weights()
            scale = 1.3 / np.sqrt(np.prod(kernel.shape[:-1]))
            layer.set_weights([rng.normal(0, scale, kernel.shape), rng.normal(0, 0.1, bias.shape)])
    return model


def quietly(function: Callable, *arguments: Any, **more: Any) -> Any:
    """Keras on numpy 2 warns about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **more)


def weights_alone(source: Path, target: Path, *, colon: str = ":0", start: str = "") -> Path:
    """The layout of the published files: no ``/model_weights``, and names that end in ``:0``."""
    with h5py.File(source) as whole, h5py.File(target, "w") as file:
        names = []
        for layer, group in whole["model_weights"].items():
            file.require_group(start + layer)
            group.visititems(lambda name, item, layer=layer: names.append((layer, name, item)))
            for layer_name, name, item in names:
                if isinstance(item, h5py.Dataset):
                    file[f"{start}{layer_name}/{name}{colon}"] = item[()]
            names.clear()
        file.attrs["backend"] = "tensorflow"
    return target


@pytest.fixture(scope="session")
def written(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], tuple[Path, Any]]:
    """Whole models as Keras writes them, one and two inputs and outputs."""
    folder, table = tmp_path_factory.mktemp("keras"), {}
    for inputs, outputs in ((1, 1), (2, 1), (1, 2)):
        model = quietly(network, keras, inputs, outputs)
        path = folder / f"model-{inputs}-{outputs}.h5"
        quietly(model.save, path)
        table[inputs, outputs] = (path, model)
    return table


@pytest.fixture(scope="session")
def published(written: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights alone, as published."""
    return weights_alone(written[1, 1][0], tmp_path_factory.mktemp("published") / "synthsr.h5")


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """A file to do harm to."""
    return Path(shutil.copy(published, tmp_path / "copy.h5"))


def image(inputs: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (1, 32, 16, 48, inputs)).astype(np.float32)


@pytest.mark.parametrize(("inputs", "outputs", "kind"), [(1, 1, "v2"), (2, 1, "hyperfine"), (1, 2, None)])
def test_the_converted_network_gives_what_keras_gives(
    inputs: int, outputs: int, kind: str | None, written: dict, tmp_path: Path
) -> None:
    path, model = written[inputs, outputs]
    x = image(inputs)
    expected = np.moveaxis(np.asarray(quietly(model.predict, x, verbose=0)), -1, 1)
    card, _ = convert(path, tmp_path / "new" / "ours.safetensors", kind=kind)
    ours = load_model(tmp_path / "new" / "ours.safetensors")
    with torch.no_grad():
        found = ours.network(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    if kind == "hyperfine":  # its network says what to add to the T1
        expected = expected + np.moveaxis(x[..., :1], -1, 1)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=CLOSE * np.abs(expected).max(), rtol=0)
    assert ours.card == card
    assert card["compat"] == ("hyperfine" if inputs == 2 else "freesurfer")


def test_every_layout_gives_the_same_weights(written: dict, published: Path, keras: Any, tmp_path: Path) -> None:
    whole, model = written[1, 1]
    expected = read_keras(whole.read_bytes(), "whole.h5")
    assert len(layers()) == 28
    assert sum(tensor.numel() for tensor in expected.values()) == 13_242_049
    assert expected.keys() == {k for k in UNet().state_dict() if not k.endswith("num_batches_tracked")}
    nested = tmp_path / "nested.h5"  # as of 2023: beside the layers a frozen segmentation network with the same names
    other = quietly(network, keras, seed=9)
    outer = quietly(lambda: keras.Model(model.input, other(model.output), name="both"))
    quietly(outer.save, nested)
    with h5py.File(nested) as file:
        assert "unet_likelihood" in file["model_weights/unet"]
    for path in (published, nested, weights_alone(nested, tmp_path / "alone.h5")):
        found = read_keras(path.read_bytes(), path.name)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), path.name


def edited(path: Path, change: Callable[[Any], object]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def put(name: str, value: object, **how: Any) -> Callable[[Any], object]:
    """Replace a dataset."""

    def change(file: Any) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **how) if not callable(value) else value(file, name)

    return change


def virtual(file: Any, name: str) -> None:
    layout = h5py.VirtualLayout((24,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "secret", (24,))
    file.create_virtual_dataset(name, layout)


def outside(file: Any, name: str) -> None:
    file.create_dataset(name, (24,), "f4", external=[("/etc/passwd", 0, 96)])


def unwritten(file: Any, name: str) -> None:
    file.create_dataset(name, (24,), "f4")


LAYER = "unet_conv_downarm_0_0"
BIAS = f"{LAYER}/{LAYER}/bias:0"
VARIANCE = "unet_bn_up_3/unet_bn_up_3/moving_variance:0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("unet_bn_up_2"), "lacks 1 of 28 layers: unet_bn_up_2"),
        (lambda f: f[LAYER][LAYER].pop("bias:0"), f"{LAYER} has no bias|{LAYER} has 1 weights"),
        (lambda f: f.copy("unet_bn_up_0", "unet_bn_up_4"), "has not: unet_bn_up_4"),
        (put(f"{LAYER}/{LAYER}/more", np.zeros(3)), f"{LAYER} has 3 weights, expected kernel, bias"),
        (put(f"{LAYER}/{LAYER}/bias", np.zeros(24, "f4")), "two of bias|has 3 weights"),
        (put(BIAS, np.zeros(25, "f4")), rf"{LAYER}/bias has the shape \(25,\), expected \(24,\)"),
        (put(BIAS, np.zeros((24, 1), "f4")), "has the shape"),
        (put(BIAS, np.full(24, np.nan, "f4")), f"{LAYER}/bias holds values that are not finite"),
        (put(BIAS, np.full(24, 1e300)), f"{LAYER}/bias holds values that are not finite"),
        (put(VARIANCE, np.full(24, -1, "f4")), "unet_bn_up_3/moving_variance holds negative"),
        (put(BIAS, np.zeros(24, "i4")), "not stored as plain numbers"),
        (put(BIAS, ["a"] * 24), "not stored as plain numbers"),
        (put(BIAS, np.zeros(24, "f4"), compression="gzip"), "not stored as plain numbers"),
        (put(BIAS, virtual), "not stored as plain numbers"),
        (put(BIAS, outside), "not stored as plain numbers"),
        (put(BIAS, unwritten), "not stored as plain numbers"),
        (put(BIAS, lambda f, n: f.__setitem__(n, h5py.ExternalLink("/etc/passwd", "/x"))), "is a link|has no bias"),
        (put(BIAS, lambda f, n: f.__setitem__(n, h5py.SoftLink("/unet_bn_up_3/unet_bn_up_3/beta:0"))), "is a link"),
        (put(BIAS, lambda f, n: f.create_group(n)), "is no array"),
        (put(LAYER, lambda f, n: f.__setitem__(n, h5py.ExternalLink("other.h5", "/x"))), "lacks|not a layer stored"),
        (put(LAYER, lambda f, n: f.__setitem__(n, h5py.SoftLink("/unet_conv_downarm_0_1"))), "not a layer stored"),
        (lambda f: f[LAYER].__setitem__(LAYER + "x", f[LAYER]) or f[LAYER].pop(LAYER), f"{LAYER} is not a layer"),
        (put("unet_likelihood/unet_likelihood/kernel:0", np.zeros((1, 1, 1, 24, 7), "f4")), "7 outputs"),
        (lambda f: [f.create_group(f"layer_{n}") for n in range(10_050)], "layers, a network has 28"),
    ],
)  # fmt: skip
def test_anything_but_the_28_layers_is_refused_by_name(change: Callable, words: str, copy: Path) -> None:
    with pytest.raises(SetupError, match=f"E903 .*({words})") as caught:
        read_keras(edited(copy, change).read_bytes(), copy.name)
    assert "\n" not in str(caught.value)


def test_a_link_is_never_followed_into_a_file_that_is_there(copy: Path, published: Path) -> None:
    """Here the link leads to the right weights, so that following it would succeed."""
    edited(copy, put(BIAS, lambda f, n: f.__setitem__(n, h5py.ExternalLink(str(published), "/" + BIAS))))
    with pytest.raises(SetupError, match="E903"):
        read_keras(copy.read_bytes(), copy.name)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096, b"<html>"])
def test_what_is_no_hdf5_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(SetupError, match=r"E902 bad.h5 is damaged") as caught:
        convert(tmp_path / "bad.h5", tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_truncated_file_is_refused(copy: Path) -> None:
    with pytest.raises(SetupError, match=r"E90[23]"):
        read_keras(copy.read_bytes()[:-5000], copy.name)


def test_flipped_bits_in_the_structure_never_do_worse_than_a_refusal(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    rng = np.random.default_rng(0)
    said = set()
    for place in rng.integers(0, 4096, 12):
        content[place] ^= 0xFF
        try:
            read_keras(bytes(content), copy.name)
        except SetupError as error:
            said.add(str(error)[:4])
        content[place] ^= 0xFF
    assert said <= {"E902", "E903"}


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.h5").open("wb") as file:
        file.truncate(5 << 30)  # holds nothing, takes no room
    with pytest.raises(SetupError, match="larger than 1 GB"):
        convert(tmp_path / "huge.h5", tmp_path / "out.safetensors")


def test_a_known_file_gets_its_card_and_cannot_be_called_another(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(original.KNOWN.values()) == ["lowfield", "v1", "v2"]
    assert all(len(sha) == 64 for sha in original.KNOWN)
    plain, _ = convert(published, tmp_path / "mine.safetensors")
    assert (plain["name"], plain["original"], plain["licence"]) == ("mine", "own", "unknown: that of the Keras file")
    monkeypatch.setitem(original.KNOWN, plain["source"]["sha256"], "lowfield")
    card, _ = convert(published, tmp_path / "known.safetensors")
    assert (card["name"], card["licence"]) == ("synthsr-lowfield", "FreeSurfer Software License")
    with pytest.raises(UsageError, match="known by its SHA-256 to be lowfield, not v1"):
        convert(published, tmp_path / "other.safetensors", kind="v1")


def test_what_cannot_be_is_refused_before_anything_is_written(written: dict, published: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(UsageError, match="--kind is 'v3'; choose from"):
        convert(published, out, kind="v3")
    with pytest.raises(UsageError, match=r"2 inputs .* --kind hyperfine"):
        convert(written[2, 1][0], out)
    with pytest.raises(SetupError, match=r"E903 .*1 inputs, hyperfine has 2"):
        convert(published, out, kind="hyperfine")
    with pytest.raises(UsageError, match=r"must end in .safetensors"):
        convert(published, tmp_path / "out.h5")
    with pytest.raises(SetupError, match=r"E904 none.h5 cannot be opened"):
        convert(tmp_path / "none.h5", out)
    with pytest.raises(SetupError, match=r"E904 .*(is no file|cannot be opened)"):
        convert(tmp_path, out)
    assert not out.exists()
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        convert(published, out)
    assert out.read_bytes() == b"mine"
    shutil.copy(published, tmp_path / "misnamed.safetensors")
    with pytest.raises(UsageError, match="is the input itself"):
        convert(tmp_path / "misnamed.safetensors", tmp_path / "misnamed.safetensors", overwrite=True)
    assert (tmp_path / "misnamed.safetensors").read_bytes() == published.read_bytes()
    convert(published, out, overwrite=True)
    assert load_model(out).card["name"] == "out"


def test_without_h5py_the_extra_is_named(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SetupError, match=r"E905 .*h5py; .*type: pip install '\.\[keras\]'"):
        read_keras(published.read_bytes(), "x.h5")


def test_a_keras_file_as_a_model_says_how_to_convert_it(published: Path) -> None:
    with pytest.raises(SetupError, match=r"E901 synthsr.h5 is a Keras file; type: isomorph convert-weights"):
        load_model(published)


def test_the_command_says_what_it_made(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    done = CliRunner().invoke(app, ["convert-weights", str(published), str(out), "--kind", "v1"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"mine.safetensors: synthsr-v1, Apache-2.0, SHA-256 {load_model(out).sha256}")
