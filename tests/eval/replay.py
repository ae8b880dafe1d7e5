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


def told(entity):
    """The flags that say what a recording is."""
    flags = [
        *("--train-rows", str(entity.train_rows)),
        *("--time-column", entity.time_column),
        *("--interval", f"{entity.interval}s"),
    ]
    if entity.label_column:
        flags += ["--label-column", entity.label_column]
    if entity.ignore_column:
        flags += ["--ignore-column", entity.ignore_column]
    return flags


def command(program, entity, output, config=None):
    flags = ["--data", str(entity.file), "--output", str(output), *told(entity)]
    if config:
        flags += ["--config.file", str(config)]
    return [str(program), "backtest", *flags]


def replay(program, entity, directory, config=None):
    """One entity: what `backtest` says at its end, and the peak resident memory of its process in bytes."""
    output = directory / entity.scores
    output.parent.mkdir(parents=True, exist_ok=True)
    complaints = output.with_suffix(".log")
    with open(complaints, "w") as log, subprocess.Popen(
        command(program, entity, output, config), stdout=subprocess.PIPE, stderr=log, text=True
    ) as child:
        said = child.stdout.read().strip()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise ReplayError(f"backtest of {entity.file} failed ({child.returncode}): {complaints.read_text().strip()}")
    complaints.unlink()
    end = json.loads(said.splitlines()[-1])
    return {
        "family": entity.family,
        "name": entity.name,
        "rows": end["rows"],
        "fit_seconds": end["fit_seconds"],
        "judge_seconds": end["seconds"] - end["fit_seconds"],
        "peak_bytes": used.ru_maxrss * 1024,
        "least_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # no child can show less
    }


def seconds(cost):
    return cost["fit_seconds"] + cost["judge_seconds"]


def replay_all(program, entities, directory, jobs):
    """All entities, the largest first so that no long one is left for the end."""
    started = time.monotonic()
    longest_first = sorted(entities, key=lambda e: -e.cells)

    def one(entity):
        cost = replay(program, entity, directory)
        print(f"  {entity.family}/{entity.name}: {seconds(cost):.1f} s", file=sys.stderr)
        return cost

    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(one, longest_first))
    cost = {"wall_seconds": time.monotonic() - started, "jobs": jobs, "runs": runs}
    (directory / "cost.json").write_text(json.dumps(cost, indent=1))
