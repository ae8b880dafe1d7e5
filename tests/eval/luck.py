"""How often the rule of verdict.py is taken in by chance: simulated comparisons in which the truth is known.

    tests/eval/run --luck [WORLDS]

A world has families about as large as those of real bundles, and in them entities with their own number of incidents, share of
incidents found and rate of false alerts. What base and variant find is drawn from these; in some entities both do the same.
"""
import sys
from collections import Counter
from unittest import mock

import numpy as np

import difference
import figures
import table
import verdict

SIZES = {"a": 3, "b": 5, "c": 6, "d": 17, "e": 17, "f": 19, "g": 24, "h": 30, "i": 44, "quiet": 75}
SAME = 0.3  # of the entities, in which base and variant do the same
# The truth: what the variant finds more, and its rate of false alerts as a share of the base's.
TRUTHS = {"chance alone": (0.0, 1.0), "it finds 10 points more": (0.1, 1.0), "it has 30 % fewer false alerts": (0.0, 0.7)}
DRAWS = 500  # fewer than elsewhere, for there are many worlds


def entity(random, labelled):
    """What is true of an entity, and of every method there: incidents, days, how many are found, how many are false."""
    incidents = int(random.integers(1, 9)) if labelled else 0
    return incidents, float(random.choice([1, 10, 20])), random.beta(6, 4), random.gamma(2, 0.3)


def tried(random, truth, more=0.0, share=1.0):
    """What one method did there, as a scorer would tell it."""
    incidents, days, found, false = truth
    caught = int(random.binomial(incidents, min(found + more, 1)))
    wrong = int(random.poisson(false * share * days))
    ranked = np.clip(0.3 * (found + more) + random.normal(0.2, 0.1), 0, 1) if incidents else np.nan
    return {
        "vus_pr": ranked, "incidents": incidents, "caught": caught, "alerts": caught + wrong, "true_alerts": caught,
        "false_alerts": wrong, "normal_days": days, "delays": [], "alert_time": 0.0,
    }


def of_family(random, name, size, truth):
    """The difference of a family in one world."""
    base, variant = [], []
    for _ in range(size):
        here = entity(random, name != "quiet")
        base.append(tried(random, here))
        same = truth == TRUTHS["chance alone"] and random.random() < SAME
        variant.append(base[-1] if same else tried(random, here, *truth))
    labelled = sum(row["incidents"] > 0 for row in base)
    return difference.between(figures.of_family(name, base), figures.of_family(name, variant), labelled)


def worlds(truth, count):
    """How often each word was said, and that a family was hurt."""
    said = Counter()
    for world in range(count):
        random = np.random.default_rng([figures.SEED, world])
        judged = verdict.judged({name: of_family(random, name, size, truth) for name, size in SIZES.items()})
        said[judged.word] += 1
        said["hurts"] += judged.why.startswith("hurts")
    return said


def row(name, truth, count):
    print(f"  {name}", file=sys.stderr)
    said = worlds(truth, count)
    words = (verdict.STAYS, verdict.UNDECIDED, verdict.GOES, "hurts")
    return [name, *(f"{100 * said[word] / count:.1f} %" for word in words)]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    figures.DRAWS = DRAWS
    rows = [row(name, truth, count) for name, truth in TRUTHS.items()]
    with mock.patch.object(difference, "stretch", lambda count: 1.0 if count > 1 else np.nan):
        rows.append(row("chance alone, intervals not widened", TRUTHS["chance alone"], count))
    headings = ["the truth", "stays", "undecided", "goes", "of these for a family it hurts"]
    print(table.markdown(headings, rows), end="")


if __name__ == "__main__":
    main()
