"""Sets the cache threshold to a false-hit bound, on families that the test never sees.

A look-up meets a cache that holds every query of its half of the families. The false-hit rate is
false hits over look-ups, half of which are near misses: harder than real traffic. Does not know:
stores, files.
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
from routerlab.lab.metrics import Metric
from routerlab.lab.queries import LabelledQuery, Variant

GRID = np.round(np.arange(0.50, 1.0005, 0.005), 3)
NEVER = 1.0
"""The threshold where no calibrated one meets the bound: only equal vectors are served."""


@dataclass(frozen=True)
class LookUps:
    """Look-ups of variants: cosine of the nearest servable query, and whether it is the right one.

    `score` is -1 where the same-answer check leaves nothing to serve. Shape (n,) each.
    """

    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    families: list[str]


@dataclass(frozen=True)
class Curve:
    """Hit and false-hit rate by threshold, with the upper bound of the latter."""

    thresholds: NDArray[np.float64]
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
    return LookUps(scores, right, [variant.query_id for variant in variants])


def curve(found: LookUps) -> Curve:
    """Rates at each threshold of the grid."""
    n = len(found.score)
    hits = [found.score >= threshold for threshold in GRID]
    false = [int((hit & ~found.right).sum()) for hit in hits]
    return Curve(
        GRID,
        [float(hit.mean()) for hit in hits],
        [events / n for events in false],
        [metrics.upper_bound(events, n) for events in false],
    )


def calibrate(found: LookUps, max_false_hit_rate: float) -> float:
    """The lowest threshold from which on the bound holds (one-sided 95 % Clopper-Pearson)."""
    if not 0 < max_false_hit_rate < 1:
        raise ValueError(f"max_false_hit_rate is a share between 0 and 1, got {max_false_hit_rate}")
    bounds = np.array(curve(found).false_hit_bound)
    too_high = np.flatnonzero(bounds > max_false_hit_rate)
    first_good = 0 if len(too_high) == 0 else int(too_high[-1]) + 1
    return float(GRID[first_good]) if first_good < len(GRID) else NEVER


def rates(found: LookUps, threshold: float, seed: int) -> dict[str, Metric]:
    """Hit rate (interval over families), false-hit rate and precision (exact) at a threshold."""
    hit = found.score >= threshold
    false = int((hit & ~found.right).sum())
    result = {
        "hit_rate": metrics.mean(hit, found.families, seed=seed),
        "false_hit_rate": metrics.share(false, len(hit)),
    }
    if hit.any():
        result["precision"] = metrics.share(int(hit.sum()) - false, int(hit.sum()))
    return result
