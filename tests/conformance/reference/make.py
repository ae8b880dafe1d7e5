#!/usr/bin/env python3
"""What reference implementations say, for tests/conformance/detectors.rs to compare ours with.

To regenerate, with Python 3.11 or later and access to a package index:

    python3 tests/conformance/reference/make.py

It makes an environment of its own with the versions pinned below, in a directory that it removes again, and writes
the *.json files beside itself. The same versions give the same files on the same kind of processor.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

PINNED = ["numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1"]
HERE = pathlib.Path(__file__).resolve().parent
INSIDE = "--in-environment"


def enter():
    """Runs this script again in an environment that has just what is pinned."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = os.path.join(directory, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        subprocess.run([python, __file__, INSIDE], check=True)


def write(name, content):
    lines = json.dumps({"made_by": "make.py", **content}, allow_nan=False)
    (HERE / f"{name}.json").write_text(lines + "\n")


def isolation_forest():
    """scikit-learn's trees, node by node, and the depth and score that it gives some rows on them."""
    import numpy as np
    from sklearn.ensemble import IsolationForest
    from sklearn.ensemble._iforest import _average_path_length

    random = np.random.default_rng(1)
    normal = random.normal(size=(500, 5)) @ random.normal(size=(5, 5))
    # A constant column and many equal rows leave leaves of several rows at the depth limit and above it.
    normal[:, 4] = 3.0
    normal[:150] = normal[0]
    rows = np.vstack([normal[::25], random.normal(scale=8.0, size=(20, 5))]).astype(np.float32)
    forest = IsolationForest(n_estimators=16, max_samples=64, random_state=1).fit(normal.astype(np.float32))
    trees, depths = [], []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        nodes = []
        for node in range(tree.node_count):
            if tree.children_left[node] < 0:
                nodes.append({"rows": int(tree.n_node_samples[node])})
                continue
            # scikit-learn goes left at x <= threshold, x being f32; ours at x < threshold. The next f32 above the
            # threshold says the same of every f32, equal ones included.
            at = np.float32(tree.threshold[node])
            if float(at) <= tree.threshold[node]:
                at = np.nextafter(at, np.float32(np.inf))
            nodes.append({
                "feature": int(tree.feature[node]),
                "at": float(at),
                "left": int(tree.children_left[node]),
                "right": int(tree.children_right[node]),
            })
        trees.append(nodes)
        leaves = tree.apply(rows)
        edges = np.asarray(tree.decision_path(rows).sum(axis=1)).ravel() - 1
        depths.append((edges + _average_path_length(tree.n_node_samples[leaves])).tolist())
    write("isolation_forest", {
        "sample_size": 64,
        "trees": trees,
        "rows": rows.astype(float).tolist(),
        "depths": depths,
        "scores": (-forest.score_samples(rows)).tolist(),
    })


def esd():
    """The generalised ESD test written down once more from the paper, with Student's t from scipy."""
    import numpy as np
    from scipy import stats

    def critical(n, removed, alpha=0.05):
        left = n - removed
        t = stats.t.ppf(1 - alpha / (2 * (left + 1)), left - 1)
        return t * left / math.sqrt((left - 1 + t * t) * (left + 1))

    def outliers(sample, most):
        rest, found = list(sample), 0
        for removed in range(1, most + 1):
            center = np.median(rest)
            scale = 1.4826 * np.median(np.abs(rest - center))
            far = int(np.argmax(np.abs(rest - center)))
            if abs(rest[far] - center) / scale > critical(len(sample), removed):
                found = removed
            rest.pop(far)
        return found

    random = np.random.default_rng(2)
    cases = []
    for n, most, planted in [(60, 6, 0), (60, 6, 3), (100, 10, 10), (288, 28, 12), (288, 28, 40)]:
        sample = random.normal(50.0, 4.0, size=n)
        at = random.choice(n, size=planted, replace=False)
        sample[at] += random.choice([-1.0, 1.0], size=planted) * random.uniform(15.0, 60.0, size=planted)
        sample = np.sort(np.round(sample, 6))
        found = outliers(sample, most)
        cases.append({"sample": sample.tolist(), "most": most, "found": found})
    critical_values = [[n, r, critical(n, r)] for n in (30, 54, 100, 288) for r in (1, 2, 5, 10, 20)]
    write("esd", {"critical": critical_values, "cases": cases})


