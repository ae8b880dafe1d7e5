#!/usr/bin/env python3
"""Plots the recent course of one metric, with its band and the score.

    pip install pyarrow matplotlib
    python3 examples/plot_window.py http://127.0.0.1:10091 cpu_usage cpu_usage.png

The window comes as an Arrow IPC stream: one record batch, one check a row, null where there was no data.
"""

import sys
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pyarrow as pa


def window(sidecar: str, metric: str) -> pa.Table:
    query = urllib.parse.urlencode({"metric_name": metric})
    request = urllib.request.Request(
        f"{sidecar}/api/v1/monitoring/anomaly/window?{query}",
        headers={"Accept": "application/vnd.apache.arrow.stream"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer, pa.ipc.open_stream(answer) as stream:
        return stream.read_all()


def plot(table: pa.Table, metric: str, path: str) -> None:
    column = {name: table[name].to_numpy() for name in table.column_names}
    time = column["time"]
    above, below = plt.subplots(2, 1, sharex=True, height_ratios=[3, 1], figsize=(10, 5))[1]
    above.fill_between(time, column["lower"], column["upper"], alpha=0.2, label="expected")
    above.plot(time, column["value"], label=metric)
    above.legend(loc="upper left")
    below.plot(time, column["score"], label="score")
    for detector in ("isolation_forest", "lstm_autoencoder", "zscore", "seasonal_esd"):
        below.plot(time, column[detector], linewidth=0.7, label=detector)
    below.set_ylim(0, 1)
    below.legend(loc="upper left", fontsize="x-small", ncols=5)
    plt.savefig(path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    _, sidecar, metric, path = sys.argv
    plot(window(sidecar, metric), metric, path)
