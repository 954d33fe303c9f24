"""How long does a whole command take, and how much memory? A table of one run; on Linux.

python benchmarks/predict.py ../shared/data/real/ms/patient12_study1_FLAIR.nii.gz [--threads 2] [-- --max-memory 1]
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
    parser.epilog = "What follows -- are more options of `isomorph predict`."
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, options = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "t1.nii.gz"
        command = [sys.executable, "-m", "isomorph.cli", "predict", str(given.scan), str(out), "--overwrite"]
        command += ["--threads", str(given.threads), *options]
        runs = [timed(command, out.with_name("t1.json")) for _ in range(given.repeats)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    print(f"{given.scan.name}, {given.threads} threads, best of {given.repeats}")
    for stage in runs[0]:
        print(f"  {stage:16s} {min(run[stage] for run in runs):6.2f} s")
    print(f"  {'peak memory':16s} {peak:6.2f} GB")


def timed(command: list[str], sidecar: Path) -> dict[str, float]:
    """Seconds of each stage of one command, and of all of it."""
    # A user has no reason to keep Python from storing what it has compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start, before = time.perf_counter(), busy()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    whole, processor = time.perf_counter() - start, busy() - before
    seconds = json.loads(sidecar.read_text())["seconds"]
    said = float(re.findall(r" in (\d+\.\d) s", done.stdout)[0])  # of all stages, writing too, which no JSON can hold
    write = max(said - sum(seconds.values()), 0.0)
    rest = whole - sum(seconds.values()) - write
    return seconds | {"write": write, "load and leave": rest, "whole command": whole, "processor": processor}


def busy() -> float:
    """Seconds that commands have kept processors busy, in programs and in the system: the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
