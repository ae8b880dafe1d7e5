"""Replays that are kept by what was replayed: the content of program, configuration and recording.

    KEPT/<variant>/<family>/<name>-<recording>.csv     what `backtest` wrote
    KEPT/<variant>/<family>/<name>-<recording>.json    what it cost; written last, so that what is there is whole

Nothing here may import numpy: see replay.py.
"""
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import replay
import variants


def place(kept, variant, entity, recording):
    return kept / variant.digest / entity.family / f"{entity.name}-{recording}"


def recordings(entities):
    """What each entity is known by: its file and what `backtest` is told of it."""
    return {e: variants.digest([variants.digest_of_file(e.file), *replay.told(e)]) for e in entities}


def replay_missing(kept, compared, known, jobs):
    """Replays every variant on every entity that is not there yet, the largest first."""
    wanted = {}
    for variant in compared:
        for entity, recording in known.items():
            at = place(kept, variant, entity, recording)
            if not at.with_name(f"{at.name}.json").is_file():
                wanted.setdefault(at, (variant, entity))
    there = len(compared) * len(known) - len(wanted)
    print(f"{len(wanted)} replays, {jobs} at a time; {there} are there already", file=sys.stderr)
    longest_first = sorted(wanted.items(), key=lambda item: -item[1][1].cells)
    done = Progress(len(wanted))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda item: replayed(*item, done), longest_first))


class Progress:
    """How many replays are done, for a person who waits."""

    def __init__(self, whole):
        self.whole, self.done = whole, 0

    def tell(self, what):
        self.done += 1
        print(f"  {self.done} of {self.whole}: {what}", file=sys.stderr)


def replayed(at, what, done):
    variant, entity = what
    at.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=at.parent, prefix=".") as directory:
        cost = replay.replay(variant.program, entity, Path(directory), variant.config)
        os.replace(Path(directory) / entity.scores, at.with_name(f"{at.name}.csv"))
        told = Path(directory) / "cost.json"
        told.write_text(json.dumps(cost))
        os.replace(told, at.with_name(f"{at.name}.json"))
    done.tell(f"{variant.name} on {entity.family}/{entity.name}, {replay.seconds(cost):.1f} s")


def laid_out(kept, variant, known, directory):
    """Lays the kept replays of a variant out as a scorer wants them: <family>/<name>.csv; gives what each cost."""
    costs = []
    for entity, recording in known.items():
        at, link = place(kept, variant, entity, recording), directory / entity.scores
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(at.with_name(f"{at.name}.csv").resolve())
        costs.append(json.loads(at.with_name(f"{at.name}.json").read_text()))
    return costs
