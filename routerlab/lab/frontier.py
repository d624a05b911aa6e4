"""What routing does to quality: APGR, CPT, AIQ and regret, each with a bootstrap interval.

A router is judged by its operating points, from all queries to the cheap model to as many to
stronger ones as it would ever send. Several draws of training rows are pooled, so that an interval
holds the luck of the labels beside that of the test queries. Does not know: learners, files, plots.

- PGR, performance gap recovered (RouteLLM, arXiv 2406.18665, section 3): of the gap between the
  mean scores of the cheap and the strong model, the share that the router closes.
- APGR: mean PGR over the share of strong calls from 0 to 1, by the trapezoid rule over ten even
  steps as in RouteLLM's `evaluate.py`. A random mix has 0.5.
- CPT(x): the least share of strong calls from which PGR is x, on the straight line between steps.
- Among more than two models the strong one is the best single model on the training rows, and the
  share of calls becomes the share of spending: 0 is the cheapest model's, 1 the strong one's. PGR
  can then pass 1. A random mix of the two has about 0.5, more where it buys short queries first.
- AIQ, average improvement in quality (RouterBench, arXiv 2403.12031): mean height of the
  non-decreasing convex hull of (cost, score) between the cheapest and the dearest model's cost. The
  zero router is the hull of the single models, which a random mix of them reaches.
- Regret: the oracle's AIQ, which knows every score, minus the router's: the mean score lost at
  equal spending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.lab.metrics import ROUNDS, Floats, Metric, interval, resampled_sums

STEPS = 10
PRICES_OF_QUALITY = np.concatenate([[1e3], np.geomspace(2.0, 0.002, 30), [0.0]])
"""Lambdas of the operating points among many models: score per price range of the models."""
GROUPS = 400
"""Test rows are resampled in at most so many random groups: the same variance, less memory."""
AIQ_ROUNDS = 240
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Judged:
    """Predicted and true scores of n test rows for k models, under one draw of training rows.

    `predicted`, `scores`, `costs` (USD): shape (n, k), cheapest model first. `prices`: what is
    known of the costs before the call, which is what a policy goes by. `strong`: column of the best
    single model on the training rows. `rows`, shape (n,): which rows of the benchmark these are.
    """

    predicted: Floats
    scores: Floats
    costs: Floats
    prices: Floats
    strong: int
    rows: NDArray[np.int64]

    @property
    def oracle(self) -> Judged:
        """The same rows as seen by a router that knows every score."""
        return replace(self, predicted=self.scores)


def answered_by(judged: Judged, *, priced: bool = False) -> Floats:
    """Which model answers, shape (points, n, k), from all cheap to all strong; rows sum to 1.

    Two models: the queries with the largest predicted gain first or, `priced`, with the largest
    gain for each dollar more. More models: the greatest `predicted - lambda * price`, by lambda.
    """
    k = judged.scores.shape[1]
    if k == 2:
        gain = judged.predicted[:, 1] - judged.predicted[:, 0]
        dearer = judged.prices[:, 1] - judged.prices[:, 0]
        calls = _strong_calls(gain / dearer if priced else gain)
        return np.stack([1 - calls, calls], axis=-1)
    middle = judged.prices.mean(axis=0)
    spread = judged.prices / (middle.max() - middle.min())
    chosen = [(judged.predicted - value * spread).argmax(axis=1) for value in PRICES_OF_QUALITY]
    answered: Floats = np.eye(k)[np.array(chosen)]
    return answered


def _strong_calls(gain: Floats) -> Floats:
    """Whether the strong model answers, shape (STEPS + 1, n), the largest gains first.

    Where a step falls among queries with equal predictions they share it evenly.
    """
    _, inverse, counts = np.unique(-gain, return_inverse=True, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    wanted = np.arange(STEPS + 1)[:, None] / STEPS * len(gain)
    calls: Floats = np.clip((wanted - before) / counts, 0, 1)[:, inverse]
    return calls


@dataclass(frozen=True)
class Drawn:
    """Operating points of one draw: the figures first, then their bootstrap draws.

    All of shape (1 + ROUNDS, points). `cost`, `score`: USD a query and mean score of a policy that
    knows prices. `share`, `recovered`: of strong calls (many models: of spending), and PGR.
    `singles`: mean cost and score of each model, (1 + ROUNDS, k).
    """

    share: Floats
    cost: Floats
    score: Floats
    recovered: Floats
    singles: tuple[Floats, Floats]


def drawn(judged: Judged, seed: int) -> Drawn:
    """Operating points with the same rows resampled for every router, given one seed."""
    n, k = judged.scores.shape
    priced = answered_by(judged, priced=True)
    parts = [
        *(np.einsum("pnk,nk->np", priced, each) for each in (judged.costs, judged.scores)),
        judged.costs,
        judged.scores,
        np.ones((n, 1)),
    ]
    if k == 2:
        by_gain = answered_by(judged)
        parts += [by_gain[:, :, 1].T, np.einsum("pnk,nk->np", by_gain, judged.scores)]
    groups = np.random.default_rng(seed).permutation(n) % min(n, GROUPS)
    sums = resampled_sums(np.hstack(parts), [str(group) for group in groups], seed=seed)
    cuts = np.cumsum([part.shape[1] for part in parts])[:-1]
    cost, score, costs, scores, ones, *by_calls = np.split(sums, cuts, axis=1)
    cheap, strong = scores[:, :1], scores[:, [judged.strong]]
    base, full = costs[:, :1], costs[:, [judged.strong]]
    share, won = (cost - base) / (full - base), score
    if by_calls:
        share, won = by_calls[0] / ones, by_calls[1]
    recovered = (won - cheap) / (strong - cheap)
    return Drawn(share, cost / ones, score / ones, recovered, (costs / ones, scores / ones))


def judge(routers: Mapping[str, Sequence[Judged]], seed: int) -> dict[str, dict[str, Metric]]:
    """Figures of each router over its draws: apgr, cpt50, cpt80, aiq, over_zero, regret.

    Among more than two models also those of the point where price does not count: `score`, `cost`
    (USD a query), and `gain` and `spending`, that score less and that cost over the best single
    model's. The oracle is added. All routers must have the same draws of test rows.
    """
    first = next(iter(routers.values()))
    oracles = [drawn(one.oracle, seed + number) for number, one in enumerate(first)]
    best = [_aiq(one, AIQ_ROUNDS // len(oracles)) for one in oracles]
    found = {}
    for name, draws in {**routers, "oracle": None}.items():
        points = (
            oracles
            if draws is None
            else [drawn(one, seed + number) for number, one in enumerate(draws)]
        )
        parts: dict[str, list[Floats]] = {}
        for one, (oracle_aiq, zero_aiq) in zip(points, best, strict=True):
            own = _aiq(one, AIQ_ROUNDS // len(oracles))[0]
            for key, values in {
                **_call_performance(one),
                **_at_any_price(one, first[0].strong),
                "aiq": own,
                "over_zero": own - zero_aiq,
                "regret": oracle_aiq - own,
            }.items():
                parts.setdefault(key, []).append(values)
        n = len(first[0].scores)
        found[name] = {key: pooled(values, n) for key, values in parts.items()}
    return found


def _call_performance(points: Drawn) -> dict[str, Floats]:
    grid = np.arange(STEPS + 1) / STEPS
    curves = np.array(
        [
            np.interp(grid, np.maximum.accumulate(share), recovered)
            for share, recovered in zip(points.share, points.recovered, strict=True)
        ]
    )
    return {
        "apgr": np.trapezoid(curves, grid, axis=1),
        "cpt50": _first_reached(curves, grid, 0.5),
        "cpt80": _first_reached(curves, grid, 0.8),
    }


def _at_any_price(points: Drawn, strong: int) -> dict[str, Floats]:
    costs, scores = points.singles
    if costs.shape[1] == 2:
        return {}
    cost, score = points.cost[:, -1], points.score[:, -1]
    return {
        "score": score,
        "cost": cost,
        "gain": score - scores[:, strong],
        "spending": cost / costs[:, strong],
    }


def _first_reached(curves: Floats, grid: Floats, level: float) -> Floats:
    """Where each curve first is at `level`, on the line between steps; 1 where it never is."""
    reached = curves >= level
    reached[:, -1] = True
    at = np.maximum(reached.argmax(axis=1), 1)
    rows = np.arange(len(curves))
    low, high = curves[rows, at - 1], curves[rows, at]
    part = np.clip((level - low) / np.where(high > low, high - low, 1), 0, 1)
    share: Floats = grid[at - 1] + part * (grid[at] - grid[at - 1])
    return share


def pooled(parts: Sequence[Floats], n: int) -> Metric:
    """One metric of several draws: first entries are the figures, the others bootstrap draws."""
    value = float(np.mean([part[0] for part in parts]))
    return Metric(value, *interval(np.concatenate([part[1:] for part in parts])), n=n)


def _aiq(points: Drawn, rounds: int) -> tuple[Floats, Floats]:
    """AIQ of the router and of the zero router: the figures, then of each bootstrap draw."""
    found = []
    for row in range(1 + min(rounds, ROUNDS)):
        costs, scores = points.singles[0][row], points.singles[1][row]
        low, high = float(costs.min()), float(costs.max())
        own = area_under_hull(points.cost[row], points.score[row], low, high)
        found.append((own, area_under_hull(costs, scores, low, high)))
    own_areas, zero_areas = np.array(found).T
    return own_areas, zero_areas


def hull(cost: Floats, score: Floats) -> tuple[Floats, Floats]:
    """The non-decreasing convex hull of operating points, from the cheapest on (RouterBench)."""
    kept: list[tuple[float, float]] = []
    points = zip(cost.tolist(), score.tolist(), strict=True)
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if kept and y <= kept[-1][1]:
            continue
        while len(kept) > 1 and _sags(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    return np.array([x for x, _ in kept]), np.array([y for _, y in kept])


def _sags(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - b[0]) <= (c[1] - b[1]) * (b[0] - a[0])


def area_under_hull(cost: Floats, score: Floats, low: float, high: float) -> float:
    """Mean height of the hull of operating points between two costs (USD): AIQ."""
    xs, ys = hull(cost, score)
    inside = np.concatenate([[low], xs[(xs > low) & (xs < high)], [high]])
    return float(np.trapezoid(np.interp(inside, xs, ys), inside) / (high - low))


def curves(routers: Mapping[str, Sequence[Judged]], seed: int) -> dict[str, dict[str, Any]]:
    """`curve` of each router, the oracle added."""
    oracles = [one.oracle for one in next(iter(routers.values()))]
    return {name: curve(draws, seed) for name, draws in {**routers, "oracle": oracles}.items()}


def curve(draws: Sequence[Judged], seed: int) -> dict[str, list[float]]:
    """The operating points for a figure: means over draws, with intervals of score and PGR."""
    points = [drawn(one, seed + number) for number, one in enumerate(draws)]
    found: dict[str, Floats] = {}
    for name in ("share", "recovered", "cost", "score"):
        parts = [getattr(one, name) for one in points]
        found[name] = np.mean([part[0] for part in parts], axis=0)
        if name in ("recovered", "score"):
            bounds = np.quantile(np.concatenate([part[1:] for part in parts]), TAILS, axis=0)
            found[f"{name}_low"], found[f"{name}_high"] = bounds
    return {name: values.tolist() for name, values in found.items()}


def singles(draws: Sequence[Judged], models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean `score` and `cost` (USD) of each model on the test rows of all draws."""
    scores = np.mean([one.scores.mean(axis=0) for one in draws], axis=0)
    costs = np.mean([one.costs.mean(axis=0) for one in draws], axis=0)
    return {
        model: {"score": float(score), "cost": float(cost)}
        for model, score, cost in zip(models, scores, costs, strict=True)
    }
