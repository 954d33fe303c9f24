"""What a step does to weights: clipping, averaging, precision; and that what ships is the average."""

import math

import accelerate
import pytest
import torch
from safetensors.torch import load_file
from small import heads, small

from isomorph import device
from isomorph.config import Training
from isomorph.errors import UsageError
from isomorph.train.check import check
from isomorph.train.journal import entries
from isomorph.train.loop import Run, train
from isomorph.train.machine import accelerator
from isomorph.weights import read_card

STEPS = 4


def plan(**training):
    stage = {"steps": STEPS, "set": ["deform.size=[16, 16, 16]"]}
    return small(
        "default",
        "network={kind='compact', arguments={inputs=2}}",
        **{"stages": [stage], "save_every": 2, "warmup": 1, **training},
    )


def run(folder, recipe, workers=0, **options):
    return train(recipe, heads(), folder, workers=workers, report=lambda entry: None, **options)


def losses(folder):
    return [e["loss"] for e in entries(folder / "log.jsonl") if "loss" in e]


def tensors(folder, step=STEPS):
    return load_file(folder / f"checkpoint-{step:07d}.safetensors")


def test_the_gradient_has_the_norm_that_it_is_clipped_to_and_keeps_its_direction(tmp_path, monkeypatch):
    seen = {}

    def look(clip):
        real = torch.optim.AdamW.step

        def step(optimiser, closure=None):
            gradient = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"]]
            seen.setdefault(clip, torch.cat(gradient).clone())
            return real(optimiser, closure)

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", step)
            run(tmp_path / str(clip), plan(clip=clip, optimiser="adamw"))

    look(1e9)
    whole = seen[1e9].norm().item()
    assert whole > 0
    look(whole / 10)
    clipped = seen[whole / 10]
    assert clipped.norm().item() == pytest.approx(whole / 10, rel=1e-4)
    torch.testing.assert_close(10 * clipped, seen[1e9], rtol=1e-3, atol=1e-6 * whole)


def test_what_is_published_is_the_average_of_all_steps(tmp_path):
    """Played back from the checkpoints: a (1 - d) share of each step, d being short of memory at first."""
    model = load_file(run(tmp_path, plan(save_every=1, average=0.5)))
    expected = None
    for step in range(1, STEPS + 1):
        if step < STEPS - 2:
            continue  # the last three are kept
        saved = tensors(tmp_path, step)
        network = {k.removeprefix("network."): v for k, v in saved.items() if k.startswith("network.")}
        average = {k.removeprefix("average."): v for k, v in saved.items() if k.startswith("average.")}
        decay = min(0.5, step / (step + 10))
        if expected:
            expected = {k: expected[k] * decay + network[k] * (1 - decay) for k in expected}
            for key, value in expected.items():
                torch.testing.assert_close(value, average[key], rtol=1e-5, atol=1e-7)
        expected = average
    assert expected
    assert any(not torch.equal(expected[k], network[k]) for k in expected)
    for key, value in model.items():
        torch.testing.assert_close(value.float(), expected[key], rtol=1e-3, atol=1e-6)  # stored in half precision


def test_bf16_trains_as_fp32_does_up_to_its_precision(tmp_path):
    for precision in ("fp32", "bf16"):
        forget()
        run(tmp_path / precision, plan(precision=precision))
    one, other = losses(tmp_path / "fp32"), losses(tmp_path / "bf16")
    assert one[0] == pytest.approx(other[0], rel=0.005)
    assert one == pytest.approx(other, rel=0.1)
    assert one != other
    assert all(value.dtype == torch.float32 for value in tensors(tmp_path / "bf16").values())  # weights stay whole


@pytest.fixture(autouse=True)
def fresh():
    """A process has one precision for accelerate; here each test has its own."""
    forget()
    yield
    forget()


def forget():
    accelerate.state.AcceleratorState._reset_state(True)


