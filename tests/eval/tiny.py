"""A bundle small enough for a test: two families of two entities, each with one fault nobody could miss."""
import gzip
import json

import numpy as np

ROWS, TRAIN = 900, 600
FAULT = range(700, 730)
METRICS = ["load", "memory", "latency"]


def values(seed):
    """Three metrics about 10, 50 and 5; in the fault all of them are three times as large."""
    random = np.random.default_rng(seed)
    metrics = np.array([10, 50, 5]) + random.normal(0, 0.3, (ROWS, len(METRICS)))
    metrics[FAULT] *= 3
    return metrics


def write(directory):
    """Writes the bundle; the second family is compressed and has rows to be left out of the scores."""
    entries = []
    for seed, (family, name) in enumerate([("hosts", "a"), ("hosts", "b"), ("pods", "a"), ("pods", "b")]):
        ignores = family == "pods"
        file = f"{family}/{name}.csv{'.gz' if ignores else ''}"
        (directory / family).mkdir(parents=True, exist_ok=True)
        with gzip.open(directory / file, "wt") if ignores else open(directory / file, "w") as out:
            out.write(",".join(["t", *METRICS, "label", *(["ignore"] if ignores else [])]) + "\n")
            for row, metrics in enumerate(values(seed)):
                marks = [int(row in FAULT), *([int(row == TRAIN)] if ignores else [])]
                out.write(",".join(map(str, [row * 60, *metrics.round(4), *marks])) + "\n")
        entries.append({
            "family": family, "name": name, "file": file, "sampling_s": 60, "rows": ROWS, "train_rows": TRAIN,
            "columns": METRICS, "time_column": "t", "label_column": "label",
            "ignore_column": "ignore" if ignores else None,
        })
    (directory / "manifest.json").write_text(json.dumps({"entities": entries}))
