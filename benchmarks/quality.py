"""The examination: is this model worth shipping? One table in Markdown, and every case in a JSON file.

python benchmarks/quality.py ../shared/data --json quality.json [--model default] [--table quality.md]
    [--parts thin painted exams atrophy precision] [--people 6] [--turned 2] [--heads 4] [--patients 18] [--minutes 60]

Each case is kept in the JSON as soon as it is done: the same command goes on where the last one ended, and larger
numbers add cases to those that are there. What is measured, and how: docs/examination.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examination import atrophy, exams, painted, precision, thin
from examination.heads import CONTRASTS, MAPS
from examination.sheet import EDITION, HEADER, Candidate, Ledger, run

from isomorph.device import choose_device, choose_precision
from isomorph.evaluate.table import markdown
from isomorph.train.begin import kept_from
from isomorph.weights import Model, load_model

PARTS = {"thin": thin, "painted": painted, "exams": exams, "atrophy": atrophy, "precision": precision}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="results of all cases; a run goes on from it")
    parser.add_argument("--table", type=Path, help="file for the table, which is printed too")
    parser.add_argument("--model", default="default")
    parser.add_argument("--segmenter", default="segmenter")
    parser.add_argument("--full", help="the same model with weights of float32, for part `precision`")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--people", type=int, default=6, help="real T1s, of the 12 held out")
    parser.add_argument(
        "--turned", type=int, default=2, help="of these, along all three axes and not the coronal alone"
    )
    parser.add_argument("--heads", type=int, default=4, help="painted heads, each in all of --contrasts")
    parser.add_argument("--contrasts", nargs="+", default=list(CONTRASTS), choices=list(CONTRASTS), help="of heads")
    parser.add_argument(
        "--patients",
        type=int,
        default=18,
        help="heads of which half have atrophy; of three maps, so give a multiple of 6",
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="after which no new case is begun")
    parser.add_argument("--no-flip", action="store_true", help="half the passes of the network")
    return parser.parse_args()


def not_held_out(model: Model) -> list[str]:
    """Who is examined here, and may have been trained on."""
    examined = [*MAPS, *(f"sub-{k}_T1w" for k in thin.PEOPLE)]
    return sorted(set(examined) - set(kept_from(model.card)))


def main() -> None:
    """Run what is missing, then print the table of all that is there."""
    given = arguments()
    model, segmenter = load_model(given.model), load_model(given.segmenter)
    full = load_model(given.full) if given.full else None
    if seen := not_held_out(model):
        print(f"{model.card['name']} holds out none of {seen}: of these it may repeat what it knows", file=sys.stderr)
    flip = not given.no_flip
    sizes = {"people": given.people, "heads": given.heads, "patients": given.patients, "turned": given.turned}
    who = Candidate(given.data, model, segmenter, flip, full, contrasts=given.contrasts, **sizes)
    about = {"model": model.sha256, "segmenter": segmenter.sha256, "flip": flip, "full": full and full.sha256}
    about |= {"edition": EDITION, "precision": choose_precision("auto", choose_device("auto"))}
    ledger = Ledger(given.json, about)
    run({name: PARTS[name].cases(who) for name in given.parts}, ledger, given.minutes)
    lines = [row for name, part in PARTS.items() for row in part.rows(ledger.of(name))]
    table = markdown(HEADER, lines)
    print(table)
    if given.table:
        given.table.write_text(table + "\n")


if __name__ == "__main__":
    main()
