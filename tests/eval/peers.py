"""Other ways to detect, on the same data under the same protocol, each as short as it can be said.

    peers.py DIR JOBS    reads DIR/manifest.json, writes DIR/<peer>/..., prints the peers' names

Every peer gets the metrics of an entity (rows x metrics, gaps filled forward) and the number of training rows, and
judges the rows after them. It may fit on training rows alone and look at no row later than the one it judges; what a
method keeps updating by its own design (trailing windows, new models) it updates here too. A peer with a rule of its
own for alerts is taken with it; for the others `fitted` below finds a threshold.
"""
import gzip
import json
import sys
import time
import warnings
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning

import bundle

DAY = 86400
HOUR = 3600


@dataclass
class Judged:
    score: np.ndarray  # one for each row after the training rows; higher is stranger
    alert: np.ndarray  # bool, the same rows
    fit_seconds: float = 0.0


def rows_of(seconds, interval):
    return max(1, round(seconds / interval))


def trailing(values, rows):
    """Windows of the last `rows` rows: one fewer than `rows` are missing at the start."""
    return np.lib.stride_tricks.sliding_window_view(values, rows, axis=0)


def fitted(fit, values, train, interval):
    """For methods with no rule of their own: fit on the first 70 % of the training rows; the threshold is the score
    that one row a day, on average, exceeds on the other 30 %.
    """
    cut = int(0.7 * train)
    started = time.perf_counter()
    judge = fit(values[:cut])
    fit_seconds = time.perf_counter() - started
    score = judge(values[cut:])
    threshold = np.quantile(score[: train - cut], 1 - min(1, interval / DAY))
    score = score[train - cut :]
    return Judged(score, score > threshold, fit_seconds)


def chance(values, train, interval):
    """Random scores: what any figure is worth."""
    noise = np.random.default_rng(7)
    return fitted(lambda _: lambda rows: noise.random(len(rows)), values, train, interval)


def rolling_zscore(values, train, _interval, window=100, sigmas=3):
    """Distance of each metric from its mean over the last 100 rows, the newest among them; alert at 3 sigma of any."""
    mean, deviation = rolling_moments(values, window)
    distance = np.abs(values - mean)
    z = np.divide(distance, deviation, out=np.zeros_like(distance), where=deviation > 1e-9 * (1 + np.abs(mean)))
    score = np.nanmax(z, axis=1)[train:]
    return Judged(score, score > sigmas)


