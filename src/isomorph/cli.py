"""The command line: parse, call one library function, print. No logic; heavy imports wait until they are needed."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import GONE, importing, say, verbose
from .errors import IsomorphError, SetupError, UsageError, escape
from .interrupt import Interrupted
from .train_commands import CT, DEBUG, THREADS, corpus, generate, improve, priors, train

DEVICE = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
PRECISION = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")]
NO_FLIP = Annotated[bool, typer.Option("--no-flip", help="No mirrored pass: faster, a little worse.")]
VOLUMES = Annotated[str | None, typer.Option(help="Table (.csv) of volumes, one row for each scan.")]
SEGMENTER = Annotated[str | None, typer.Option(help="Another segmentation network: name or file.")]
MAX_MEMORY = Annotated[float | None, typer.Option(help="GB that may be taken: the less, the slower.")]
OVERWRITE = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")]
STRICT = Annotated[bool, typer.Option("--strict", help="Refuse scans of doubtful geometry or content.")]

app = typer.Typer(
    name="isomorph",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Any clinical brain scan in, a 1 mm isotropic T1 MP-RAGE out. Research software, not a medical device.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"isomorph {version('isomorph')}")
        raise typer.Exit


@app.callback()
def _door(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(metavar="IN... OUT", help="Scans or folders, then the output.")],
    exams: Annotated[bool, typer.Option("--exams", help="Every folder that holds scans is one exam.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Name (see `isomorph models`) or file; if not given `default`, of a CT `ct`.")
    ] = None,
    ct: CT = False,
    device: DEVICE = None,
    threads: THREADS = None,
    precision: PRECISION = None,
    compat: Annotated[
        str | None, typer.Option(help="freesurfer, github: as SynthSR, for its weights; none: ours.")
    ] = None,
    no_flip: NO_FLIP = False,
    lesions: Annotated[
        str | None, typer.Option(help="inpaint (default) or keep, those of a mask or those found.")
    ] = None,
    lesion_mask: Annotated[str | None, typer.Option(help="Image above 0.5 in lesions of the (first) scan.")] = None,
    write_lesion_mask: Annotated[
        str | None, typer.Option(help="The mask that is used, to write: an image, or a folder where T1s go into one.")
    ] = None,
    finder: Annotated[str | None, typer.Option(help="Network that finds lesions (none is shipped).")] = None,
    uncertainty: Annotated[str | None, typer.Option(help="Image to write: how wrong each voxel may be.")] = None,
    segmentation: Annotated[
        str | None, typer.Option(help="Labels of the T1 to write: an image, or a folder where T1s go into one.")
    ] = None,
    volumes: VOLUMES = None,
    segmenter: SEGMENTER = None,
    grid: Annotated[str | None, typer.Option(help="Of the result: 1mm (default), or input, that of the scan.")] = None,
    max_memory: MAX_MEMORY = None,
    overwrite: OVERWRITE = False,
    strict: STRICT = False,
    report: Annotated[Path | None, typer.Option(help="Pictures of input and output, as one HTML file.")] = None,
    debug: DEBUG = False,
) -> None:
    """Turn scans into 1 mm T1s: a file, or the files of one exam, into a file; files or a folder into a folder."""
    verbose(debug)
    inputs, output = _split(paths)
    with importing():
        from .predict import Options
        from .predict.scans import predict_scans
        from .progress import watching

    given = {"model": model, "device": device, "threads": threads, "precision": precision, "compat": compat}
    given |= {"lesions": lesions, "lesion_mask": lesion_mask, "write_lesion_mask": write_lesion_mask, "finder": finder}
    given |= {"segmentation": segmentation, "volumes": volumes, "segmenter": segmenter, "uncertainty": uncertainty}
    given |= {"grid": grid, "max_memory": max_memory}
    flags = {"exams": exams, "ct": ct, "flip": not no_flip, "overwrite": overwrite, "strict": strict}
    options = Options(**_given(given | flags))
    with watching(report, inputs, overwrite=overwrite) as listeners:
        summary = predict_scans(inputs, output, options, listeners)
        say(summary.line)
    raise typer.Exit(summary.exit_code)


@app.command()
def segment(
    paths: Annotated[list[str], typer.Argument(metavar="T1... OUT", help="T1s or folders, then the labels.")],
    volumes: VOLUMES = None,
    segmenter: SEGMENTER = None,
    device: DEVICE = None,
    threads: THREADS = None,
    precision: PRECISION = None,
    no_flip: NO_FLIP = False,
    grid: Annotated[str | None, typer.Option(help="Of the labels: 1mm (default), or input, that of the T1.")] = None,
    max_memory: MAX_MEMORY = None,
    overwrite: OVERWRITE = False,
    strict: STRICT = False,
    debug: DEBUG = False,
) -> None:
    """Name and measure the structures of existing T1s, synthetic or real: labels into a file or a folder."""
    verbose(debug)
    inputs, output = _split(paths)
    with importing():
        from .predict import Options
        from .predict.t1s import segment_t1s
        from .progress import watching

    given = {"volumes": volumes, "segmenter": segmenter, "device": device, "threads": threads, "precision": precision}
    given |= {"grid": grid, "max_memory": max_memory, "segmentation": output}
    flags = {"flip": not no_flip, "overwrite": overwrite, "strict": strict}
    options = Options(**_given(given | flags))
    with watching() as listeners:
        summary = segment_t1s(inputs, options, listeners)
        say(summary.line)
    raise typer.Exit(summary.exit_code)


@app.command()
def synthsr(
    i: Annotated[str, typer.Option("--i", help="A scan, a folder of scans, or a .txt list of them.")],
    o: Annotated[str, typer.Option("--o", help="The outputs: a file, a folder, or a .txt list.")],
    ct: CT = False,
    lowfield: Annotated[bool, typer.Option("--lowfield", help="Weights for low-field scans.")] = False,
    v1: Annotated[bool, typer.Option("--v1", help="Weights of July 2021.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the processor.")] = 1,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    model: Annotated[str | None, typer.Option(help="Other weights, made by `isomorph convert-weights`.")] = None,
    disable_sharpening: Annotated[bool, typer.Option("--disable_sharpening", help="No unsharp mask.")] = False,
    disable_flipping: Annotated[bool, typer.Option("--disable_flipping", help="Half the time.")] = False,
    overwrite: OVERWRITE = False,
    debug: DEBUG = False,
) -> None:
    """In place of mri_synthsr of FreeSurfer: same options, same rules, its converted weights."""
    verbose(debug)
    with importing():
        from .predict import Options
        from .predict.synthsr import predict_synthsr, weights
        from .progress import watching

    given: dict[str, Any] = {
        "model": weights(model, v1=v1, lowfield=lowfield),
        "device": "cpu" if cpu else "auto",
        "threads": threads,
    }
    flags: dict[str, Any] = {
        "ct": ct,
        "flip": not disable_flipping,
        "sharpen": not disable_sharpening,
        "overwrite": overwrite,
    }
    with watching() as listeners:
        summary = predict_synthsr(i, o, Options(**given, **flags, compat="freesurfer"), listeners)
        say(summary.line)
    raise typer.Exit(summary.exit_code)


@app.command()
def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Scans or folders.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    ct: CT = False,
    debug: DEBUG = False,
) -> None:
    """Would these scans be accepted, and if not, why? Needs no model."""
    verbose(debug)
    with importing():
        from .predict.screen import screen

    verdicts = screen(paths, ct=ct)
    for verdict in verdicts:
        if not say(json.dumps(verdict.table) if as_json else verdict.line):
            raise typer.Exit(GONE)
    raise typer.Exit(verdicts.exit_code)


@app.command()
def models() -> None:
    """The models that come with the package, and those in ~/.isomorph: what for, network, licence, data, hash."""
    from .weights import collected, digest, purpose, read_card, shipped

    code = 0
    for name, path in sorted(collected().items()):
        try:
            card, sha256 = read_card(name), digest(path)
        except SetupError as error:  # one bad file hides no other
            say(escape(f"ERROR {error}"), err=True)
            code = error.exit_code
        else:
            made = f"network {card['network']}, {card['licence']}, trained on heads: {card['data']}"
            say(escape(f"{name}: {purpose(card)}; {made}; SHA-256 {sha256}"))
    if not shipped():
        say("no model is shipped with this installation; give one with --model FILE", err=True)
    raise typer.Exit(code)


@app.command("convert-weights")
def convert_weights(
    source: Annotated[Path, typer.Argument(metavar="IN.h5", help="Weights of SynthSR, as published.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="In ~/.isomorph it is known by its name.")],
    kind: Annotated[str | None, typer.Option(help="Of an unknown file: v1, v2, lowfield, hyperfine.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there already.")] = False,
    debug: DEBUG = False,
) -> None:
    """Turn weights of the original SynthSR (Keras) into a model of this package."""
    verbose(debug)
    from .weights import convert

    card, sha256 = convert(source, out, kind=kind, overwrite=overwrite)
    say(f"{out.name}: {card['name']}, {card['licence']}, SHA-256 {sha256}")


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(metavar="[OUT_DIR]")] = Path("isomorph-demo"),
    model: Annotated[str | None, typer.Option(help="Name of a model or a file.")] = None,
    debug: DEBUG = False,
) -> None:
    """The whole main job on a scan that comes with the installation: look at OUT_DIR/index.html."""
    verbose(debug)
    from .demo import run_demo

    for line in run_demo(out, **_given({"model": model})):
        say(line)


for command in (corpus, generate, priors, train, improve):
    app.command()(command)


def main() -> None:
    """Entry point: every error is one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    try:
        app()
    except IsomorphError as error:
        _fail(str(error), error.exit_code)
    except Interrupted as stop:  # of training; a batch ends with a summary of its own
        _fail(f"{stop}; --resume goes on from there", stop.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        if debug:
            raise
        _fail(f"internal error, {type(error).__name__}: {error}; run with --debug and tell us", 1)
    finally:
        gc.freeze()  # Python would search everything for cycles once more, half a second of what the user waits


def _fail(message: str, code: int) -> None:
    one_line = escape(" ".join(message.split()))
    print(f"ERROR {one_line}"[:300], file=sys.stderr)
    sys.exit(code)


def _split(paths: list[str]) -> tuple[list[str], str]:
    if len(paths) < 2:
        raise UsageError(f"{escape(paths[0])} alone was given; give at least one scan and the output, in this order.")
    return paths[:-1], paths[-1]


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What was said on the command line; for the rest the library has its defaults."""
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    main()
