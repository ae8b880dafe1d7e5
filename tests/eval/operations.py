"""Tables of what an operations suite found, in Markdown.

    operations.py OUT BASE VARIANT ...    reads OUT/variants/<name>/operations.json

Read of each object: `case` (the situation), `args`, `cold` (or taught), `seed`, `faults` (each with `found`), `false` alerts in
`days`, and `benign` events, of which `benign_alerted` should not have alerted. Situations are drawn anew, each with all its
arguments and seeds, which have too much in common to count as others.
"""
import sys
from pathlib import Path

import numpy as np

import difference
import figures
import table

MEASURES = {"found": ("caught", "incidents"), "false": ("rates", "cases"), "benign": ("benign_alerted", "benign")}
HEADINGS = {"found": "faults found", "false": "false alerts a host-day, mean of cases", "benign": "benign events alerted"}
BETTER = {"found": 1, "false": -1, "benign": -1}
GROUPS = {"taught": (False,), "cold": (True,), "both": (False, True)}


def counts(rows):
    """What is counted in some cases, in the scorer's words as far as it has any."""
    return {
        "incidents": sum(len(row["faults"]) for row in rows),
        "caught": sum(fault["found"] for row in rows for fault in row["faults"]),
        "cases": len(rows),
        "rates": sum(row["false"] / row["days"] for row in rows),
        "benign": sum(row["benign"] for row in rows),
        "benign_alerted": sum(row["benign_alerted"] for row in rows),
    }


def by(rows, key):
    found = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def of_situations(group, rows):
    """The figures of a group, and the situations each of them rests on."""
    told = [counts(cases) for cases in by(rows, lambda row: row["case"]).values()]
    shares = lambda draws: np.column_stack([figures.share(told, draws, *parts) for parts in MEASURES.values()])
    values = shares(np.arange(len(told))[None])[0]
    resting = [sum(one[whole] > 0 for one in told) for _, whole in MEASURES.values()]
    names = tuple(MEASURES)
    found = figures.Figures(len(told), sum(one["incidents"] for one in told), values, shares(figures.drawn(group, len(told))), names)
    return found, resting


def apart(base, variant, resting):
    widths = np.array([difference.stretch(count) for count in resting])
    values = variant.values - base.values
    draws = values + widths * (variant.draws - base.draws - values)
    return figures.Figures(base.entities, base.incidents, values, draws, base.names)


def number(value, sign=""):
    return "–" if np.isnan(value) else f"{value:{sign}.2f}"


def of_group(rows, group):
    return [row for row in rows if bool(row["cold"]) in GROUPS[group]]


def own(told):
    rows = []
    for name, cases in told.items():
        for group in GROUPS:
            if chosen := of_group(cases, group):
                one = counts(chosen)
                shown = f"{one['caught']} of {one['incidents']}", number(one["rates"] / one["cases"]), f"{one['benign_alerted']} of {one['benign']}"
                rows.append([name, group, one["cases"], *shown])
    return table.markdown(["", "", "cases", *HEADINGS.values()], rows)


def harmed(one):
    """What is worse by more than its interval."""
    worse = []
    for name, sign in BETTER.items():
        low, high = one.interval(name)
        if (high if sign > 0 else -low) < 0:
            worse.append(HEADINGS[name])
    return ", ".join(worse) or "–"


def paired(base, variant):
    rows = []
    for group in GROUPS:
        if chosen := of_group(base, group):
            before, resting = of_situations(group, chosen)
            one = apart(before, of_situations(group, of_group(variant, group))[0], resting)
            ends = {name: one.interval(name) for name in MEASURES}
            cells = [f"{number(one[n], '+')} [{number(ends[n][0], '+')}, {number(ends[n][1], '+')}]" for n in MEASURES]
            rows.append([group, one.entities, *cells, harmed(one)])
    return table.markdown(["", "situations", *HEADINGS.values(), "hurts"], rows)


def label(row):
    words = ", ".join(f"{key}={value}" for key, value in row["args"].items())
    return f"{row['case']}{f' ({words})' if words else ''}, {'cold' if row['cold'] else 'taught'}"


def differing(told):
    """The cases in which not all variants do the same: found, false alerts a day, benign."""
    cells = {name: {case: cell(counts(rows)) for case, rows in by(cases, label).items()} for name, cases in told.items()}
    first = next(iter(cells.values()))
    rows = [[case, *(one[case] for one in cells.values())] for case in first if len({one[case] for one in cells.values()}) > 1]
    if not rows:
        return "All variants do the same in every situation.\n"
    return table.markdown(["found; false a day; benign", *cells], rows)


def cell(one):
    return f"{one['caught']}/{one['incidents']}; {number(one['rates'] / one['cases'])}; {one['benign_alerted']}/{one['benign']}"


def checked(directory, names):
    told = {name: table.read(directory / "variants", name, "operations") for name in names}
    cases = {name: [(label(row), row["seed"]) for row in rows] for name, rows in told.items()}
    for name in names:
        if not told[name] or cases[name] != cases[names[0]]:
            sys.exit(f"operations suite: {name} and {names[0]} were not tried in the same situations, or in none; see --situations")
    return told


def tables(directory, names):
    told = checked(directory, names)
    base, *others = names
    text = f"\n## Operations\n\n{own(told)}"
    for name in others:
        text += f"\n### {name} less {base}, operations\n\n{paired(told[base], told[name])}"
    if others:
        text += f"\n### Where they differ\n\n{differing(told)}"
    return text


def main():
    directory, *names = sys.argv[1:]
    text = tables(Path(directory), names)
    (Path(directory) / "operations.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
