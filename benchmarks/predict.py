"""How long does a whole command take, and how much memory? A table of one run; on Linux.

python benchmarks/predict.py ../shared/data/real/ms/patient12_study1_FLAIR.nii.gz [--threads 2] [-- --max-memory 1]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run `isomorph predict` as a user does, once cold and then `--repeats` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("options", nargs="*", help="more options of `isomorph predict`, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "t1.nii.gz"
        command = [sys.executable, "-m", "isomorph.cli", "predict", str(given.scan), str(out), "--overwrite"]
        command += ["--threads", str(given.threads), *given.options]
        runs = []
        for _ in range(given.repeats):
            start, before = time.perf_counter(), busy()
            subprocess.run(command, check=True, capture_output=True)
            seconds = json.loads(out.with_name("t1.json").read_text())["seconds"]
            whole = {"whole command": time.perf_counter() - start, "processor": busy() - before}
            runs.append(seconds | whole)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{given.scan.name}, {given.threads} threads, best of {given.repeats}")
    for stage in runs[0]:
        print(f"  {stage:16s} {min(run[stage] for run in runs):6.2f} s")
    print(f"  {'peak memory':16s} {peak:6.2f} GB")


def busy() -> float:
    """Seconds that commands have kept processors busy, in programs and in the system: the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
