"""Evaluates dwcp-anomaly, and peers beside it if asked, on a bundle of labelled recordings.

Replays, scores and tabulates; each step is a file of its own here and leaves what it made in OUT:
OUT/<method>/<family>/<name>.csv, OUT/<method>/cost.json, OUT/<method>/score.json and OUT/table.md.
"""
import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bundle
import replay

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
OURS = "dwcp-anomaly"
THRESHOLD = "DWCP__DETECTOR__ENSEMBLE_THRESHOLD"
GAP = 5  # alerts at most so many rows apart count as one


class StepError(Exception):
    """A step that failed."""


def higher(text):
    if not 0.6 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between the default, 0.6, and 1")
    return text


def arguments():
    parser = argparse.ArgumentParser(prog="tests/eval/run", description="Evaluate detection on labelled recordings.")
    parser.add_argument("--bundle", type=Path, required=True, help="directory with a manifest.json and its files")
    parser.add_argument("--scorer", type=Path, help="the scorer; score.py beside the bundle by default")
    parser.add_argument("--program", type=Path, help="dwcp-anomaly to try; the release build by default")
    parser.add_argument("--peers", action="store_true", help="run the peers on the same data too")
    parser.add_argument(
        "--thresholds", nargs="+", type=higher, help="replay by these higher thresholds too, and prove that each only makes alerts fewer"
    )
    parser.add_argument("--family", nargs="+", action="extend", help="these families alone")
    parser.add_argument("--part", choices=["dev", "check", "all"], default="all", help="half of the entities, or all")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=TARGET / "eval", help="where results go")
    return parser.parse_args()


def release_build():
    subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
    return TARGET / "release" / OURS


def scorer(asked, directory):
    path = asked or directory.resolve().parent / "score.py"
    if not path.is_file():
        raise bundle.BundleError(f"{path}: no scorer there; name the bundle's score.py with --scorer")
    return path


def step(program, *words):
    """Runs a step that needs numpy in a process of its own (see replay.py) and gives what it printed."""
    command = [sys.executable, HERE / program, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise StepError(f"{program} failed: its complaint is above")
    return done.stdout


def score(scorer, methods, out, jobs):
    """Runs the scorer on every method; it reads all the files again for each, so methods go side by side."""
    def one(method):
        command = [
            sys.executable, scorer,
            "--manifest", out / "manifest.json",
            "--scores", out / method,
            "--gap", str(GAP),
            "--json", out / method / "score.json",
        ]
        with open(out / method / "score.log", "w") as log:
            if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode != 0:
                raise StepError(f"the scorer failed on {method}: see {log.name}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, methods))


def evaluate(asked):
    chosen = bundle.entities(asked.bundle, asked.family, asked.part)
    judge = scorer(asked.scorer, asked.bundle)
    program = asked.program or release_build()
    asked.out.mkdir(parents=True, exist_ok=True)
    bundle.write_manifest(asked.bundle, chosen, asked.out / "manifest.json")

    print(f"{OURS}: {len(chosen)} entities, {asked.jobs} at a time", file=sys.stderr)
    replay.replay_all(program, chosen, asked.out / OURS, asked.jobs)
    methods = [OURS]
    if asked.peers:
        print("peers: the same entities", file=sys.stderr)
        methods += step("peers.py", asked.out, asked.jobs).split()
    print("scoring", file=sys.stderr)
    score(judge, methods, asked.out, asked.jobs)
    print(step("table.py", asked.out, *methods), end="")
    if asked.thresholds:
        print(raised(program, chosen, asked), end="")


def raised(program, chosen, asked):
    thresholds = sorted(asked.thresholds, key=float)
    for threshold in thresholds:
        print(f"ensemble_threshold {threshold}: the same entities", file=sys.stderr)
        os.environ[THRESHOLD] = threshold
        replay.replay_all(program, chosen, asked.out / f"threshold-{threshold}", asked.jobs)
    os.environ.pop(THRESHOLD)
    return step("thresholds.py", asked.out, asked.out / OURS, *thresholds)


def main():
    try:
        evaluate(arguments())
    except (bundle.BundleError, replay.ReplayError, StepError, OSError) as error:
        sys.exit(f"tests/eval/run: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"tests/eval/run: {error.cmd[0]} failed ({error.returncode})")


if __name__ == "__main__":
    main()
