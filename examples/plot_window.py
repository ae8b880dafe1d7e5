#!/usr/bin/env python3
"""Plots the recent course of one metric, read from a sidecar as an Arrow stream.

    pip install pyarrow matplotlib
    python3 examples/plot_window.py --metric cpu_usage --output cpu_usage.png

The columns are time, value, expected, lower, upper, score, one a detector, and firing; null is no data. For pandas or polars
take `read(...)`, which is an ordinary Arrow table.
"""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import matplotlib
import pyarrow.ipc

matplotlib.use("Agg")
from matplotlib import dates, pyplot as plt  # noqa: E402 - the backend comes first

ARROW = "application/vnd.apache.arrow.stream"
DETECTORS = ["isolation_forest", "lstm_autoencoder", "zscore", "seasonal_esd"]


def read(url, metric, target=None):
    """The window of `metric` as an Arrow table; `target` is an instance, where there are several."""
    asked = {"metric_name": metric} | ({"target": target} if target else {})
    where = f"{url.rstrip('/')}/api/v1/monitoring/anomaly/window?{urllib.parse.urlencode(asked)}"
    request = urllib.request.Request(where, headers={"Accept": ARROW})
    with urllib.request.urlopen(request, timeout=10) as answer, pyarrow.ipc.open_stream(answer) as stream:
        return stream.read_all()


def plot(table, title):
    """Value with its band above, score and confidences below."""
    column = table.to_pydict()
    time = column["time"]
    # What is missing is a gap in the line, not a line across it.
    number = {name: [float("nan") if v is None else v for v in values] for name, values in column.items() if name != "time"}
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(11, 6), height_ratios=[2, 1], layout="constrained")
    above.fill_between(time, number["lower"], number["upper"], alpha=0.2, label="band")
    above.plot(time, number["expected"], "--", linewidth=1, label="expected")
    above.plot(time, number["value"], color="black", linewidth=1.2, label="value")
    for axis in (above, below):
        axis.fill_between(time, 0, 1, where=column["firing"], transform=axis.get_xaxis_transform(), color="red", alpha=0.12,
                          label="incident" if axis is above else None)
    for detector in DETECTORS:
        below.plot(time, number[detector], linewidth=1, label=detector)
    below.plot(time, number["score"], color="black", linewidth=1.8, label="score")
    below.set_ylim(-0.04, 1.04)
    above.set_title(title)
    above.legend(loc="upper left", fontsize="small")
    below.legend(loc="upper left", fontsize="small", ncols=5)
    below.xaxis.set_major_formatter(dates.ConciseDateFormatter(below.xaxis.get_major_locator()))
    return figure


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--url", default="http://127.0.0.1:10091", help="the sidecar (default: %(default)s)")
    flags.add_argument("--metric", required=True, help="a signal, with its labels where it has several series")
    flags.add_argument("--target", help="label instance of a target, where there are several")
    flags.add_argument("--output", required=True, help="the picture; its ending says which kind")
    given = flags.parse_args()
    try:
        table = read(given.url, given.metric, given.target)
    except urllib.error.HTTPError as error:
        return f"{given.url}: {json.load(error).get('error', error)}"
    except urllib.error.URLError as error:
        return f"{given.url}: {error.reason}"
    if table.num_rows == 0:
        return f"{given.metric} has no window yet"
    plot(table, given.metric).savefig(given.output, dpi=120)
    print(f"{given.output}: {table.num_rows} checks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