def lstm():
    """The autoencoder in f64 numpy, matrix by matrix: the same weights, the same rows, what comes back."""
    import numpy as np

    width, hidden, steps = 3, 8, 12
    random = np.random.default_rng(4)
    shapes = [
        (width, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,),
        (hidden, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,),
        (hidden, width), (width,),
    ]
    parts = [random.normal(scale=0.4, size=shape).astype(np.float32) for shape in shapes]
    w_in, w_back, bias, d_in, d_back, d_bias, out, out_bias = [part.astype(float) for part in parts]

    def cell(sums, state):
        i, f, g, o = np.split(sums, 4)
        sigmoid = lambda x: 1 / (1 + np.exp(-x))
        state = sigmoid(f) * state + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(state), state

    def reconstruct(window):
        shown, state = np.zeros(hidden), np.zeros(hidden)
        for row in window:
            shown, state = cell(row @ w_in + shown @ w_back + bias, state)
        code, shown, state, written = shown, np.zeros(hidden), np.zeros(hidden), []
        for _ in window:
            shown, state = cell(code @ d_in + shown @ d_back + d_bias, state)
            written.append(shown @ out + out_bias)
        return np.array(written)

    scales = [{"center": 40.0, "spread": 5.0}, {"center": 0.5, "spread": 0.25}, {"center": -3.0, "spread": 2.0}]
    center, spread = (np.array([scale[key] for scale in scales]) for key in ("center", "spread"))
    cases = []
    for far in (1.0, 4.0):
        rows = np.round(center + spread * random.normal(scale=far, size=(steps, width)), 4)
        scaled = np.clip((rows - center) / spread, -6, 6).astype(np.float32).astype(float)
        back = reconstruct(scaled)
        squares = (back - scaled)[-3:] ** 2
        cases.append({
            "rows": rows.tolist(),
            "scaled": scaled.ravel().tolist(),
            "back": back.ravel().tolist(),
            "metrics": np.sqrt(squares.mean(axis=0)).tolist(),
            "vector": float(np.sqrt(squares.mean())),
        })
    model = {
        "sizes": {"width": width, "hidden": hidden, "steps": steps},
        "parameters": np.concatenate([part.ravel() for part in parts]).astype(float).tolist(),
        "metrics": [[at, scale] for at, scale in enumerate(scales)],
    }
    write("lstm", {"model": model, "cases": cases})


def pareto():
    """Peaks over threshold: our estimator once more, its tail by scipy, and scipy's own fit of the same excesses."""
    import numpy as np
    from scipy import stats

    def generated(n, shape):
        # Numbers that both sides can make: a congruential generator through the inverse of the distribution.
        state, scores = 12345, []
        for _ in range(n):
            state = (state * 1664525 + 1013904223) % 2**32
            u = (state + 0.5) / 2**32
            scores.append(-math.log(u) if shape == 0 else (u**-shape - 1) / shape)
        return np.sort(np.array(scores))

    cases = []
    for n, shape in [(300, 0.0), (4000, 0.1), (4000, 0.3), (100000, 0.2)]:
        scores = generated(n, shape)
        begin = np.quantile(scores, 0.95)
        excesses = scores[scores > begin] - begin
        m, mean = len(excesses), excesses.mean()
        # Hosking & Wallis 1987, with k = -shape: a_s is the mean of x (1 - F)^s.
        above = (m - 1 - np.arange(m)) / (m - 1)
        a1 = (excesses * above).mean()
        own = np.clip(-(mean / (mean - 2 * a1) - 2), -0.2, 0.6)
        fitted = np.clip(own * m / (m + 20) + 0.2 * 20 / (m + 20), 0, 0.5)
        scale = mean * (1 - fitted)
        at = begin + scale * np.array([0.01, 0.3, 1.0, 3.0, 8.0])
        tail = np.log10(n / m) - stats.genpareto.logsf(at - begin, fitted, scale=scale) / math.log(10)
        likely, _, likely_scale = stats.genpareto.fit(excesses, floc=0)
        beyond = stats.genpareto.logsf(at - begin, likely, scale=likely_scale) / math.log(10)
        # A fit of few excesses may end before the largest scores here.
        likely_tail = [float(tail) if np.isfinite(tail) else None for tail in np.log10(n / m) - beyond]
        cases.append({
            "n": n,
            "shape": shape,
            "excesses": m,
            "scores": at.tolist(),
            "surprise": tail.tolist(),
            "likely_surprise": likely_tail,
            "likely_shape": float(likely),
            "fitted_shape": float(fitted),
        })
    write("pareto", {"cases": cases})


def zscore():
    """Median and MAD of the newest window, by numpy and scipy."""
    import numpy as np
    from scipy import stats

    random = np.random.default_rng(5)
    cases = []
    for window in (30, 100):
        values = np.round(random.gamma(3.0, 10.0, size=window + 41), 6)
        newest = values[-window:]
        cases.append({
            "window": window,
            "values": values.tolist(),
            "expected": float(np.median(newest)),
            "scale": 1.4826 * float(stats.median_abs_deviation(newest)),
        })
    write("zscore", {"cases": cases})


if __name__ == "__main__":
    if INSIDE in sys.argv:
        for make in (isolation_forest, esd, lstm, pareto, zscore):
            make()
    else:
        enter()
