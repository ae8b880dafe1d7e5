"""What a variant has more than the base: paired draws over the same entities, and how far to trust them.

The objective is the mean of VUS-PR, which ranks without a threshold, and F1, the harmonic mean of incident recall and alert
precision at the one threshold there is. A family in which nothing is labelled has no objective, only false alerts.
"""
import numpy as np
from scipy import stats

import figures

MEASURES = ("objective", "vus_pr", "inc_recall", "alert_prec", "false_per_day")
ALL = "all families"


def f1(recall, precision):
    """No alert at all finds nothing, so it is 0; without incidents there is nothing to find and no figure."""
    precision = np.nan_to_num(precision)
    both = recall + precision
    value = np.divide(2 * recall * precision, both, out=np.zeros_like(both), where=both > 0)
    return np.where(np.isnan(recall), np.nan, value)


def measured(values):
    """From rows in the order of figures.FIGURES to rows in the order of MEASURES."""
    vus, recall, precision, false = (values[:, figures.FIGURES.index(name)] for name in MEASURES[1:])
    objective = (vus + f1(recall, precision)) / 2
    return np.column_stack([objective, vus, recall, np.where(np.isnan(recall), np.nan, precision), false])


def stretch(count):
    """How much wider than the bootstrap's the interval of so few has to be (Hesterberg 2015): drawn from `count` values, the
    draws spread too little by sqrt(1 - 1/count), and Student's t is wider than the normal curve. One value tells nothing.
    """
    return np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975) if count > 1 else np.nan


def between(before, after, labelled):
    """What `after` has more than `before`, figures of one family; `labelled` of its entities have incidents."""
    values = measured(after.values[None])[0] - measured(before.values[None])[0]
    draws = measured(after.draws) - measured(before.draws)
    widths = np.array([stretch(labelled)] * 4 + [stretch(before.entities)])
    return figures.Figures(before.entities, before.incidents, values, values + widths * (draws - values), MEASURES)


def mean_of(families):
    """The plain mean; what a family has no interval for is left out of it."""
    return figures.mean_of([counted(family) for family in families])


def counted(family):
    known = ~np.isnan(family.draws).all(axis=0)
    return figures.Figures(family.entities, family.incidents, np.where(known, family.values, np.nan), family.draws, MEASURES)


def with_means(found):
    """The families, the means whose families are all there, and the mean of all families."""
    means = {
        name: mean_of([found[family] for family in families])
        for name, families in figures.MEANS.items()
        if all(family in found for family in families)
    }
    return found | means | {ALL: mean_of(list(found.values()))}


def pooled(entities, pools):
    """Families of one source are one family: kpi and kpimv become kpi+kpimv where both were run."""
    member_of = {}
    for pool in pools:
        together = [family for family in pool.split(",") if family in entities]
        member_of |= {family: "+".join(together) for family in together}
    found = {}
    for family, rows in entities.items():
        found.setdefault(member_of.get(family, family), []).extend(rows)
    return found
