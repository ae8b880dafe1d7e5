"""Whether a raised threshold can only make alerts fewer: replays by several thresholds, compared row by row.

    thresholds.py OUT BASE THRESHOLD...

BASE is the directory of the replay by the default, OUT/threshold-THRESHOLD those of the others, ascending. What is learned does
not depend on a raised threshold, so the evidence is to be the same to the last digit; and an alert is to begin only where one
fires by the next lower threshold. It may end a few rows later: the target's anomaly can belong to another metric by then, and
the level of the first one prove to be the new normal. Prints a table; fails where either does not hold.
"""
import csv
import sys
from pathlib import Path


def columns(path):
    """The evidence as written, and whether an alert fires, one a row."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["evidence"] for row in rows], [row["alert"] == "1" for row in rows]


def begins(alert):
    return [row for row, (before, now) in enumerate(zip([False, *alert], alert)) if now and not before]


def compare(base, directories):
    """A line of the table for each directory, and complaints."""
    files = sorted(path.relative_to(base) for path in base.glob("*/*.csv"))
    counts, complaints = {directory: [0, 0] for directory in directories}, []
    for file in files:
        evidence, lower = columns(base / file)
        for directory in directories:
            own, alert = columns(directory / file)
            counts[directory][0] += len(begins(alert))
            counts[directory][1] += sum(alert)
            if own != evidence:
                complaints.append(f"{directory.name}/{file}: another evidence")
            if len(alert) != len(lower):
                raise SystemExit(f"{directory / file}: {len(alert)} rows, not {len(lower)}")
            more = [row for row in begins(alert) if not lower[row]]
            if more:
                complaints.append(f"{directory.name}/{file}: an alert that the threshold below has not, rows {more[:5]}")
            lower = alert
    return counts, complaints


def main():
    out, base, *thresholds = sys.argv[1:]
    directories = [Path(base), *(Path(out) / f"threshold-{threshold}" for threshold in thresholds)]
    counts, complaints = compare(Path(base), directories)
    print("\n## A raised threshold\n\n| ensemble_threshold | alerts | rows in alert |\n|---|---|---|")
    for directory, (alerts, rows) in counts.items():
        name = directory.name.removeprefix("threshold-") if directory != Path(base) else "default"
        print(f"| {name} | {alerts} | {rows} |")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
