"""Takes the place of an operations suite's ops.py in the self-test: the same flags and the same JSON, in a few hours of data.

An alert that starts within a fault finds it, one that starts within a benign event counts there, others are false; a stretch
without a pause is one alert.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROWS, TRAIN, INTERVAL = 700, 500, 60
EVENT = range(600, 630)
# Situation, arguments, cold, and what the event is: a fault, benign, or nothing.
LIST = [
    ("plain", {}, False, None),
    ("fault", {"size": 3}, False, "fault"),
    ("fault", {"size": 5}, True, "fault"),
    ("job", {}, True, "benign"),
]


def write(path, seed, size):
    values = np.array([10, 50]) + np.random.default_rng(seed).normal(0, 0.3, (ROWS, 2))
    values[EVENT] *= size
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["timestamp", "load", "memory"])
        out.writerows([row * INTERVAL, *metrics] for row, metrics in enumerate(values.round(4)))


def replay(program, config, train, directory):
    output = directory / "out.csv"
    command = [program, "backtest", "--data", directory / "in.csv", "--output", output, "--interval", f"{INTERVAL}s"]
    command += ["--train-rows", str(train)] if train else []
    command += ["--config.file", config] if config else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    with open(output, newline="") as file:
        alert = [row["alert"] == "1" for row in csv.DictReader(file)]
    return [row for row in range(max(1, train), len(alert)) if alert[row] and not alert[row - 1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--seeds", required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--only")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for case, args, cold, kind in LIST:
            if asked.only and case not in asked.only.split(","):
                continue
            for seed in map(int, asked.seeds.split(",")):
                write(Path(directory) / "in.csv", seed, args.get("size", 1) if kind == "fault" else 3 if kind else 1)
                starts = replay(asked.program, asked.config, 0 if cold else TRAIN, Path(directory))
                inside = any(start in EVENT for start in starts)
                rows.append({
                    "case": case, "args": args, "cold": cold, "seed": seed, "days": ROWS * INTERVAL / 86400,
                    "faults": [{"found": inside}] if kind == "fault" else [],
                    "false": sum(start not in EVENT or not kind for start in starts),
                    "benign": int(kind == "benign"), "benign_alerted": int(kind == "benign" and inside),
                })
                print(f"{case}: {len(starts)} alerts", flush=True)
    asked.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
