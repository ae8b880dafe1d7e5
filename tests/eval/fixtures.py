"""What the files of the self-test share: the bundle they make, an entity as a scorer tells of it, the driver."""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import steps
import tiny

ASKED = argparse.Namespace()  # the flags of the self-test


def directory_for(test):
    directory = tempfile.TemporaryDirectory()
    test.addCleanup(directory.cleanup)
    return Path(directory.name)


def tiny_bundle(test, entities=tiny.FIRST):
    path = directory_for(test) / "data"
    path.mkdir()
    tiny.write(path, entities)
    return path


def counted(**other):
    """One entity as the scorer tells of it."""
    row = {
        "name": "x", "vus_pr": 0.5, "alert_time": 0.1, "incidents": 4, "caught": 3, "alerts": 10, "true_alerts": 5,
        "false_alerts": 5, "normal_days": 10.0, "delays": [60, 120, 600],
    }
    return row | other


def run_driver(directory, *flags, driver="evaluate.py"):
    """The driver as a process of its own, with everything it leaves in directory/out."""
    command = [sys.executable, steps.HERE / driver, "--scorer", ASKED.scorer, "--out", directory / "out", *flags]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)