def rolling_moments(values, rows):
    """Mean and standard deviation of the last `rows` rows, as avg_over_time and stddev_over_time: a row with no value
    (NaN) does not count, a window with none has none, and a window at the start is as long as it can be.
    """
    known = ~np.isnan(values)
    centre = np.nan_to_num(np.nanmean(np.where(known.any(axis=0), values, 0), axis=0))
    centred = np.where(known, values - centre, 0)
    count = sum_of_last(known.astype(float), rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sum_of_last(centred, rows) / count
        variance = sum_of_last(centred**2, rows) / count - mean**2
    return mean + centre, np.sqrt(np.maximum(variance, 0))


def sum_of_last(values, rows):
    total = np.cumsum(values, axis=0)
    total[rows:] = total[rows:] - total[:-rows]
    return total


def promql_band(values, train, interval, sigmas=2, margin=0.5, variable=0.5, patience=300):
    """The adaptive band of Grafana's promql-anomaly-detection, with its constants: around avg_over_time[1h] the widest
    of 2 x stddev_over_time[1h], averaged over 26 h of such hours as vary (stddev above half the average); half the
    average itself; and avg +- 2 x stddev of the same hour a day and a week ago. Samples at or below zero are not
    selected, the lower end is at least zero, an alert is a sample outside for five minutes.
    """
    level = np.where(values > 0, values, np.nan)
    mean, deviation = rolling_moments(level, rows_of(HOUR, interval))
    spread, _ = rolling_moments(np.where(deviation > variable * mean, deviation, np.nan), rows_of(26 * HOUR, interval))
    half = np.fmax(sigmas * spread, margin * mean)
    upper, lower = mean + half, mean - half
    for ago in (23.5 * HOUR, 167.5 * HOUR):
        upper = np.fmax(upper, earlier(mean + sigmas * deviation, rows_of(ago, interval)))
        lower = np.fmin(lower, earlier(mean - sigmas * deviation, rows_of(ago, interval)))
    middle, half = (upper + np.maximum(lower, 0)) / 2, (upper - np.maximum(lower, 0)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(level - middle) / half
    outside = held(distance > 1, patience // interval).any(axis=1)
    score = np.nan_to_num(distance, nan=0.0, posinf=0.0).max(axis=1)
    return Judged(score[train:], outside[train:])


def earlier(values, rows):
    moved = np.full_like(values, np.nan)
    moved[rows:] = values[:-rows]
    return moved


def held(condition, rows):
    """True where the condition has been true since `rows` rows ago, as `for` of an alerting rule."""
    return sum_of_last(condition.astype(float), rows + 1) == rows + 1


def isolation_forest(values, train, interval):
    """scikit-learn's isolation forest as it comes (100 trees of 256 rows), on rows of raw values."""

    def fit(rows):
        forest = IsolationForest(random_state=7).fit(rows)
        return lambda new: -forest.score_samples(new)

    return fitted(fit, values, train, interval)


def windowed_kmeans(values, train, interval, window=10, clusters=20, at_most=8000):
    """Distance of the last 10 rows, standardised, to the nearest of 20 centres of such windows."""

    def fit(rows):
        scaled = standardised(rows)

        def windows(of):
            past = np.concatenate([np.repeat(of[:1], window - 1, axis=0), of])
            return trailing(scaled(past), window).reshape(len(of), -1)

        seen = windows(rows)[window - 1 :]
        some = np.random.default_rng(7).permutation(len(seen))[:at_most]
        model = KMeans(min(clusters, len(some)), n_init=1, random_state=7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different windows than centres are no harm
            model.fit(seen[some])
        return lambda new: in_blocks(lambda block: model.transform(block).min(axis=1), windows(new))

    return fitted(fit, values, train, interval)


def standardised(rows, at_most=20):
    """Maps a metric to deviations from its mean, so that one that was (nearly) constant cannot drown the others."""
    reach = np.ptp(rows, axis=0)
    spread = np.where(reach > 0, np.maximum(rows.std(axis=0), 0.01 * reach), 1)
    centre = rows.mean(axis=0)
    return lambda new: np.clip((new - centre) / spread, -at_most, at_most)


def in_blocks(function, rows, size=5000):
    return np.concatenate([function(rows[start : start + size]) for start in range(0, len(rows), size)])


def kmeans_consensus(values, train, interval, models=18):
    """Netdata's machine learning with its constants: each metric differenced, averaged over 3 and put beside its 5
    predecessors; a 2-means model of the last 6 h (360 rows at least) every 3 h (180 at least), 18 kept. A metric is
    anomalous where every model puts the mean distance to its centres at 99 % of the range seen in fitting, or above;
    the host where more than 1 % of its metrics are, averaged over 5 minutes. That share has few values, so rows are
    ranked by how strange the metrics are in the mean instead: log(1 + least score), over the same 5 minutes.
    """
    every, span = max(180, rows_of(3 * HOUR, interval)), max(360, rows_of(6 * HOUR, interval))
    rows = lagged(values)
    first = max(train - (models - 1) * every, min(span, train))
    kept, fit_seconds, rate, strangeness = deque(maxlen=models), 0.0, [], []
    for now in [*range(train, first - 1, -every)][::-1] + [*range(train + every, len(values), every)]:
        started = time.perf_counter()
        kept.append(two_means(rows[:, max(8, now - span) : now]))
        fit_seconds += time.perf_counter() - started
        if now >= train:
            least = consensus(rows[:, now : now + every], kept)
            rate.append((least >= 0.99).mean(axis=0))
            strangeness.append(np.log1p(np.maximum(least, 0)).mean(axis=0))
    both = np.column_stack([np.concatenate(strangeness), np.concatenate(rate)])
    score, anomalous = rolling_moments(both, rows_of(300, interval))[0].T
    return Judged(score, anomalous > 0.01, fit_seconds)


def lagged(values):
    """metrics x rows x 6; the first 8 rows have no such past and stay zero."""
    smooth = trailing(np.diff(values, axis=0), 3).mean(axis=2)
    found = np.zeros((values.shape[1], len(values), 6))
    found[:, 8:] = trailing(smooth, 6).transpose(1, 0, 2)
    return found


def two_means(rows, rounds=12):
    """For each metric two centres, and the least and largest mean distance of the fitted rows to them."""
    upper = rows.mean(axis=2) > np.median(rows.mean(axis=2), axis=1, keepdims=True)
    for _ in range(rounds):
        centres = np.stack([mean_where(rows, ~upper), mean_where(rows, upper)], axis=1)
        low, high = np.moveaxis(distances(rows, centres), 2, 0)
        upper = high < low
    reach = distances(rows, centres).mean(axis=2)
    return centres, reach.min(axis=1), reach.max(axis=1)


def mean_where(rows, chosen):
    """Mean of the chosen rows of each metric; of all of them where none is chosen."""
    chosen = np.where(chosen.any(axis=1, keepdims=True), chosen, True)
    return np.einsum("mrk,mr->mk", rows, chosen) / chosen.sum(axis=1)[:, None]


def distances(rows, centres):
    return np.linalg.norm(rows[:, :, None] - centres[:, None], axis=3)


def consensus(rows, models):
    """For each metric and row the least score of all models, 0 at the least distance fitted and 1 at the largest."""
    least = np.full(rows.shape[:2], np.inf)
    for centres, low, high in models:
        reach = distances(rows, centres).mean(axis=2)
        spread = (high - low)[:, None]
        score = np.divide(reach - low[:, None], spread, out=np.zeros_like(reach), where=spread > 1e-12 * high[:, None])
        least = np.minimum(least, score)
    return least


PEERS = {
    "chance": chance,
    "rolling z-score": rolling_zscore,
    "PromQL band": promql_band,
    "k-means consensus": kmeans_consensus,
    "isolation forest": isolation_forest,
    "windowed k-means": windowed_kmeans,
}


def load(entity):
    """The metrics of an entity: a gap takes the value before it, and zero at the start."""
    with gzip.open(entity.file, "rt") if entity.file.suffix == ".gz" else open(entity.file) as file:
        header = file.readline().strip().split(",")
        columns = [header.index(metric) for metric in entity.metrics]
        number = lambda cell: float(cell) if cell else np.nan
        values = np.loadtxt(file, delimiter=",", usecols=columns, converters=number, ndmin=2)
    newest = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))[:, None]), axis=0)
    return np.nan_to_num(np.take_along_axis(values, newest, axis=0))


