"""Figures with intervals: every metric is a value, a 95 % interval and a count.

Intervals of means, shares and ratios resample whole families (cluster bootstrap, percentile);
those of rare events are Clopper-Pearson. Does not know: where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats: TypeAlias = NDArray[np.float64]
ROUNDS = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A measured figure: `value`, its 95 % interval from `low` to `high`, and `n` observations."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """The form in report.json."""
        return asdict(self)


def interval(draws: Floats) -> tuple[float, float]:
    """Percentile interval of bootstrap draws; those that are no number are left out."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def clustered(
    columns: Sequence[ArrayLike],
    clusters: Sequence[str],
    statistic: Callable[[Floats], Floats],
    *,
    seed: int,
) -> Metric:
    """A figure that depends on sums of columns, with whole clusters resampled.

    `columns`: k arrays of shape (n,). `statistic`: sums of shape (..., k) to figures (...). A mean
    is `(values, ones)` with `s[..., 0] / s[..., 1]`.
    """
    return clustered_all(columns, clusters, {"": statistic}, seed=seed)[""]


def clustered_all(
    columns: Sequence[ArrayLike],
    clusters: Sequence[str],
    statistics: Mapping[str, Callable[[Floats], Floats]],
    *,
    seed: int,
) -> dict[str, Metric]:
    """Several figures of the same sums, on the same resampled clusters, as in `clustered`."""
    values = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    sums = resampled_sums(values, clusters, seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: Metric(float(one(sums[0])), *interval(one(sums[1:])), n=len(values))
            for name, one in statistics.items()
        }


def resampled_sums(values: Floats, clusters: Sequence[str], *, seed: int) -> Floats:
    """Sums of columns, values of shape (n, k): of all rows first, then of each bootstrap draw.

    Shape (1 + ROUNDS, k); whole clusters are resampled.
    """
    if len(values) == 0:
        raise ValueError("no observations: there is nothing to measure")
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, members, values)
    return np.concatenate([values.sum(axis=0)[None], _resampling(len(names), seed) @ sums])


@lru_cache(maxsize=16)
def _resampling(clusters: int, seed: int) -> Floats:
    """How often each cluster is drawn, shape (ROUNDS, clusters)."""
    rng = np.random.default_rng(seed)
    shares = np.full(clusters, 1 / clusters)
    return rng.multinomial(clusters, shares, size=ROUNDS).astype(np.float64)


def mean(values: ArrayLike, clusters: Sequence[str], *, seed: int) -> Metric:
    """Mean with an interval over clusters."""
    column = np.asarray(values, dtype=float)
    return clustered([column, np.ones(len(column))], clusters, ratio, seed=seed)


def total(values: ArrayLike, clusters: Sequence[str], *, seed: int) -> Metric:
    """Sum with an interval over clusters."""
    return clustered([values], clusters, lambda sums: sums[..., 0], seed=seed)


def saving(cost: ArrayLike, baseline: ArrayLike, clusters: Sequence[str], *, seed: int) -> Metric:
    """Share of the baseline's cost that is saved, paired by request."""
    return clustered([cost, baseline], clusters, lambda sums: 1 - ratio(sums), seed=seed)


def ratio(sums: Floats) -> Floats:
    """First sum over second."""
    quotient: Floats = sums[..., 0] / sums[..., 1]
    return quotient


def share(events: int, n: int) -> Metric:
    """Share of n independent trials, with the exact (Clopper-Pearson) interval."""
    if n == 0:
        raise ValueError("no trials: there is nothing to measure")
    exact = stats.binomtest(events, n).proportion_ci(LEVEL, method="exact")
    return Metric(events / n, float(exact.low), float(exact.high), n)


def over_seeds(values: Sequence[float]) -> Metric:
    """Mean of independent runs, with Student's interval; `n` is the number of runs."""
    runs = np.asarray(values, dtype=float)
    mean_, half = float(runs.mean()), 0.0
    if len(runs) > 1:
        error = float(runs.std(ddof=1)) / np.sqrt(len(runs))
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(runs) - 1)) * error
    return Metric(mean_, mean_ - half, mean_ + half, len(runs))


def upper_bound(events: int, n: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound of a share; 1 without trials."""
    if n == 0 or events == n:
        return 1.0
    return float(stats.beta.ppf(confidence, events + 1, n - events))


def quantile(values: ArrayLike, q: float, *, seed: int) -> Metric:
    """Quantile with a bootstrap interval over observations."""
    column = np.asarray(values, dtype=float)
    if len(column) == 0:
        raise ValueError("no observations: there is nothing to measure")
    rng = np.random.default_rng(seed)
    draws = np.quantile(rng.choice(column, size=(ROUNDS, len(column))), q, axis=1)
    return Metric(float(np.quantile(column, q)), *interval(draws), n=len(column))
