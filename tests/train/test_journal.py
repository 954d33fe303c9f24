"""What a run writes down: log, curves, pictures, checkpoints; and what it does when it cannot."""

import errno
import json
import shutil
import subprocess
import sys

import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import load_file
from small import heads, small

from isomorph.config import to_dict
from isomorph.errors import SetupError, UsageError
from isomorph.interrupt import Interrupted
from isomorph.train import checkpoint, loop
from isomorph.train.journal import Journal, entries
from isomorph.train.loop import train
from isomorph.train.pictures import draw
from isomorph.weights import load_model

STEPS = 6


def plan(**training):
    stage = {"steps": STEPS, "set": ["deform.size=[16, 16, 16]"]}
    return small(
        "default", "network={kind='compact', arguments={inputs=2}}", **{"stages": [stage], "save_every": 2, **training}
    )


def run(folder, recipe=None, **options):
    return train(recipe or plan(), heads(), folder, **{"workers": 0, "report": lambda entry: None, **options})


def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path):
    """Killed after the third step: logged beyond the checkpoint of the second, in the middle of a line."""
    recipe = plan(log_every=3)  # not a multiple of what is saved
    run(tmp_path / "whole", recipe)
    run(tmp_path / "parts", recipe)
    for path in (tmp_path / "parts").glob("checkpoint-*"):
        if "0000002" not in path.name:
            path.unlink()
    with (tmp_path / "parts" / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    run(tmp_path / "parts", recipe, resume=True)
    whole, parts = (
        [(e["step"], e.get("loss"), e.get("validation_mae")) for e in entries(tmp_path / name / "log.jsonl")]
        for name in ("whole", "parts")
    )
    assert whole == parts
    assert [step for step, loss, _ in whole if loss is not None] == [3, 6]


def test_the_log_says_how_fast_it_goes_and_what_it_waits_for(tmp_path):
    run(tmp_path, plan(log_every=2))
    logged = [e for e in entries(tmp_path / "log.jsonl") if "loss" in e]
    assert [e["step"] for e in logged] == [2, 4, 6]
    assert all(e["steps_per_second"] > 0 and 0 <= e["waiting"] <= 1 for e in logged)


def test_curves_are_drawn_where_tensorboard_is_installed(tmp_path):
    """What TensorBoard itself reads, and, of an interrupted run, what came after its checkpoint no more."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, plan(log_every=2))
    logged = {e["step"]: e["loss"] for e in entries(tmp_path / "log.jsonl") if "loss" in e}
    Journal(tmp_path, 4).write({"step": 6, "loss": 0.5, "note": "none"})
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    assert {"loss", "steps_per_second", "waiting", "validation_mae", "validation_psnr"} == set(events.Tags()["scalars"])
    points = [(point.step, point.value) for point in events.Scalars("loss")]
    assert points == [(2, pytest.approx(logged[2])), (4, pytest.approx(logged[4])), (6, 0.5)]


def test_without_tensorboard_the_log_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    Journal(tmp_path, 0).write({"step": 1, "loss": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert entries(tmp_path / "log.jsonl") == [{"step": 1, "loss": 0.5}]


def test_tensorboard_waits_until_it_is_needed():
    """To train must not cost its seconds of import, where only `isomorph.train` is imported."""
    code = "import isomorph.train.loop, sys; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_picture_shows_what_is_where(tmp_path):
    image = torch.zeros(8, 8, 8)
    image[1, 4, 4] = 1.2  # on the left, as the first axis runs from left to right
    draw(tmp_path / "new" / "one.png", [[image, torch.zeros(8, 8, 8)], [image, image]])
    sheet = imread(tmp_path / "new" / "one.png")[..., 0]
    assert sheet.shape == (2 * 8, 2 * 3 * 8)
    assert sheet[3, 1] == 1  # axial, up is anterior
    assert (sheet > 0).sum() == 3 * 2  # axial and coronal; the sagittal plane lies elsewhere


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.image", None)
    draw(tmp_path / "one.png", [[torch.zeros(2, 2, 2)]])
    assert not list(tmp_path.iterdir())


def test_each_validation_has_its_picture(tmp_path):
    run(tmp_path, plan(validate_every=4))
    assert sorted(p.name for p in (tmp_path / "validation").iterdir()) == ["0000004.png", "0000006.png"]


@pytest.mark.parametrize("written", [b"[]", b"{", b"{}", b'{"sha256": 1}'])
def test_a_checkpoint_that_says_nothing_is_passed_over(written, tmp_path):
    run(tmp_path)
    newest = max(tmp_path.glob("checkpoint-*.json"))
    newest.write_bytes(written)
    run(tmp_path, resume=True)
    assert json.loads(max(tmp_path.glob("checkpoint-*.json")).read_text())["step"] == STEPS


def test_where_no_checkpoint_verifies_nothing_is_begun_anew_or_deleted(tmp_path):
    run(tmp_path)
    for path in tmp_path.glob("checkpoint-*.safetensors"):
        path.write_bytes(b"damaged")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SetupError, match="none of which reads back"):
        run(tmp_path, resume=True)
    assert sorted(tmp_path.iterdir()) == before


def test_damaged_checkpoints_do_not_count_as_the_last(tmp_path):
    run(tmp_path)
    for step in (7, 8, 9):
        (tmp_path / f"checkpoint-000000{step}.json").write_bytes(b"{")
        (tmp_path / f"checkpoint-000000{step}.safetensors").write_bytes(b"damaged")
    run(tmp_path, resume=True)
    steps = sorted({int(path.stem[-7:]) for path in tmp_path.glob("checkpoint-*")})
    assert steps == [2, 4, 6]


@pytest.mark.parametrize("left", ["model.safetensors", "log.jsonl"])
def test_what_a_finished_run_left_is_not_written_over(left, tmp_path):
    (tmp_path / left).write_bytes(b"precious")
    with pytest.raises(UsageError, match=f"holds {left} of another run"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [left]
    assert (tmp_path / left).read_bytes() == b"precious"


def test_what_a_kill_left_behind_is_cleared_away(tmp_path):
    run(tmp_path)
    (tmp_path / ".checkpoint-0000006.safetensors.0123.tmp.safetensors").write_bytes(b"half")
    (tmp_path / "checkpoint-0000005.safetensors").write_bytes(b"without its other half")
    run(tmp_path, resume=True)
    max(tmp_path.glob("checkpoint-*.json")).unlink()
    run(tmp_path, resume=True)
    assert not list(tmp_path.glob(".*"))
    assert len(list(tmp_path.glob("checkpoint-*.safetensors"))) == len(list(tmp_path.glob("checkpoint-*.json"))) <= 3


def test_a_full_disk_is_one_line_and_costs_no_older_checkpoint(tmp_path, monkeypatch):
    real = checkpoint.place

    def full(path, content, **options):
        if "0000006" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, **options)

    monkeypatch.setattr(checkpoint, "place", full)
    with pytest.raises(SetupError, match=r"^E703 checkpoint-0000006 cannot be written \(No space left on device\)"):
        run(tmp_path)
    assert (tmp_path / "checkpoint-0000004.json").exists()
    monkeypatch.setattr(checkpoint, "place", real)
    run(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("module", "function", "named"),
    [
        (loop, "save_model", "model.safetensors"),
        (loop, "draw", "the picture of a validation"),
        (Journal, "write", "log.jsonl"),
    ],
)
def test_a_disk_that_fills_up_while_publishing_is_one_line_and_nothing_is_lost(
    module, function, named, tmp_path, monkeypatch
):
    recipe = plan(log_every=2, validate_every=2)
    run(tmp_path / "whole", recipe)
    real, calls = getattr(module, function), []

    def full(*given, **options):
        calls.append(1)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given, **options)

    monkeypatch.setattr(module, function, full)
    with pytest.raises(SetupError, match=rf"^E703 {named} cannot be written \(No space left on device\); make") as told:
        run(tmp_path / "parts", recipe)
    assert told.value.exit_code == 6
    assert "\n" not in str(told.value)
    assert list((tmp_path / "parts").glob("checkpoint-*.json"))
    monkeypatch.setattr(module, function, real)
    assert load_model(tmp_path / "parts" / "model.safetensors").card["steps"] >= 2
    run(tmp_path / "parts", recipe, resume=True)
    curves = [[e.get("loss") for e in entries(tmp_path / n / "log.jsonl")] for n in ("whole", "parts")]
    assert curves[0] == curves[1]
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_reads_back_differently_does_not_count(tmp_path, monkeypatch):
    real = checkpoint.place

    def rotten(path, content, **options):
        real(path, content[:-1] + b"?" if path.suffix == ".safetensors" else content, **options)

    monkeypatch.setattr(checkpoint, "place", rotten)
    with pytest.raises(SetupError, match=r"E703 .* reads back differently"):
        run(tmp_path)
    assert not list(tmp_path.glob("checkpoint-*.json"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="E702 run cannot be written"):
        run(tmp_path / "file" / "run")


def test_a_run_of_an_older_version_goes_on(tmp_path):
    """Its recipe does not know the options that came later."""
    run(tmp_path)
    table = to_dict(plan())
    del table["training"]["micro"], table["network"]["residual"], table["kind"]
    (tmp_path / "recipe.json").write_text(json.dumps(table))
    run(tmp_path, resume=True)
    (tmp_path / "recipe.json").write_text("no recipe")
    with pytest.raises(UsageError, match="another recipe"):
        run(tmp_path, resume=True)


def test_an_impatient_interrupt_never_saves_a_step_that_was_not_logged(tmp_path, monkeypatch):
    """Asked twice, it leaves in the middle of the step's bookkeeping; the checkpoint before it is what counts."""
    real = loop.Run.record

    def leave(run):
        if run.step == 5:
            raise Interrupted(2)
        real(run)

    run(tmp_path / "whole")
    monkeypatch.setattr(loop.Run, "record", leave)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts")
    assert max(p.name for p in (tmp_path / "parts").glob("checkpoint-*.json")) == "checkpoint-0000004.json"
    monkeypatch.setattr(loop.Run, "record", real)
    run(tmp_path / "parts", resume=True)
    curves = [[e.get("loss") for e in entries(tmp_path / n / "log.jsonl")] for n in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_half_precision_where_there_is_none_is_one_line(tmp_path, monkeypatch):
    import accelerate

    def never(**options):
        raise ValueError("fp16 mixed precision requires a GPU")

    monkeypatch.setattr(accelerate, "Accelerator", never)
    with pytest.raises(UsageError, match=r"precision fp16 is not to be had here .*; try fp32"):
        run(tmp_path, plan(precision="fp16"))


def test_generators_are_made_once_for_each_stage(monkeypatch):
    from isomorph.train import source

    made = []
    real = source.stage_generator
    monkeypatch.setattr(source, "stage_generator", lambda *given: made.append(1) or real(*given))
    samples = source.Samples(plan(), heads())
    for step in range(4):
        samples.make(step, step)
    assert len(made) == 1


def test_a_model_file_that_went_astray_is_written_again(tmp_path):
    model = run(tmp_path)
    shutil.copy(model, tmp_path / "kept")
    model.unlink()
    assert run(tmp_path, resume=True).read_bytes()[-1000:] == (tmp_path / "kept").read_bytes()[-1000:]
