"""Is one T1 of several scans better than that of one, and a network that sees all better than the mean of their T1s?

Painted heads of maps held out, ill, as a clinical exam: spin-echo T1, T2 and FLAIR, thick slices along three axes. Or
as a session at 64 mT: T1 and T2, axial.

python benchmarks/painted_exam.py ../shared/data [--session clinical] [--model exam] [--single default] [--heads 6]
    [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from random import Random

from examination.heads import ILL, MAPS, Painted, head, scan
from examination.painted import overlaps
from examination.sheet import WHITE, mean

from isomorph.evaluate.fit import compared
from isomorph.evaluate.table import markdown
from isomorph.labels import brain_mask
from isomorph.predict import Result, segment, synthesise
from isomorph.predict.exam import fused
from isomorph.space import onto
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

SESSIONS = {  # scans, and the axis across the slices of each
    "clinical": {"T1 SE": 0, "T2": 2, "FLAIR": 1},
    "64 mT": {"64 mT T1": 2, "64 mT T2": 2},
}
SPACINGS = (3.0, 5.0, 7.0)  # mm, of a clinical exam


def exam(k: int, sick: Painted, session: str) -> dict[str, Volume]:
    """One head: all scans with slices equally far apart."""
    mm = SPACINGS[k // 2 % len(SPACINGS)]
    return {name: scan(sick, name, axis, mm, Random(f"{k}/{name}")) for name, axis in SESSIONS[session].items()}


def t1s(scans: dict[str, Volume], model: Model, single: Model) -> dict[str, Volume]:
    """Each scan alone, by both networks; the mean of all T1s, and what the network of several scans makes."""
    made = {f"{name} alone": synthesise(x, single).volume for name, x in scans.items()}
    made |= {f"{name} alone, by {model.card['name']}": synthesise([x], model).volume for name, x in scans.items()}
    each = list(scans.values())
    groups = {"all": each}
    if len(each) > 2:
        groups["first and last"] = [each[0], each[-1]]
    for said, group in groups.items():
        made[f"{said}: mean"] = synthesise(group, single).volume
        made[f"{said}: together"] = synthesise(group, model).volume
        made[f"{said}: together, each leads once, mean"] = fused(group, partial(leading, group, model)).volume
    return made


def leading(group: list[Volume], model: Model, first: Volume) -> Result:
    """All scans together, this one as the reference: they are equally thin, and the first leads."""
    result = synthesise([first, *(x for x in group if x is not first)], model)
    assert result.reference == 0, "another scan leads"
    return result


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
    parser.add_argument("--session", default="clinical", choices=list(SESSIONS))
    parser.add_argument("--model", default="exam")
    parser.add_argument("--single", default="default", help="the model that makes a T1 of each scan")
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, single, segmenter = (load_model(name) for name in (options.model, options.single, "segmenter"))
    cases: list[dict[str, dict[str, float]]] = []
    for k in range(options.heads):
        sick = head(options.data, "painted exams", k, disease=list(ILL)[(k + k // len(MAPS)) % len(ILL)])
        made = t1s(exam(k, sick, options.session), model, single)
        cases.append({name: scored(sick, t1, segmenter) for name, t1 in made.items()})
        print(k, *(f"{name} {case['psnr']:.2f}" for name, case in cases[-1].items()), sep="; ", flush=True)
        if options.json:
            options.json.write_text(json.dumps(cases, indent=1))
    measures = ("psnr", "ssim", "ncc", "dice")
    rows = [(name, *(f"{mean([c[name][m] for c in cases]):.3f}" for m in measures)) for name in cases[0]]
    print(markdown(("scans", *measures), rows))


if __name__ == "__main__":
    main()
