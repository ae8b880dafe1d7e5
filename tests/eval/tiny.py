"""Bundles small enough for a test: families of two entities, each with one fault nobody could miss, or with none."""
import gzip
import json

import numpy as np

ROWS, TRAIN = 900, 600
FAULT = range(700, 730)
METRICS = ["load", "memory", "latency"]
FIRST = [("hosts", "a"), ("hosts", "b"), ("pods", "a"), ("pods", "b")]
# Another bundle: more of a family of the first, and one at 1 s of which nobody knows anything.
SECOND = [("hosts", "c"), ("quiet", "a"), ("quiet", "b")]


def values(seed, fault=FAULT):
    """Three metrics about 10, 50 and 5; in the fault all of them are three times as large."""
    random = np.random.default_rng(seed)
    metrics = np.array([10, 50, 5]) + random.normal(0, 0.3, (ROWS, len(METRICS)))
    metrics[fault] *= 3
    return metrics


def write(directory, entities=FIRST):
    """Writes a bundle; the pods are compressed and have rows to be left out of the scores, the quiet ones have no labels."""
    entries = [write_entity(directory, seed, *entity) for seed, entity in enumerate(entities)]
    (directory / "manifest.json").write_text(json.dumps({"format": "csv", "entities": entries}))


def write_entity(directory, seed, family, name):
    ignores, labelled, interval = family == "pods", family != "quiet", 1 if family == "quiet" else 60
    marks = [*(["label"] if labelled else []), *(["ignore"] if ignores else [])]
    file = f"{family}/{name}.csv{'.gz' if ignores else ''}"
    (directory / family).mkdir(parents=True, exist_ok=True)
    with gzip.open(directory / file, "wt") if ignores else open(directory / file, "w") as out:
        out.write(",".join(["t", *METRICS, *marks]) + "\n")
        for row, metrics in enumerate(values(seed, FAULT if labelled else [])):
            told = {"label": int(row in FAULT), "ignore": int(row == TRAIN)}
            out.write(",".join(map(str, [row * interval, *metrics.round(4), *(told[mark] for mark in marks)])) + "\n")
    return {
        "family": family, "name": name, "file": file, "sampling_s": interval, "rows": ROWS, "train_rows": TRAIN,
        "columns": METRICS, "time_column": "t", "label_column": "label" if labelled else None,
        "ignore_column": "ignore" if ignores else None, "licence": "made here",
    }
