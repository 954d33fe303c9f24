"""Is one T1 of three scans better than that of one, and a network that sees all better than the mean of three T1s?

Painted heads of maps held out, ill, as a clinical exam: spin-echo T1, T2 and FLAIR, thick slices along three axes.

python benchmarks/painted_exam.py ../shared/data [--model exam] [--single default] [--heads 6] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from examination.heads import ILL, MAPS, Painted, head, scan
from examination.painted import overlaps
from examination.sheet import WHITE, mean

from isomorph.evaluate.fit import compared
from isomorph.evaluate.table import markdown
from isomorph.labels import brain_mask
from isomorph.predict import segment, synthesise
from isomorph.space import onto
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

PROTOCOL = {"T1 SE": 0, "T2": 2, "FLAIR": 1}  # axis across the slices
SPACINGS = (3.0, 5.0, 7.0)  # mm


def exam(k: int, sick: Painted) -> dict[str, Volume]:
    """One head: all three with slices equally far apart."""
    mm = SPACINGS[k // 2 % len(SPACINGS)]
    return {name: scan(sick, name, axis, mm, Random(f"{k}/{name}")) for name, axis in PROTOCOL.items()}


def t1s(scans: dict[str, Volume], model: Model, single: Model) -> dict[str, Volume]:
    """Each scan alone, the mean of the three T1s, and what the network of exams makes; of two scans and of three."""
    first, *others = scans.values()
    made = {f"{name} alone": synthesise(x, single).volume for name, x in scans.items()}
    made["T1 SE, FLAIR: mean"] = synthesise([first, others[1]], single).volume
    made["T1 SE, FLAIR: together"] = synthesise([first, others[1]], model).volume
    made["all: mean"] = synthesise([first, *others], single).volume
    made["all: together"] = synthesise([first, *others], model).volume
    made["T1 SE alone, by the network of exams"] = synthesise([first], model).volume
    return made


def scored(sick: Painted, t1: Volume, segmenter: Model) -> dict[str, float]:
    """In the brain, against the healthy T1 of that head."""
    truth, labels = (onto(x, t1.shape, t1.affine) for x in (sick.target, sick.labels))
    scores = compared({"": t1.data[0]}, truth.data[0], brain_mask(labels.data[0]), data_range=WHITE)[""]
    found = segment(t1, segmenter, flip=False)
    return scores | {"dice": mean(list(overlaps(found.labels.data[0], labels.data[0]).values()))}


def main() -> None:
    """Print means over heads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="exam")
    parser.add_argument("--single", default="default", help="the model that makes a T1 of each scan")
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, single, segmenter = (load_model(name) for name in (options.model, options.single, "segmenter"))
    cases: list[dict[str, dict[str, float]]] = []
    for k in range(options.heads):
        sick = head(options.data, "painted exams", k, disease=list(ILL)[(k + k // len(MAPS)) % len(ILL)])
        made = t1s(exam(k, sick), model, single)
        cases.append({name: scored(sick, t1, segmenter) for name, t1 in made.items()})
        print(k, *(f"{name} {case['psnr']:.2f}" for name, case in cases[-1].items()), sep="; ", flush=True)
        if options.json:
            options.json.write_text(json.dumps(cases, indent=1))
    measures = ("psnr", "ssim", "ncc", "dice")
    rows = [(name, *(f"{mean([c[name][m] for c in cases]):.3f}" for m in measures)) for name in cases[0]]
    print(markdown(("scans", *measures), rows))


if __name__ == "__main__":
    main()
