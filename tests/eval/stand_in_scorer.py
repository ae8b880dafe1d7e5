"""Takes the place of a bundle's score.py in the self-test: the same flags and the same JSON, but no measure to publish.

What it calls vus_pr is the area under the ROC curve; alerts and incidents are counted as they are, with no widening.
"""
import argparse
import csv
import gzip
import json
from pathlib import Path

import numpy as np


def read(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        return list(csv.DictReader(file))


def runs(marks, gap=0):
    """Stretches [from, to) of true rows; those at most `gap` rows apart are one."""
    found = []
    for row in np.flatnonzero(marks):
        if found and row - found[-1][1] <= gap:
            found[-1][1] = row + 1
        else:
            found.append([row, row + 1])
    return found


def roc(labels, scores):
    inside, outside = scores[labels], scores[~labels]
    if not len(inside):
        return float("nan")
    return float(((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)).mean())


def counts(labels, scores, alert, interval, gap):
    incidents, alerts = runs(labels), runs(alert, gap)
    true = sum(any(a < d and c < b for c, d in incidents) for a, b in alerts)
    starts = [[a - c for a, _ in alerts if c <= a < d] for c, d in incidents]
    return {
        "vus_pr": roc(labels, scores),
        "incidents": len(incidents),
        "caught": sum(bool(found) for found in starts),
        "alerts": len(alerts),
        "true_alerts": true,
        "false_alerts": len(alerts) - true,
        "normal_days": float((~labels).sum() * interval / 86400),
        "delays": [int(min(found)) * interval for found in starts if found],
        "alert_time": sum(b - a for a, b in alerts) / len(labels),
    }


def one(entity, root, scores, gap):
    data = read(root / entity["file"])[entity["train_rows"] :]
    told = read(scores / entity["family"] / f"{entity['name']}.csv")[-len(data) :]
    kept = [row for row in range(len(data)) if float(data[row].get("ignore") or 0) == 0]
    column = lambda table, name: np.array([float(table[row][name] or 0) for row in kept])
    rank = column(told, "evidence" if "evidence" in told[0] else "score")
    return counts(column(data, "label") > 0, rank, column(told, "alert") > 0, entity["sampling_s"], gap)


def summary(rows):
    total = lambda name: sum(row[name] for row in rows)
    share = lambda part, whole: total(part) / total(whole) if total(whole) else float("nan")
    delays = [delay for row in rows for delay in row["delays"]]
    ranked = [row["vus_pr"] for row in rows if row["vus_pr"] == row["vus_pr"]]
    return {
        "vus_pr": sum(ranked) / len(ranked) if ranked else float("nan"),
        "inc_recall": share("caught", "incidents"),
        "alert_prec": share("true_alerts", "alerts"),
        "false_per_day": share("false_alerts", "normal_days"),
        "delay_s": float(np.median(delays)) if delays else float("nan"),
        "alert_time": total("alert_time") / len(rows),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--gap", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    found = {}
    for entity in json.loads(asked.manifest.read_text())["entities"]:
        row = one(entity, asked.manifest.parent, asked.scores, asked.gap)
        found.setdefault(entity["family"], []).append({"name": entity["name"], **row})
    scored = {"summary": {family: summary(rows) for family, rows in found.items()}, "entities": found}
    asked.json.write_text(json.dumps(scored))


if __name__ == "__main__":
    main()
