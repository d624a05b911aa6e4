"""The threshold as a controller: a running, audited bound on the false-hit rate.

Each look-up offers the score of its best candidate. Some decisions are audited: a `Judge` says
whether the stored answer would have been right. From the verdicts on recent look-ups the threshold
is set so low that the upper bound of false hits a look-up just stays under the rate asked for. The
claim is that bound, audited and running; it is no proof about the next query. Without verdicts the
threshold stays where it was calibrated offline. Verdicts also tell how far the answers of this
traffic follow the cosine and how far the verifier, so the two are weighed anew with them. Does not
know: texts, vectors, who judges.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

LEAST_VERDICTS = 300
"""The offline threshold holds until this many decisions were judged."""
HIT_AUDITS = 0.05
"""Share of hits that are judged in the long run: each costs a judgement that served nobody."""
EARLY_HIT_AUDITS = 0.2
"""The same until `MOST_VERDICTS` are in: few verdicts make a loose bound, so few hits."""
NEAR_HIT_AUDITS = 0.5
"""Share of the misses just below the threshold that are judged, to learn where it may go."""
FIRST_JUDGED = 0.25
"""Until there are verdicts, this top share of the scores of recent look-ups is judged."""
LEAST_JUDGED = 0.1
"""Later on, at least this top share."""
MOST_SERVED = 0.7
"""Share of look-ups beyond which the threshold never reaches."""
WINDOW = 4_000
"""Look-ups that count; older ones say little about a cache that has filled since."""
MOST_VERDICTS = 1_500
VERDICT_AGE = 12_000
"""Look-ups after which a verdict no longer counts."""
TOP_BAND = 0.01
"""Share of look-ups in the band of the highest scores."""
BANDS = 8
"""Bands of score in which the share of wrong answers is taken to be even."""
CONFIDENCE = 0.95
_DRAWS = 400
_UPDATE_EVERY = 100
_PRIOR = np.diag([1e-3, 1.0, 1.0])
"""How firmly the weights are held to the verifier alone: precision, as of one verdict each."""
_VERIFIER_ALONE = np.array([0.0, 1.0, 0.0])


class Judge(Protocol):
    """Says whether a stored answer serves a text: labels in the lab, a model in live mode."""

    async def same_answer(self, asked: str, source: str, answer: str) -> bool | None:
        """True where `answer`, given to `source`, is right and complete for `asked` too.

        None for no verdict (out of budget, no answer): then nothing is learnt.
        """


@dataclass(frozen=True)
class Decision:
    """Whether to serve. `score`: as weighed for this traffic. `audit`: whether to have it judged.

    `rate`: the chance that such a decision had to be audited.
    """

    hit: bool
    score: float
    audit: bool = False
    rate: float = 0.0


class ThresholdController:
    """Decides by score. `threshold`: where it starts, and stays for want of verdicts.

    `max_false_hit_rate`: false hits in all look-ups, at most. `audited`: whether there is a judge.
    Not thread-safe: the cache holds its lock.
    """

    def __init__(
        self,
        threshold: float,
        *,
        max_false_hit_rate: float = 0.01,
        audited: bool = False,
        seed: int = 0,
    ) -> None:
        if np.isnan(threshold):
            raise ValueError("threshold is a number, got nan")
        if not 0 < max_false_hit_rate < 1:
            raise ValueError(f"max_false_hit_rate lies between 0 and 1, got {max_false_hit_rate}")
        self.threshold = threshold
        self.max_false_hit_rate = max_false_hit_rate
        self.audited = audited
        self.verdicts = 0
        self._seen: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._judged: deque[tuple[float, float, float, bool, int]] = deque(maxlen=MOST_VERDICTS)
        self._weights: Floats | None = None
        self._floor = -np.inf
        self._looked_up = 0
        self._random = random.Random(seed)
        self._draws = np.random.default_rng(seed)

    def decide(self, score: float | None, cosine: float = 0.0) -> Decision:
        """Serve or not, given the best candidate's score and cosine (None: there is none)."""
        if not self.audited:
            given = -np.inf if score is None else score
            return Decision(score is not None and given >= self.threshold, given)
        self._seen.append((np.nan, np.nan) if score is None else (score, cosine))
        self._looked_up += 1
        if self._looked_up % _UPDATE_EVERY == 0:
            self._update()
        if score is None:
            return Decision(hit=False, score=-np.inf)
        weighed = self._weighed_one(score, cosine)
        hit = weighed >= self.threshold
        if self.verdicts < LEAST_VERDICTS:
            rate = 1.0 if hit or weighed >= self._floor else 0.0
        else:
            of_hits = EARLY_HIT_AUDITS if self.verdicts < MOST_VERDICTS else HIT_AUDITS
            rate = of_hits if hit else NEAR_HIT_AUDITS if weighed >= self._floor else 0.0
        return Decision(hit, weighed, self._random.random() < rate, rate)

    def learn(self, score: float, cosine: float, right: bool, rate: float = 1.0) -> None:
        """Take in a verdict on a candidate; `rate` is that of the decision that was audited."""
        self._judged.append((score, cosine, rate, right, self._looked_up))
        self.verdicts += 1

    def describe(self) -> str:
        """What the bound rests on, in a line."""
        at = f"threshold {self.threshold:.3f}"
        if not self.audited:
            return f"{at}, as calibrated offline: no judge audits it"
        if self.verdicts < LEAST_VERDICTS:
            return f"{at}, as calibrated offline until {LEAST_VERDICTS} verdicts are in"
        bound = f"{CONFIDENCE:.0%} bound of {self.max_false_hit_rate:.1%} false hits"
        return f"{at}, set to keep the {bound} by {len(self._judged)} audits"

    def _weighed(self, pairs: Floats) -> Floats:
        """Scores, shape (n,), of verifier's score and cosine, shape (n, 2), as weighed now."""
        if self._weights is None:
            first: Floats = pairs[:, 0]
            return first
        return _sigmoid(_design(pairs) @ self._weights)

    def _weighed_one(self, score: float, cosine: float) -> float:
        if self._weights is None:
            return score
        level, trust, nearness = self._weights.tolist()
        logit = level + trust * _logit(score) - nearness * math.log(max(1.0005 - cosine, 1e-4))
        return 1 / (1 + math.exp(-min(max(logit, -60.0), 60.0)))

    def _update(self) -> None:
        while self._judged and self._judged[0][4] < self._looked_up - VERDICT_AGE:
            self._judged.popleft()
        if self.verdicts >= LEAST_VERDICTS and self._judged:
            judged = np.array(self._judged, dtype=float)
            self._weights = _fit_weights(judged[:, :2], judged[:, 3], self._weights)
        seen = self._weighed(np.array(self._seen))
        scores = np.sort(np.where(np.isnan(seen), -np.inf, seen))[::-1]
        if self.verdicts < LEAST_VERDICTS:
            self._floor = _at_share(scores, FIRST_JUDGED)
            return
        ranks = (np.geomspace(TOP_BAND, MOST_SERVED, BANDS) * len(scores)).astype(int)
        edges = np.unique(scores[np.clip(ranks, 1, len(scores)) - 1])[::-1]
        edges = edges[np.isfinite(edges)]
        if len(edges) == 0:
            return
        too_many = np.flatnonzero(self._bounds(scores, edges) > self.max_false_hit_rate)
        lowest = len(edges) if len(too_many) == 0 else int(too_many[0])
        self.threshold = float(edges[lowest - 1]) if lowest else np.inf
        # As many look-ups again below the threshold as above it: where it may go next.
        served = float((scores >= self.threshold).mean())
        self._floor = _at_share(scores, min(MOST_SERVED, max(2 * served, LEAST_JUDGED)))

    def _bounds(self, scores: Floats, edges: Floats) -> Floats:
        """Upper bound of false hits a look-up, were the threshold at each of the edges.

        How many look-ups fall into a band of scores is known; how many of them would be wrong is
        the verdicts' share, each counted by the inverse of its audit's rate, with the Beta
        posterior that Clopper-Pearson's bound is a quantile of (Jeffreys' prior) at the effective
        number of verdicts.
        """
        judged = np.array(self._judged, dtype=float).reshape(-1, 5)
        band = np.searchsorted(-edges, -self._weighed(judged[:, :2]), side="left")
        weight, wrong = 1 / judged[:, 2], 1 - judged[:, 3]
        total, squared, bad = (
            np.bincount(band, weights=column, minlength=len(edges) + 1)[: len(edges)]
            for column in (weight, weight**2, weight * wrong)
        )
        some = np.where(total > 0, total, 1)
        count = total**2 / np.where(squared > 0, squared, 1)
        wrongs = count * bad / some
        above = np.searchsorted(-scores, -edges, side="right") / len(scores)
        share = np.diff(above, prepend=0.0)
        draws = self._draws.beta(wrongs + 0.5, count - wrongs + 0.5, size=(_DRAWS, len(edges)))
        bounds: Floats = np.quantile(np.cumsum(draws * share, axis=1), CONFIDENCE, axis=0)
        return bounds


