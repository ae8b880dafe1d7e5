"""Whether a variant stays: only where it helps in the mean, whichever family is held out, and hurts no family by more than its
interval. README.md says the rule in full.
"""
from dataclasses import dataclass

import numpy as np

import difference

STAYS, UNDECIDED, GOES = "stays", "undecided", "goes"
BETTER = {"objective": 1, "false_per_day": -1}  # the sign of a change for the better


@dataclass
class Gain:
    """The change of one measure in the mean of all families."""

    measure: str
    value: float
    ends: tuple[float, float]
    least: float  # the same with one family held out, whichever leaves the least help
    without: str  # that family

    @property
    def is_more_than_chance(self):
        return min(end * BETTER[self.measure] for end in self.ends) > 0

    @property
    def is_of_all(self):
        return self.least * BETTER[self.measure] > 0


@dataclass
class Verdict:
    objective: Gain
    false: Gain
    word: str
    why: str


def judged(families):
    """`families` are the differences of each family (no means), as difference.between gives them."""
    mean = difference.mean_of(list(families.values()))
    objective, false = (gained(measure, families, mean) for measure in BETTER)
    return Verdict(objective, false, *ruled(objective, false, hurt(families, mean)))


def gained(measure, families, mean):
    return Gain(measure, mean[measure], mean.interval(measure), *held_out(measure, families))


def held_out(measure, families):
    """What is left in the mean of the others with each family held out in turn: the least help."""
    changes = {name: difference.counted(family)[measure] for name, family in families.items()}
    known = {name: change for name, change in changes.items() if not np.isnan(change)}
    if len(known) < 2:
        return np.nan, ""
    others = {name: np.mean([change for other, change in known.items() if other != name]) for name in known}
    without = min(others, key=lambda name: others[name] * BETTER[measure])
    return others[without], without


def hurt(families, mean):
    """What the variant makes worse by more than its interval."""
    worse = [f"{name}: objective" for name, family in families.items() if family.interval("objective")[1] < 0]
    noisier = {**families, "the mean": mean}
    return worse + [f"{name}: false alerts" for name, one in noisier.items() if one.interval("false_per_day")[0] > 0]


def ruled(objective, false, harmed):
    if harmed:
        return GOES, f"hurts {', '.join(harmed)}"
    if np.isnan(objective.value):
        return UNDECIDED, "no family has two labelled recordings"
    if objective.value < 0:
        return GOES, "the objective falls in the mean"
    if objective.value == 0 and not false.value < 0:
        return GOES, "it helps nothing"
    helps = [gain for gain in (objective, false) if gain.is_more_than_chance]
    if not helps:
        return UNDECIDED, "what it gains is within its interval"
    if any(gain.is_of_all for gain in helps):
        return STAYS, "helps in the mean and hurts no family"
    if np.isnan(helps[0].least):
        return UNDECIDED, "one family tells nothing of others"
    return UNDECIDED, f"without {helps[0].without} it gains nothing"
