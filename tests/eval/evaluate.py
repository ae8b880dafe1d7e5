"""Evaluates dwcp-anomaly on bundles of labelled recordings: beside peers, or variants of it beside each other.

Replays, scores and tabulates; each step is a file of its own here and leaves what it made in OUT:
OUT/<method>/<family>/<name>.csv, OUT/<method>/cost.json, OUT/<method>/score.json and OUT/table.md; what variants leave says
comparison.py, and what an operations suite leaves suite.py.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import bundle
import comparison
import replay
import steps
import suite
import variants

THRESHOLD = "DWCP__DETECTOR__ENSEMBLE_THRESHOLD"


def higher(text):
    if not 0.6 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between the default, 0.6, and 1")
    return text


def arguments():
    parser = argparse.ArgumentParser(prog="tests/eval/run", description="Evaluate detection on labelled recordings.")
    parser.add_argument(
        "--bundle", type=Path, action="append", help="directory with a manifest.json and its files; may be given again"
    )
    parser.add_argument("--scorer", type=Path, help="the scorer; score.py beside the bundle by default")
    parser.add_argument("--program", type=Path, help="dwcp-anomaly to try; the release build by default")
    parser.add_argument("--peers", action="store_true", help="run the peers on the same data too")
    parser.add_argument(
        "--thresholds", nargs="+", type=higher, help="replay by these higher thresholds too, and prove that each only makes alerts fewer"
    )
    parser.add_argument(
        "--variant", action="append", metavar="NAME=PROGRAM[,CONFIG.yml]", help="compare these; the first is the base"
    )
    parser.add_argument("--pool", action="append", metavar="FAMILY,FAMILY", help="compare as one family: they share a source")
    parser.add_argument("--suite", type=Path, help="directory of an operations suite, with its ops.py")
    parser.add_argument("--seeds", default="1,2", help="the suite's seeds (default: 1,2)")
    parser.add_argument("--situations", nargs="+", metavar="NAME", help="these situations of the suite alone")
    parser.add_argument("--family", nargs="+", action="extend", help="these families alone")
    parser.add_argument("--part", choices=["dev", "check", "all"], default="all", help="half of the entities, or all")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=steps.TARGET / "eval", help="where results go")
    asked = parser.parse_args()
    if not asked.bundle and not asked.suite:
        parser.error("--bundle DIR or --suite DIR is required: there is nothing to evaluate on")
    if asked.variant and (asked.program or asked.peers or asked.thresholds):
        parser.error("--variant goes with none of --program, --peers and --thresholds: name the base as the first variant")
    return asked


def evaluate(chosen, judge, program, asked):
    asked.out.mkdir(parents=True, exist_ok=True)
    bundle.write_manifest(chosen, asked.out / "manifest.json")

    print(f"{steps.OURS}: {len(chosen)} entities, {asked.jobs} at a time", file=sys.stderr)
    replay.replay_all(program, chosen, asked.out / steps.OURS, asked.jobs)
    methods = [steps.OURS]
    if asked.peers:
        print("peers: the same entities", file=sys.stderr)
        methods += steps.step("peers.py", asked.out, asked.jobs).split()
    print("scoring", file=sys.stderr)
    steps.score(judge, methods, asked.out, asked.jobs)
    print(steps.step("table.py", asked.out, *methods), end="")
    if asked.thresholds:
        print(raised(program, chosen, asked), end="")


def raised(program, chosen, asked):
    thresholds = sorted(asked.thresholds, key=float)
    for threshold in thresholds:
        print(f"ensemble_threshold {threshold}: the same entities", file=sys.stderr)
        os.environ[THRESHOLD] = threshold
        replay.replay_all(program, chosen, asked.out / f"threshold-{threshold}", asked.jobs)
    os.environ.pop(THRESHOLD)
    return steps.step("thresholds.py", asked.out, asked.out / steps.OURS, *thresholds)


def run(asked):
    """What can be refused is refused before anything long begins."""
    compared = variants.checked([*map(variants.parsed, asked.variant)], 2 if asked.bundle else 1) if asked.variant else []
    if asked.suite:
        suite.program(asked.suite)
    if asked.bundle:
        chosen = bundle.entities(asked.bundle, asked.family, asked.part)
        judge = steps.scorer(asked.scorer, asked.bundle)
    program = None if compared else asked.program or steps.release_build()
    tried = compared or (variants.checked([variants.of(steps.OURS, program)], 1) if asked.suite else [])
    if asked.bundle and compared:
        print(comparison.compare(compared, chosen, judge, asked), end="")
    elif asked.bundle:
        evaluate(chosen, judge, program, asked)
    if asked.suite:
        print(suite.compare(tried, asked), end="")


def main():
    try:
        run(arguments())
    except (bundle.BundleError, replay.ReplayError, steps.StepError, variants.VariantError, OSError) as error:
        sys.exit(f"tests/eval/run: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"tests/eval/run: {error.cmd[0]} failed ({error.returncode})")


if __name__ == "__main__":
    main()
