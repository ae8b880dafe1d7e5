"""The learning curve: what the choice of a variant on some families is worth on the families that were held out.

A variant is chosen as one would: the best objective in the mean of the families chosen on, among the base and those whose
false alerts are there not above the base's by more than their interval. Over all choices every family weighs the same on either
side, so a gap between the two is what choosing flatters. Families without labels have no objective; the curve has them among
those chosen on, for their false alerts, and the last table holds out them as well.
"""
import itertools
import math
from collections import Counter

import numpy as np

import difference
import figures
import table

MOST = 1000  # subsets of one size; of more than these so many are drawn
AT = difference.MEASURES.index
SHOWN = ("objective", "vus_pr", "inc_recall", "alert_prec", "false_per_day")


class Choice:
    """Figures of all variants on all families, as arrays: variants (the base first) x families."""

    def __init__(self, found, apart):
        self.names, self.families = list(found), list(next(iter(found.values())))
        rows = [[found[name][family].values for family in self.families] for name in self.names]
        self.measures = np.array([difference.measured(np.array(row)) for row in rows])
        self.objective = self.measures[:, :, AT("objective")]
        false = [[apart[name][family].draws[:, AT("false_per_day")] for family in self.families] for name in self.names]
        self.false = np.array(false)
        self.labelled = [at for at in range(len(self.families)) if not np.isnan(self.objective[:, at]).any()]
        self.unlabelled = [at for at in range(len(self.families)) if at not in self.labelled]

    def best(self, on):
        """The variant one would choose on these families; the base where none is better."""
        draws = figures.mean_of_known(np.moveaxis(self.false[:, on], 1, 2).reshape(-1, len(on)))
        noisier = [figures.interval(one)[0] > 0 for one in draws.reshape(len(self.names), -1)]
        means = figures.mean_of_known(self.objective[:, on])
        admitted = [at for at in range(len(self.names)) if at == 0 or not noisier[at]]
        return max(admitted, key=lambda at: (means[at], -at))


def subsets(families, size):
    """All choices of so many families, or a sample of them from a fixed seed."""
    if math.comb(len(families), size) <= MOST:
        return list(itertools.combinations(families, size))
    random = np.random.default_rng([figures.SEED, size])
    drawn = {tuple(sorted(random.choice(families, size, replace=False))) for _ in range(MOST)}
    return sorted(drawn)


def spread(values):
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def row(choice, size):
    """One size: the objective of the chosen on the families chosen on and on the others, and the base's on the others."""
    inside, outside, base, chosen = [], [], [], Counter()
    for on in map(list, subsets(choice.labelled, size)):
        held = [at for at in choice.labelled if at not in on]
        best = choice.best(on + choice.unlabelled)
        chosen[choice.names[best]] += 1
        inside.append(choice.objective[best, on].mean())
        outside.append(choice.objective[best, held].mean())
        base.append(choice.objective[0, held].mean())
    most, times = chosen.most_common(1)[0]
    return [
        size, len(inside), spread(inside), spread(outside), gap(np.mean(inside), np.mean(outside)), spread(base),
        f"{np.mean(outside) - np.mean(base):+.3f}", f"{most} ({100 * times / len(inside):.0f} %)",
    ]


def gap(inside, outside):
    return f"{100 * (inside - outside) / inside:+.1f} %" if inside > 0 else "–"


def curve(choice):
    headings = ["k", "choices of k families", "chosen on", "held out", "gap", "held out, base", "more than the base", "chosen most"]
    return table.markdown(headings, [row(choice, size) for size in range(1, len(choice.labelled))])


def each_held_out(choice):
    """Each family by the variant that was chosen on all others: what is seen of it is seen for the first time."""
    everyone, rows, chosen = range(len(choice.families)), [], {}
    for held, family in enumerate(choice.families):
        chosen[held] = choice.best([at for at in everyone if at != held])
        rows.append(line(family, choice.names[chosen[held]], choice.measures[chosen[held], held], choice.measures[0, held]))
    theirs = np.array([choice.measures[chosen[held], held] for held in everyone])
    for name, members in {**figures.MEANS, difference.ALL: choice.families}.items():
        if set(members) <= set(choice.families):
            at = [choice.families.index(member) for member in members]
            rows.append(line(name, "", *(figures.mean_of_known(one[at].T) for one in (theirs, choice.measures[0]))))
    headings = ["held out", "chosen on the others", *(table.HEADINGS.get(m, m) for m in SHOWN), "objective, base", "more than the base"]
    return table.markdown(headings, rows)


def line(family, chosen, values, base):
    objective = AT("objective")
    shown = [table.number(values[AT(name)], name) for name in SHOWN]
    more = values[objective] - base[objective]
    return [family, chosen, *shown, table.number(base[objective], "objective"), table.number(more, "objective", "+")]


def tables(found, apart):
    choice = Choice(found, apart)
    if len(choice.labelled) < 2:
        return "\n## Learning curve\n\nIt needs two families with labels: one to choose on and one to hold out.\n"
    return f"\n## Learning curve\n\n{curve(choice)}\n## Each family held out\n\n{each_held_out(choice)}"
