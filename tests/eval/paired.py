"""The paired table: what each variant has more than the base, and whether it stays; then the learning curve.

    paired.py OUT [--pool=FAMILY,FAMILY] BASE VARIANT ...    reads OUT/variants/<name>/{score,cost}.json
"""
import sys
from pathlib import Path

import curve
import difference
import figures
import table
import verdict

def cell(found, name):
    value, ends = found[name], found.interval(name)
    return f"{table.number(value, name, '+')} {table.between(ends, name, '+')}"


def differences(found):
    """A row for each family and mean."""
    rows = [
        [name, one.entities, one.incidents, *(cell(one, measure) for measure in difference.MEASURES)]
        for name, one in found.items()
    ]
    return table.markdown(["", "entities", "incidents", *(table.HEADINGS.get(m, m) for m in difference.MEASURES)], rows)


def gain(one):
    """A change in the mean, its interval, and what is left of it without the family that gave most."""
    least = f"; {table.number(one.least, one.measure, '+')} without {one.without}" if one.without else ""
    return f"{table.number(one.value, one.measure, '+')} {table.between(one.ends, one.measure, '+')}{least}"


def verdicts(judged):
    rows = [[name, gain(one.objective), gain(one.false), f"**{one.word}**", one.why] for name, one in judged.items()]
    return table.markdown(["all families", "objective", table.HEADINGS["false_per_day"], "verdict", "why"], rows)


def costs(directory, names):
    """What judging and fitting took; replays may be of different days, so it is no measurement."""
    rows = []
    for name in names:
        cost = table.read(directory / "variants", name, "cost")
        rows.append([name, *table.speed(cost, {run["family"] for run in cost["runs"]})])
    return table.markdown(["", "µs a row", "fit, s an entity"], rows)


def scored(directory, name):
    """The scorer's rows of a variant, which must add up to what the scorer says."""
    score = table.read(directory / "variants", name, "score")
    for family, rows in score["entities"].items():
        table.agree_on(name, family, figures.as_they_are(rows), score["summary"])
    return score["entities"]


def tables(directory, pools, names):
    rows = {name: difference.pooled(scored(directory, name), pools) for name in names}
    found = {name: {f: figures.of_family(f, told) for f, told in families.items()} for name, families in rows.items()}
    base, *others = names
    labelled = {f: sum(row["incidents"] > 0 for row in told) for f, told in rows[base].items()}
    apart = {name: {f: difference.between(found[base][f], found[name][f], labelled[f]) for f in labelled} for name in names}

    text = f"## {base}, the base\n\n{table.own_table(figures.with_means(found[base]))}"
    for name in others:
        text += f"\n## {name} less {base}\n\n{differences(difference.with_means(apart[name]))}"
    text += f"\n## What stays\n\n{verdicts({name: verdict.judged(apart[name]) for name in others})}"
    text += f"\n## What it took\n\n{costs(directory, names)}"
    return text + curve.tables(found, apart)


def asked(words):
    """The directory, the pools and the names of a step's command line."""
    directory, *rest = words
    pools = [word.removeprefix("--pool=") for word in rest if word.startswith("--pool=")]
    return Path(directory), pools, [word for word in rest if not word.startswith("--pool=")]


def main():
    directory, pools, names = asked(sys.argv[1:])
    text = tables(directory, pools, names)
    (directory / "comparison.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
