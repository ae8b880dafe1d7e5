"""From the scorer's counts for each entity to figures for a family, means over families, and how far to trust them.

The scorer averages VUS-PR and alert time over a family's entities and pools everything that is counted (incidents,
alerts, normal days, delays), so that an entity without an alert does no harm; so it is here too. The intervals are
those of the bootstrap over entities: each family's entities are drawn anew, with replacement, as many as there are.
"""
import warnings
from dataclasses import dataclass

import numpy as np

FIGURES = ("vus_pr", "inc_recall", "alert_prec", "false_per_day", "delay_s", "alert_time")
MEANS = {"core": ("smd", "asd", "jumpstarter"), "nab+mscloud": ("nab", "mscloud")}
DRAWS = 2000
SEED = 20


@dataclass
class Figures:
    """The figures of one group of entities, in the order of `names`; `draws` has a row for each bootstrap sample."""

    entities: int
    incidents: int
    values: np.ndarray
    draws: np.ndarray
    names: tuple[str, ...] = FIGURES

    def __getitem__(self, name):
        return self.values[self.names.index(name)]

    def interval(self, name):
        return interval(self.draws[:, self.names.index(name)])


def interval(draws):
    """The middle 95 % of the draws that have a value."""
    known = draws[~np.isnan(draws)]
    return tuple(np.percentile(known, [2.5, 97.5])) if len(known) else (np.nan, np.nan)


def of_family(family, rows):
    """`rows` are the scorer's, one for each entity. The draws of a family depend on its name and size alone, so that
    two methods meet the same draws and may be compared draw by draw.
    """
    draws = drawn(family, len(rows))
    return Figures(len(rows), sum(row["incidents"] for row in rows), as_they_are(rows), pooled(rows, draws))


def as_they_are(rows):
    """The figures of all entities, once each."""
    return pooled(rows, np.arange(len(rows))[None])[0]


def drawn(name, size):
    """The draws of a group, by its name and size alone: positions, a row for each bootstrap sample."""
    return np.random.default_rng([SEED, *name.encode()]).integers(size, size=(DRAWS, size))


def pooled(rows, draws):
    """The figures of each draw, a draw being the positions of the entities in it."""
    return np.column_stack([
        mean_of_known(column(rows, draws, "vus_pr")),
        share(rows, draws, "caught", "incidents"),
        share(rows, draws, "true_alerts", "alerts"),
        share(rows, draws, "false_alerts", "normal_days"),
        median_delays(rows, draws),
        mean_of_known(column(rows, draws, "alert_time")),
    ])


def column(rows, draws, name):
    return np.array([row.get(name, np.nan) for row in rows], dtype=float)[draws]


def share(rows, draws, part, whole):
    """What is counted as `part`, for each that is counted as `whole`, of all that is in a draw."""
    return divided(column(rows, draws, part).sum(axis=1), column(rows, draws, whole).sum(axis=1))


def divided(part, whole):
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def mean_of_known(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is nothing
        return np.nanmean(values, axis=1)


def median_delays(rows, draws):
    delays = [np.array(row["delays"], dtype=float) for row in rows]
    if not any(len(known) for known in delays):
        return np.full(len(draws), np.nan)

    def median(draw):
        found = np.concatenate([delays[position] for position in draw])
        return np.median(found) if len(found) else np.nan

    return np.array([median(draw) for draw in draws])


def mean_of(families):
    """The plain mean over families, of each draw as well; a family without a figure is left out of that figure."""
    values = mean_of_known(np.stack([f.values for f in families], axis=1))
    draws = np.stack([f.draws for f in families], axis=2).reshape(-1, len(families))
    return Figures(
        sum(f.entities for f in families),
        sum(f.incidents for f in families),
        values,
        mean_of_known(draws).reshape(families[0].draws.shape),
        families[0].names,
    )


def groups(entities):
    """Figures of each family the scorer tells of, and of the means whose families are all there."""
    return with_means({family: of_family(family, rows) for family, rows in entities.items()})


def with_means(found):
    found = dict(found)
    for name, families in MEANS.items():
        if all(family in found for family in families):
            found[name] = mean_of([found[family] for family in families])
    return found
