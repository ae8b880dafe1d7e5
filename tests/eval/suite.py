"""Runs an operations suite, simulated weeks with known faults, on each variant: OUT/variants/<name>/operations.json.

A suite is other people's work: a directory with an `ops.py` that takes `--program`, `--seeds`, `--json` and, if asked,
`--config` and `--only`, and writes one object for each situation and seed (see operations.py for what is read of it). It is
run as a program, one process for each variant and seed, and what it found is kept by the content of suite and variant.
"""
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import steps
import variants


def program(directory):
    path = directory / "ops.py"
    if not path.is_file():
        raise steps.StepError(f"{path}: no suite there; --suite must name a directory with an ops.py")
    return path


def compare(compared, asked):
    """The tables, as text."""
    ops = program(asked.suite)
    seeds = seeds_of(asked.seeds)
    print(f"{ops}: seeds {asked.seeds}, {asked.jobs} at a time", file=sys.stderr)
    jobs = [(variant, seed) for variant in compared for seed in seeds]
    with ThreadPoolExecutor(asked.jobs) as pool:
        found = dict(zip(jobs, pool.map(lambda job: kept(ops, *job, asked), jobs)))
    for variant in compared:
        rows = [row for seed in seeds for row in found[variant, seed]]
        path = asked.out / "variants" / variant.name / "operations.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    return steps.step("operations.py", asked.out, *(variant.name for variant in compared))


def seeds_of(text):
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise steps.StepError(f"--seeds {text}: it must be numbers with commas between them, such as 1,2") from error


def content(directory):
    """All of the suite's source: a situation that has changed is another one."""
    files = sorted(directory.rglob("*.py"))
    return variants.digest(word for file in files for word in (file.relative_to(directory), variants.digest_of_file(file)))


def kept(ops, variant, seed, asked):
    """What the suite found with one seed; not run again where it is known."""
    only = ",".join(asked.situations or ())
    name = variants.digest([content(ops.parent), seed, only])
    found = asked.out / "kept" / variant.digest / "operations" / f"{name}.json"
    if not found.is_file():
        found.parent.mkdir(parents=True, exist_ok=True)
        new = found.with_suffix(".new")
        run(ops, variant, seed, only, new)
        new.rename(found)
    return json.loads(found.read_text())


def run(ops, variant, seed, only, path):
    command = [sys.executable, ops.resolve(), "--program", variant.program, "--seeds", str(seed), "--json", path.resolve()]
    command += ["--config", variant.config] if variant.config else []
    command += ["--only", only] if only else []
    with open(path.with_suffix(".log"), "w+") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child:
            for line in child.stdout:
                print(f"  {variant.name}, seed {seed}: {line.rstrip()}", file=sys.stderr)
        log.seek(0)
        if child.returncode != 0:
            raise steps.StepError(f"{ops} failed on {variant.name}, seed {seed} ({child.returncode}): {log.read().strip()}")
    path.with_suffix(".log").unlink()