def _at_share(scores: Floats, share: float) -> float:
    """The score that this share of `scores`, sorted downwards, reaches."""
    return float(scores[max(1, int(share * len(scores))) - 1])


def _design(pairs: Floats) -> Floats:
    """Intercept, logit of the score and nearness of the cosine, shape (n, 3)."""
    score = np.clip(pairs[:, 0], 1e-9, 1 - 1e-9)
    nearness = -np.log(np.maximum(1.0005 - pairs[:, 1], 1e-4))
    return np.column_stack([np.ones(len(pairs)), np.log(score / (1 - score)), nearness])


def _fit_weights(pairs: Floats, right: Floats, start: Floats | None) -> Floats:
    """Logistic weights of the verdicts, drawn to the verifier alone where there are few."""
    columns = _design(pairs)
    weights = _VERIFIER_ALONE if start is None else start
    for _ in range(4):  # Newton's steps, from where the last verdicts left off
        chance = _sigmoid(columns @ weights)
        slope = columns.T @ (right - chance) - _PRIOR @ (weights - _VERIFIER_ALONE)
        curvature = columns.T @ (columns * (chance * (1 - chance))[:, None]) + _PRIOR
        weights = weights + np.clip(np.linalg.solve(curvature, slope), -2, 2)
    return weights


def _logit(chance: float) -> float:
    inside = min(max(chance, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


def _sigmoid(logits: Floats) -> Floats:
    chances: Floats = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return chances
