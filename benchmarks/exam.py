"""Is one T1 of three scans better than the T1 of the best scan? Two visits of one patient, weeks apart.

python benchmarks/exam.py ../shared/data [--model default] [--together exam]

Agreement is the correlation in the brain, aligned rigidly. Between visits: the fused T1s with each other, beside the
T1s of each contrast with each other. Left out: the T1 fused from two contrasts with the T1 of the third at the other
visit, beside the better of the two alone.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch

from isomorph import io
from isomorph.align import aligned
from isomorph.evaluate import METRICS
from isomorph.evaluate.brain import rough_brain_mask
from isomorph.predict import Result, channels, exam, synthesise
from isomorph.space import resample
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

CONTRASTS = ("T1W", "T2W", "FLAIR")
VISITS = ("patient12_study1", "patient12_study2")
Key = tuple[str, str]


class Visits:
    """All scans registered once, through their T1s, to one of them."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.scans: dict[Key, Volume] = {}
        self.results: dict[Key, Result] = {}
        for key in product(VISITS, CONTRASTS):
            scan = io.load(folder / f"{key[0]}_{key[1]}.nii.gz")
            result = synthesise(scan, model)
            self.scans[key], self.results[key] = scan, result
            print("_".join(key), f"quality {result.quality:.2f}", flush=True)
        fixed = self.results[VISITS[0], "FLAIR"].volume
        for key, result in self.results.items():
            still = result.volume if result.volume is fixed else aligned(result.volume, fixed)
            move = still.affine @ np.linalg.inv(result.volume.affine)
            self.scans[key] = Volume(self.scans[key].data, move @ self.scans[key].affine)
            self.results[key] = Result(still, {}, "", "", 1, result.window)
        self.like, self.mask = fixed, rough_brain_mask(fixed)
        exam.aligned = channels.aligned = lambda moving, fixed: moving  # they lie where they belong

    def together(self, visit: str, contrasts: tuple[str, ...], model: Model) -> torch.Tensor:
        """Of several scans by a network that sees them all, on one grid."""
        made = synthesise([self.scans[visit, contrast] for contrast in contrasts], model).volume
        return resample(made, self.like.shape, self.like.affine).data[0]

    def t1(self, visit: str, contrasts: tuple[str, ...]) -> torch.Tensor:
        """Of one scan or of several, on one grid."""
        keys = [(visit, contrast) for contrast in contrasts]
        known = {id(self.scans[key]): self.results[key] for key in keys}
        if len(keys) == 1:
            volume = self.results[keys[0]].volume
        else:
            volume = exam.fused([self.scans[key] for key in keys], lambda scan: known[id(scan)]).volume
        return resample(volume, self.like.shape, self.like.affine).data[0]

    def agreement(self, a: torch.Tensor, b: torch.Tensor) -> float:
        return METRICS["ncc"](a, b, mask=self.mask & (a > 0) & (b > 0), data_range=110.0)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--together", help="a model of several scans")
    options = parser.parse_args()
    visits = Visits(options.data / "real/ms", load_model(options.model))
    model = load_model(options.together) if options.together else None
    print("between visits")
    for contrasts in (*((c,) for c in CONTRASTS), CONTRASTS):
        a, b = (visits.t1(visit, contrasts) for visit in VISITS)
        print(f"  {'+'.join(contrasts):16s} {visits.agreement(a, b):.4f}", flush=True)
    if model:
        a, b = (visits.together(visit, CONTRASTS, model) for visit in VISITS)
        print(f"  {'together':16s} {visits.agreement(a, b):.4f}", flush=True)
    print("with the contrast left out, at the other visit: better of the two alone, fused" + ", together" * bool(model))
    for (here, there), left in product((VISITS, VISITS[::-1]), CONTRASTS):
        pair = tuple(c for c in CONTRASTS if c != left)
        truth = visits.t1(there, (left,))
        scores = [max(visits.agreement(visits.t1(here, (c,)), truth) for c in pair)]
        scores.append(visits.agreement(visits.t1(here, pair), truth))
        if model:
            scores.append(visits.agreement(visits.together(here, pair, model), truth))
        print(f"  {here} without {left:6s}", *(f"{score:.4f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()
