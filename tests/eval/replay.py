"""Replays every entity through `dwcp-anomaly backtest`, with one configuration, and notes what it cost.

Nothing here may import numpy: Linux counts a child's peak memory from its parent's up, so the parent is kept small.
"""
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


class ReplayError(Exception):
    """A replay that failed; the text is the program's own."""


def command(program, entity, output):
    flags = [
        *("--data", str(entity.file)),
        *("--output", str(output)),
        *("--train-rows", str(entity.train_rows)),
        *("--label-column", entity.label_column),
        *("--time-column", entity.time_column),
        *("--interval", f"{entity.interval}s"),
    ]
    if entity.ignore_column:
        flags += ["--ignore-column", entity.ignore_column]
    return [str(program), "backtest", *flags]


def replay(program, entity, directory):
    """One entity: what `backtest` says at its end, and the peak resident memory of its process in bytes."""
    output = directory / entity.scores
    output.parent.mkdir(parents=True, exist_ok=True)
    complaints = output.with_suffix(".log")
    with open(complaints, "w") as log, subprocess.Popen(
        command(program, entity, output), stdout=subprocess.PIPE, stderr=log, text=True
    ) as child:
        said = child.stdout.read().strip()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise ReplayError(f"backtest of {entity.file} failed ({child.returncode}): {complaints.read_text().strip()}")
    complaints.unlink()
    told = json.loads(said.splitlines()[-1])
    print(f"  {entity.family}/{entity.name}: {told['seconds']:.1f} s", file=sys.stderr)
    return {
        "family": entity.family,
        "name": entity.name,
        "rows": told["rows"],
        "fit_seconds": told["fit_seconds"],
        "judge_seconds": told["seconds"] - told["fit_seconds"],
        "peak_bytes": used.ru_maxrss * 1024,
        "least_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # no child can show less
    }


def replay_all(program, entities, directory, jobs):
    """All entities, the largest first so that no long one is left for the end."""
    started = time.monotonic()
    longest_first = sorted(entities, key=lambda e: -e.cells)
    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(lambda e: replay(program, e, directory), longest_first))
    cost = {"wall_seconds": time.monotonic() - started, "jobs": jobs, "runs": runs}
    (directory / "cost.json").write_text(json.dumps(cost, indent=1))