@pytest.fixture
def scaled(monkeypatch):
    """Half precision and the scaler that goes with it, which accelerate gives to a GPU alone, on a processor."""
    real = accelerate.Accelerator

    def make(**options):
        made = real(**options)
        made.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        made.native_amp = True
        return made

    monkeypatch.setattr(accelerate, "Accelerator", make)


@pytest.mark.usefixtures("scaled")
def test_a_scaled_loss_gives_the_same_weights_and_its_scale_survives_an_interruption(tmp_path, monkeypatch):
    recipe = plan(precision="fp16")
    run(tmp_path / "scaled", recipe)
    run(tmp_path / "parts", recipe)
    for path in (tmp_path / "parts").glob(f"*{STEPS:07d}*"):
        path.unlink()
    found = []
    real = Run.save

    def save(self):
        found.append(self.accelerator.scaler.get_scale())
        real(self)

    monkeypatch.setattr(Run, "save", save)
    run(tmp_path / "parts", recipe, resume=True)
    assert found == [4096.0]  # doubled after steps 2 and 4
    one, other = tensors(tmp_path / "scaled"), tensors(tmp_path / "parts")
    assert all(torch.equal(one[key], other[key]) for key in one)
    monkeypatch.undo()
    forget()
    run(tmp_path / "plain", plan())
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "scaled"), rel=0.02)
    assert losses(tmp_path / "plain") != losses(tmp_path / "scaled")


@pytest.mark.usefixtures("scaled")
def test_a_scaled_gradient_is_clipped_in_its_own_units(tmp_path):
    """A norm that no gradient reaches clips nothing, whatever the scale."""
    for clip in (20.0, 1e9):
        forget()
        run(tmp_path / str(clip), plan(precision="fp16", clip=clip))
    assert losses(tmp_path / "20.0") == losses(tmp_path / "1000000000.0")


@pytest.mark.parametrize(("able", "expected"), [("avx512_bf16", "bf16"), ("avx2", "no")])
def test_unless_told_a_processor_trains_in_bf16_only_where_it_computes_in_it(able, expected, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(device, "_capabilities", lambda: {able: True})
    assert accelerator(Training()).mixed_precision == expected


def test_a_model_says_in_which_precision_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "_capabilities", dict)
    assert read_card(run(tmp_path, plan(precision="auto")))["precision"] == "fp32"


def test_processes_stay_on_the_processor_where_accelerate_was_told_so(monkeypatch):
    """By `accelerate launch --cpu`; else each of several would take a GPU, or itself for the only one."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    made = accelerator(Training(precision="fp32"))
    assert made.device.type == "cpu"


def test_half_precision_without_a_gpu_is_refused_rather_than_forgotten(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match=r"precision fp16 is not to be had here \(it wants a GPU\); try fp32 or bf16"):
        run(tmp_path, plan(precision="fp16"))


@pytest.mark.usefixtures("scaled")
def test_a_batch_in_parts_is_scaled_once(tmp_path):
    stage = {"steps": 2, "batch": 2, "set": ["deform.size=[16, 16, 16]"]}
    for micro in (0, 1):
        forget()
        run(tmp_path / str(micro), plan(precision="fp16", stages=[stage], micro=micro))
    assert losses(tmp_path / "0") == pytest.approx(losses(tmp_path / "1"), rel=0.02)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"clip": 0.0}, r"training.clip is 0.0, which leaves no gradient; give a number above 0"),
        ({"average": 1.5}, r"training.average is 1.5; give a number from 0 to 1"),
        ({"stages": [{"steps": 0}]}, r"stage 1 has 0 steps and learning rate"),
        ({"stages": [{"steps": 1, "learning_rate": -1.0}]}, r"stage 1 has 1 steps and learning rate -1.0; give 1 step"),
    ],
)
def test_what_would_train_nothing_is_refused(training, message):
    with pytest.raises(UsageError, match=message):
        check(plan(**training))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_trains_as_a_processor_does(precision, tmp_path, monkeypatch):
    run(tmp_path / "gpu", plan(precision=precision), workers=1)  # samples of a processor: noise of a GPU is another
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    forget()
    run(tmp_path / "cpu", plan())
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=0.03)
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "gpu"))
