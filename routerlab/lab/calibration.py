"""Sets the cache threshold to a false-hit bound, on families that the test never sees.

A look-up meets a cache that holds every query of its half of the families. Rates are for traffic
with a stated share of near misses: those of near misses and of paraphrases, weighted by it. Does
not know: stores, files.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routerlab.cache.sameanswer import is_time_sensitive, may_share_answer
from routerlab.embedding import Embedder
from routerlab.lab import metrics
from routerlab.lab.metrics import Floats, Metric
from routerlab.lab.queries import LabelledQuery, Variant

GRID = np.round(np.arange(0.50, 1.0005, 0.005), 3)
NEVER = 1.0
"""The threshold where no calibrated one meets the bound: only equal vectors are served."""


@dataclass(frozen=True)
class LookUps:
    """Look-ups of variants: cosine of the nearest servable query, and whether it is the right one.

    `score` is -1 where the same-answer check leaves nothing to serve; `near_miss` tells those that
    nothing should be served to. Shape (n,) each.
    """

    score: Floats
    right: NDArray[np.bool_]
    near_miss: NDArray[np.bool_]
    families: list[str]


@dataclass(frozen=True)
class Curve:
    """Hit and false-hit rate of the traffic by threshold, with the upper bound of the latter."""

    thresholds: Floats
    hit_rate: list[float]
    false_hit_rate: list[float]
    false_hit_bound: list[float]


def split_families(queries: Sequence[LabelledQuery], seed: int) -> tuple[set[str], set[str]]:
    """Ids of the queries for calibration and for test, half each in every tier."""
    rng = random.Random(seed)
    calibration: set[str] = set()
    for tier in sorted({query.tier for query in queries}):
        ids = sorted(query.id for query in queries if query.tier == tier)
        calibration.update(rng.sample(ids, len(ids) // 2))
    return calibration, {query.id for query in queries} - calibration


def look_up(
    queries: Sequence[LabelledQuery],
    variants: Sequence[Variant],
    embedder: Embedder,
    *,
    verify: bool = True,
) -> LookUps:
    """Look every variant up among the queries, as the semantic cache would."""
    stored = embedder.encode([query.text for query in queries])
    asked = embedder.encode([variant.text for variant in variants])
    cosines = asked @ stored.T
    scores, right = np.full(len(variants), -1.0), np.zeros(len(variants), dtype=bool)
    for row, variant in enumerate(variants):
        if is_time_sensitive(variant.text):
            continue
        for place in np.argsort(-cosines[row]):
            if not verify or may_share_answer(variant.text, queries[place].text):
                scores[row] = cosines[row, place]
                right[row] = variant.same_answer and queries[place].id == variant.query_id
                break
    near_miss = np.array([not variant.same_answer for variant in variants])
    return LookUps(scores, right, near_miss, [variant.query_id for variant in variants])


def curve(found: LookUps, near_miss_share: float) -> Curve:
    """Rates at each threshold of the grid, for traffic with that share of near misses."""
    rows = [_columns(found, threshold).sum(axis=0) for threshold in GRID]
    return Curve(
        GRID,
        [float(_weighted(sums, 0, near_miss_share)) for sums in rows],
        [float(_weighted(sums, 1, near_miss_share)) for sums in rows],
        [_bound(sums, near_miss_share) for sums in rows],
    )


def calibrate(found: LookUps, max_false_hit_rate: float, near_miss_share: float) -> float:
    """The lowest threshold from which on the upper bound of the false-hit rate holds.

    The bound adds those of near misses and paraphrases, each a one-sided 97.5 % Clopper-Pearson
    bound, so both hold at once with 95 %.
    """
    for name, value in (("max_false_hit_rate", max_false_hit_rate), ("share", near_miss_share)):
        if not 0 < value < 1:
            raise ValueError(f"{name} lies between 0 and 1, got {value}")
    bounds = np.array(curve(found, near_miss_share).false_hit_bound)
    too_high = np.flatnonzero(bounds > max_false_hit_rate)
    first_good = 0 if len(too_high) == 0 else int(too_high[-1]) + 1
    return float(GRID[first_good]) if first_good < len(GRID) else NEVER


def rates(found: LookUps, threshold: float, near_miss_share: float, seed: int) -> dict[str, Metric]:
    """At a threshold: rates of the traffic, paraphrases and near misses served; over families."""
    columns = list(_columns(found, threshold).T)

    def metric(kind: int) -> Metric:
        return metrics.clustered(
            columns, found.families, lambda s: _weighted(s, kind, near_miss_share), seed=seed
        )

    def served(mask: NDArray[np.bool_]) -> Metric:
        families = [f for f, inside in zip(found.families, mask, strict=True) if inside]
        return metrics.mean(found.score[mask] >= threshold, families, seed=seed)

    return {
        "hit_rate": metric(0),
        "false_hit_rate": metric(1),
        "paraphrases_served": served(~found.near_miss),
        "near_misses_served": served(found.near_miss),
    }


# Columns of sums: near misses hit, falsely hit, in all; then the same of paraphrases.
def _columns(found: LookUps, threshold: float) -> Floats:
    hit = found.score >= threshold
    false = hit & ~found.right
    parts = (found.near_miss, ~found.near_miss)
    return np.column_stack([a for part in parts for a in (hit & part, false & part, part)]).astype(
        float
    )


def _weighted(sums: Floats, kind: int, share: float) -> Floats:
    rate: Floats = (
        share * sums[..., kind] / sums[..., 2] + (1 - share) * sums[..., 3 + kind] / sums[..., 5]
    )
    return rate


def _bound(sums: Floats, share: float) -> float:
    near, paraphrase = (
        metrics.upper_bound(int(sums[first + 1]), int(sums[first + 2]), confidence=0.975)
        for first in (0, 3)
    )
    return share * near + (1 - share) * paraphrase