def directory_of(peer):
    return peer.lower().replace(" ", "-")


def write(path, judged):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.column_stack([judged.score, judged.alert])
    np.savetxt(path, rows, fmt=["%.9g", "%d"], delimiter=",", header="score,alert", comments="")


def judge(entity, out):
    """All peers on one entity; what each cost."""
    values, runs = load(entity), {}
    for name, peer in PEERS.items():
        started = time.perf_counter()
        judged = peer(values, entity.train_rows, entity.interval)
        seconds = time.perf_counter() - started
        write(out / directory_of(name) / entity.scores, judged)
        runs[name] = {
            "family": entity.family,
            "name": entity.name,
            "rows": len(values),
            "fit_seconds": judged.fit_seconds,
            "judge_seconds": seconds - judged.fit_seconds,
        }
    return runs


def main(out, jobs):
    started = time.monotonic()
    entities = sorted(bundle.entities(out), key=lambda e: -e.cells)
    with ProcessPoolExecutor(jobs) as pool:
        runs = list(pool.map(judge, entities, [out] * len(entities)))
    for name in PEERS:
        cost = {"wall_seconds": time.monotonic() - started, "jobs": jobs, "runs": [run[name] for run in runs]}
        (out / directory_of(name) / "cost.json").write_text(json.dumps(cost, indent=1))
        print(directory_of(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
