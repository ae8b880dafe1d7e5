"""Tables of what was measured, in Markdown.

    table.py DIR METHOD ...    reads DIR/manifest.json and DIR/<method>/{score,cost}.json; the first method is ours
"""
import json
import sys
from pathlib import Path

import numpy as np

import bundle
import figures

HEADINGS = {
    "vus_pr": "VUS-PR",
    "inc_recall": "incident recall",
    "alert_prec": "alert precision",
    "false_per_day": "false alerts a host-day",
    "delay_s": "median delay, min",
    "alert_time": "time in alert, %",
}
SCALE = {"delay_s": 1 / 60, "alert_time": 100}
DIGITS = {"objective": 3, "vus_pr": 3, "inc_recall": 3, "alert_prec": 3, "false_per_day": 2, "delay_s": 1, "alert_time": 1}


def number(value, name, sign=""):
    return "–" if np.isnan(value) else f"{value * SCALE.get(name, 1):{sign}.{DIGITS[name]}f}"


def between(ends, name, sign=""):
    return f"[{number(ends[0], name, sign)}, {number(ends[1], name, sign)}]"


def with_interval(group, name):
    return f"{number(group[name], name)} {between(group.interval(name), name)}"


def markdown(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def own_table(groups):
    """One method, each family and the means; the means have intervals."""
    rows = []
    for name, group in groups.items():
        cell = with_interval if name in figures.MEANS else lambda group, figure: number(group[figure], figure)
        rows.append([name, group.entities, group.incidents, *(cell(group, figure) for figure in figures.FIGURES)])
    return markdown(["", "entities", "incidents", *HEADINGS.values()], rows)


def own_cost(cost):
    runs = cost["runs"]
    rows, judging = sum(r["rows"] for r in runs), sum(r["judge_seconds"] for r in runs)
    largest = max(runs, key=lambda r: r["peak_bytes"])
    bound = "" if largest["peak_bytes"] > largest["least_peak_bytes"] else "at most "
    return (
        f"{len(runs)} replays, {cost['jobs']} at a time, took {cost['wall_seconds']:.1f} s: {rows} rows, "
        f"{sum(r['fit_seconds'] for r in runs):.1f} s of fitting, {judging:.1f} s of judging "
        f"({rows / judging:.0f} rows a second). Peak resident memory of the largest ({largest['name']}): "
        f"{bound}{largest['peak_bytes'] / 2**20:.0f} MiB.\n"
    )


def speed(cost, families):
    """Microseconds a row, and seconds of fitting for an entity."""
    runs = [run for run in cost["runs"] if run["family"] in families]
    judging = sum(r["judge_seconds"] for r in runs) / sum(r["rows"] for r in runs)
    return f"{judging * 1e6:.1f}", f"{np.mean([r['fit_seconds'] for r in runs]):.2f}"


def side_by_side(name, methods, costs):
    """All methods on one mean of families, with what they cost there."""
    rows = []
    for method, groups in methods.items():
        cells = [with_interval(groups[name], figure) for figure in figures.FIGURES]
        rows.append([method, *cells, *speed(costs[method], figures.MEANS[name])])
    return markdown(["", *HEADINGS.values(), "µs a row", "fit, s an entity"], rows)


def differences(name, methods):
    """The first method less each other, draw by draw: an interval without zero is a difference, others are noise."""
    (_, ours), *others = methods.items()
    shown = ("vus_pr", "inc_recall", "alert_prec", "false_per_day")
    rows = []
    for method, theirs in others:
        ends = figures.interval
        draws = ours[name].draws - theirs[name].draws
        gained = ours[name].values - theirs[name].values
        at = figures.FIGURES.index
        cells = [f"{number(gained[at(f)], f, '+')} {between(ends(draws[:, at(f)]), f, '+')}" for f in shown]
        rows.append([method, *cells])
    return markdown(["less", *(HEADINGS[f] for f in shown)], rows)


def by_group(methods, shown=("vus_pr", "inc_recall", "alert_prec", "false_per_day")):
    """Every group and method, without intervals."""
    names = next(iter(methods.values()))
    rows = [
        [name, method, *(number(groups[name][figure], figure) for figure in shown)]
        for name in names
        for method, groups in methods.items()
    ]
    return markdown(["", "method", *(HEADINGS[f] for f in shown)], rows)


def read(directory, method, name):
    return json.loads((directory / method / f"{name}.json").read_text())


def agree(method, found, summary):
    """Our means over all entities must be the scorer's own, or one of the two has changed its mind."""
    for family, group in found.items():
        if family in figures.MEANS:
            continue
        agree_on(method, family, group.values, summary)


def agree_on(method, family, ours, summary):
    theirs = np.array([summary[family][figure] for figure in figures.FIGURES], dtype=float)
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-12, equal_nan=True):
        sys.exit(f"{method}, {family}: the scorer says {theirs}, its entities add up to {ours}")


def split(scored, parts):
    """The scorer's rows of each part: all, then dev and check; or the one part there is."""
    halves = {"all": scored}
    for part in bundle.PARTS:
        kept = {f: [r for r in rows if parts[f, r["name"]] == part] for f, rows in scored.items()}
        halves[part] = {family: rows for family, rows in kept.items() if rows}
    alone = {part: kept for part, kept in halves.items() if kept == scored and part != "all"}
    return alone or halves


def tables(directory, methods):
    """Everything there is to say, as one Markdown text."""
    parts = {(e.family, e.name): e.part for e in bundle.entities(directory)}
    scores = {method: read(directory, method, "score") for method in methods}
    costs = {method: read(directory, method, "cost") for method in methods}
    everything = {method: figures.groups(score["entities"]) for method, score in scores.items()}
    for method, score in scores.items():
        agree(method, everything[method], score["summary"])

    ours = methods[0]
    text = ""
    for part, scored in split(scores[ours]["entities"], parts).items():
        text += f"## {ours}, {part}\n\n{own_table(figures.groups(scored))}\n"
    text += own_cost(costs[ours])
    if len(methods) > 1:
        text += beside_peers(everything, costs)
    return text


def beside_peers(everything, costs):
    text = ""
    for name in figures.MEANS:
        if name in next(iter(everything.values())):
            text += f"\n## Side by side, {name}\n\n{side_by_side(name, everything, costs)}"
            text += f"\n### What ours has more, {name}\n\n{differences(name, everything)}"
    return text + f"\n## Side by side, every family\n\n{by_group(everything)}"


def main(directory, methods):
    text = tables(directory, methods)
    (directory / "table.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
