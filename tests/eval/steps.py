"""The steps that all drivers take: the program, the scorer, and what needs numpy, each in a process of its own."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bundle

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
OURS = "dwcp-anomaly"
GAP = 5  # alerts at most so many rows apart count as one


class StepError(Exception):
    """A step that failed."""


def release_build():
    subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
    return TARGET / "release" / OURS


def scorer(asked, directories):
    """The scorer asked for, or the one beside the bundles; several that differ are nobody's choice but the caller's."""
    if asked:
        beside = [asked]
    else:
        beside = list(dict.fromkeys(directory.resolve().parent / "score.py" for directory in directories))
    found = [path for path in beside if path.is_file()]
    if not found:
        raise bundle.BundleError(f"{beside[0]}: no scorer there; name the bundle's score.py with --scorer")
    if len({path.read_bytes() for path in found}) > 1:
        raise bundle.BundleError(f"{', '.join(map(str, found))} differ; name one of them with --scorer")
    return found[0]


def step(program, *words):
    """Runs a step that needs numpy in a process of its own (see replay.py) and gives what it printed."""
    command = [sys.executable, HERE / program, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise StepError(f"{program} failed: its complaint is above")
    return done.stdout


def run_scorer(scorer, manifest, scores, found):
    """Has the scorer judge the files in `scores` by `manifest`, and write `found`."""
    command = [
        sys.executable, scorer,
        "--manifest", manifest,
        "--scores", scores,
        "--gap", str(GAP),
        "--json", found,
    ]
    with open(found.with_suffix(".log"), "w") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode != 0:
            raise StepError(f"the scorer failed on {scores.name}: see {log.name}")


def score(scorer, methods, out, jobs):
    """Runs the scorer on every method; it reads all the files again for each, so methods go side by side."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda m: run_scorer(scorer, out / "manifest.json", out / m, out / m / "score.json"), methods))
