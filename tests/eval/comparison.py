"""Compares variants on the same recordings: replays what is not there yet, scores it, and tabulates the differences.

Below OUT: kept/ as in kept.py, scores/<content>.json for each family and variant that was scored, and
variants/<name>/{score,cost}.json with what the tables are made of.
"""
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import bundle
import kept
import steps
import variants


def compare(compared, chosen, judge, asked):
    """The tables, as text."""
    known = kept.recordings(chosen)
    kept.replay_missing(asked.out / "kept", compared, known, asked.jobs)
    for variant in compared:
        directory = asked.out / "variants" / variant.name
        runs = kept.laid_out(asked.out / "kept", variant, known, directory)
        (directory / "cost.json").write_text(json.dumps({"runs": runs}))
    print("scoring", file=sys.stderr)
    score_all(compared, known, judge, asked)
    pools = [f"--pool={pool}" for pool in asked.pool or ()]
    names = [variant.name for variant in compared]
    print("differences", file=sys.stderr)
    return steps.step("paired.py", asked.out, *pools, *names)


def score_all(compared, known, judge, asked):
    """Scores family by family, so that another family or variant does not make all be scored again."""
    families = {}
    for entity in known:
        families.setdefault(entity.family, []).append(entity)
    jobs = [(variant, family) for variant in compared for family in families]

    def score(job):
        variant, family = job
        return scored(variant, families[family], known, judge, asked.out)

    with ThreadPoolExecutor(asked.jobs) as pool:
        found = dict(zip(jobs, pool.map(score, jobs)))
    for variant in compared:
        parts = [found[variant, family] for family in families]
        summary = {family: part["summary"][family] for family, part in zip(families, parts)}
        entities = {family: complete(part, families[family], judge) for family, part in zip(families, parts)}
        whole = {"summary": summary, "entities": entities}
        (asked.out / "variants" / variant.name / "score.json").write_text(json.dumps(whole))


def scored(variant, entities, known, judge, out):
    """What the scorer says of one variant on one family."""
    parts = [(e.family, e.name, known[e], variants.digest_of_file(e.file)) for e in entities]
    content = variants.digest([variant.digest, variants.digest_of_file(judge), steps.GAP, *parts])
    found = out / "scores" / f"{content}.json"
    if not found.is_file():
        found.parent.mkdir(parents=True, exist_ok=True)
        manifest = found.with_suffix(".manifest")
        bundle.write_manifest(entities, manifest)
        new = found.with_suffix(".new")
        steps.run_scorer(judge, manifest, out / "variants" / variant.name, new)
        manifest.unlink()
        new.rename(found)
    return json.loads(found.read_text())


def complete(part, entities, judge):
    """The rows of a family, of which none may be missing: two variants would be compared on different recordings."""
    rows = part["entities"][entities[0].family]
    names = [entity.name for entity in entities]
    if [row["name"] for row in rows] != names:
        told = ", ".join(row["name"] for row in rows)
        raise steps.StepError(f"{judge} was to score {', '.join(names)} of {entities[0].family}, but told of {told}")
    return rows
