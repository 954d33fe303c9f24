"""Models that sharpen a scan in its own contrast: intensities come back as they were, and nothing says T1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from phantoms import CARD, save, scan
from typer.testing import CliRunner

from isomorph import io
from isomorph.cli import app
from isomorph.errors import UsageError
from isomorph.intensity import BRIGHTEST, denormalise, normalise
from isomorph.nets import build
from isomorph.predict import Options, synthesise
from isomorph.predict.scans import predict_scans
from isomorph.space import canonical_grid, resample
from isomorph.volume import Volume
from isomorph.weights import Model, load_model, save_model


def sharpener(path: Path, scans: int = 1, **card: object) -> Path:
    """A network that adds nothing to the first scan: what comes out must be what went in."""
    arguments = {"inputs": 2 * scans, "features": (4, 8)}
    network = build("compact", arguments, [0])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    own = {"name": "sharp", "network": "compact", "arguments": arguments, "residual": [0], "reliability": True}
    save_model(path, network, {**own, "target": 0, **CARD, **card}, half=False)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(sharpener(tmp_path / "sharp.safetensors"))


def test_normalising_can_be_undone() -> None:
    x = torch.linspace(0, 300, 500)
    low, high = -50.0, 180.0
    y = normalise(x, low, high)
    torch.testing.assert_close(denormalise(y, low, high), x, rtol=1e-4, atol=1e-3)
    assert denormalise(torch.tensor([-0.2, 1.5, 9.0]), 10.0, 20.0).tolist() == pytest.approx(
        [10.0, 10 + 10 * BRIGHTEST, 10 + 10 * BRIGHTEST], abs=1e-2
    )


@pytest.mark.parametrize(("gain", "level"), [(1.0, 0.0), (0.003, 0.0), (40.0, 0.0), (1.0, -200.0)])
def test_intensities_come_back_in_units_of_the_scan(model: Model, phantom: Volume, gain: float, level: float) -> None:
    x = phantom.with_data(phantom.data.clamp(min=0) * gain + level)
    result = synthesise(x, model, flip=False)
    expected = resample(x, *canonical_grid(x)).data
    assert result.volume.shape == canonical_grid(x)[0]
    torch.testing.assert_close(result.volume.data, expected, rtol=2e-4, atol=gain)
    assert result.quality is None
    assert not result.notices
    back = synthesise(x, model, flip=False, grid="input").volume
    assert back.shape == x.shape
    assert torch.corrcoef(torch.stack([back.data.flatten(), x.data.flatten()]))[0, 1] > 0.99


def test_what_was_not_seen_is_air(model: Model) -> None:
    slanted = scan()
    turn = torch.tensor([[0.94, -0.34, 0], [0.34, 0.94, 0], [0, 0, 1]], dtype=torch.float64).numpy()
    affine = slanted.affine.copy()
    affine[0, 1] += 0.2  # sheared: corners of the grid lie outside
    affine[:3] = turn @ affine[:3]
    result = synthesise(Volume(slanted.data.clamp(min=0) + 300, affine), model, flip=False).volume
    assert result.data.min() == 0  # zero is air in a scan that never goes below it
    assert 250 < result.data.median() < 2000


def test_the_command_the_sidecar_and_the_name(tmp_path: Path, phantom_file: Path) -> None:
    weights = sharpener(tmp_path / "sharp.safetensors")
    say = ["predict", phantom_file, f"{tmp_path}/out/", "--model", weights, "--no-flip"]
    say += ["--report", tmp_path / "page.html"]
    run = CliRunner().invoke(app, [*map(str, say)])
    assert run.exit_code == 0, run.output
    out = tmp_path / "out" / "scan_desc-synth.nii.gz"
    card = json.loads(io.sidecar_path(out).read_text())
    assert card["output"]["contrast"] == "of the input"
    assert card["output"]["white_matter"] is None
    assert card["output"]["clipped_to"] is None
    assert card["output"]["range"][1] > 900  # of the phantom, whose lesion has 1000; a T1 would end at 255
    assert card["quality"]["value"] is None
    assert io.check(out).codes == ["E505"]
    again = CliRunner().invoke(app, [*map(str, say), "--overwrite"])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertainty": True}, r"sharp sharpens a scan in its own contrast, .*leave out --uncertainty"),
        ({"lesion_mask": True}, r"leave out --lesions keep and --lesion-mask"),
        ({"compat": "freesurfer"}, r"E906"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    model: Model, phantom: Volume, options: dict[str, object], message: str
) -> None:
    if options.pop("lesion_mask", None):
        options["lesion_mask"] = phantom
    with pytest.raises(Exception, match=message) as error:
        synthesise(phantom, model, **options)  # pyright: ignore[reportArgumentType]
    assert not str(error.value).endswith("run with --debug")


def test_one_scan_at_a_time_unless_the_model_reads_several(tmp_path: Path, model: Model, phantom_file: Path) -> None:
    other = save(scan((64, 72, 15)), tmp_path / "other.nii.gz")
    with pytest.raises(UsageError, match="give each scan by itself"):
        synthesise([scan(), scan((64, 72, 15))], model)
    single = Options(model=str(tmp_path / "sharp.safetensors"))
    with pytest.raises(UsageError, match="give each scan by itself"):
        predict_scans([phantom_file, other], tmp_path / "t1.nii.gz", single)
    pair = load_model(sharpener(tmp_path / "pair.safetensors", 2, recipe={"generator": {"dropout": 1.0}}))
    with pytest.raises(UsageError, match="must be the first one of the exam"):
        synthesise([None, scan()], pair)
    second = load_model(sharpener(tmp_path / "second.safetensors", 2, target=1))
    with pytest.raises(UsageError, match="must be the first one of the exam"):
        synthesise([scan(), scan()], second)
    alone = synthesise([scan(), None], pair, flip=False)
    torch.testing.assert_close(alone.volume.data, synthesise(scan(), model, flip=False).volume.data)
