"""The threshold as a controller: a running, audited bound on the false-hit rate.

Each look-up offers the score of its best candidate. Some decisions are audited: a `Judge` says
whether the stored answer would have been right. From the verdicts on recent look-ups the threshold
is set so low that the upper bound of false hits a look-up just stays under the rate asked for. The
claim is that bound, audited and running; it is no proof about the next query. Without verdicts the
threshold stays where it was calibrated offline. Does not know: texts, vectors, who judges.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
TOP_BAND = 0.01
"""Share of look-ups in the band of the highest scores."""
BANDS = 8
"""Bands of score in which the share of wrong answers is taken to be even."""
CONFIDENCE = 0.95
_DRAWS = 400
_UPDATE_EVERY = 50


class Judge(Protocol):
    """Says whether a stored answer serves a text: labels in the lab, a model in live mode."""

    async def same_answer(self, asked: str, source: str, answer: str) -> bool | None:
        """True where `answer`, given to `source`, is right and complete for `asked` too.

        None for no verdict (out of budget, no answer): then nothing is learnt.
        """


@dataclass(frozen=True)
class Decision:
    """Whether to serve, and whether to have the decision judged."""

    hit: bool
    audit: bool


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
        if not 0 < max_false_hit_rate < 1:
            raise ValueError(f"max_false_hit_rate lies between 0 and 1, got {max_false_hit_rate}")
        if np.isnan(threshold):
            raise ValueError("threshold is not a number")
        self.threshold = threshold
        self.max_false_hit_rate = max_false_hit_rate
        self.audited = audited
        self.verdicts = 0
        self._scores: deque[float] = deque(maxlen=WINDOW)
        self._judged: deque[tuple[float, bool]] = deque(maxlen=MOST_VERDICTS)
        self._floor = -np.inf
        self._looked_up = 0
        self._random = random.Random(seed)
        self._draws = np.random.default_rng(seed)

    def decide(self, score: float | None) -> Decision:
        """Serve or not, given the best candidate's score (None: there is none)."""
        if not self.audited:
            return Decision(score is not None and score >= self.threshold, audit=False)
        self._scores.append(-np.inf if score is None else score)
        self._looked_up += 1
        if self._looked_up % _UPDATE_EVERY == 0:
            self._update()
        if score is None:
            return Decision(hit=False, audit=False)
        hit = score >= self.threshold
        if self.verdicts < LEAST_VERDICTS:
            rate = 1.0 if hit or score >= self._floor else 0.0
        else:
            of_hits = EARLY_HIT_AUDITS if self.verdicts < MOST_VERDICTS else HIT_AUDITS
            rate = of_hits if hit else NEAR_HIT_AUDITS if score >= self._floor else 0.0
        return Decision(hit, audit=self._random.random() < rate)

    def learn(self, score: float, right: bool) -> None:
        """Take in a verdict on an audited decision."""
        self._judged.append((score, right))
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

    def _update(self) -> None:
        scores = np.sort(np.array(self._scores))[::-1]
        if self.verdicts < LEAST_VERDICTS:
            self._floor = _at_share(scores, FIRST_JUDGED)
            return
        ranks = (np.geomspace(TOP_BAND, MOST_SERVED, BANDS) * len(scores)).astype(int)
        edges = np.unique(scores[np.clip(ranks, 1, len(scores)) - 1])[::-1]
        edges = edges[np.isfinite(edges)]
        if len(edges) == 0:
            return
        fits = np.flatnonzero(self._bounds(scores, edges) > self.max_false_hit_rate)
        lowest = len(edges) if len(fits) == 0 else int(fits[0])
        self.threshold = float(edges[lowest - 1]) if lowest else np.inf
        # As many look-ups again below the threshold as above it: where it may go next.
        served = float((scores >= self.threshold).mean())
        self._floor = _at_share(scores, min(MOST_SERVED, max(2 * served, LEAST_JUDGED)))

    def _bounds(
        self, scores: NDArray[np.float64], edges: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Upper bound of false hits a look-up, were the threshold at each of the edges.

        How many look-ups fall into a band of scores is known; how many of them would be wrong is
        the verdicts' share, with the Beta posterior that Clopper-Pearson's bound is a quantile of
        (Jeffreys' prior). Whether a decision is judged depends on its score alone, so within a
        band the verdicts are a fair sample, however often each side of the threshold is audited.
        """
        judged = np.array(self._judged)
        band = np.searchsorted(-edges, -judged[:, 0], side="left")
        count = np.bincount(band, minlength=len(edges) + 1)[: len(edges)]
        wrong = np.bincount(band, weights=1 - judged[:, 1], minlength=len(edges) + 1)[: len(edges)]
        above = np.searchsorted(-scores, -edges, side="right") / len(scores)
        share = np.diff(above, prepend=0.0)
        draws = self._draws.beta(wrong + 0.5, count - wrong + 0.5, size=(_DRAWS, len(edges)))
        bounds: NDArray[np.float64] = np.quantile(
            np.cumsum(draws * share, axis=1), CONFIDENCE, axis=0
        )
        return bounds


def _at_share(scores: NDArray[np.float64], share: float) -> float:
    """The score that this share of `scores`, sorted downwards, reaches."""
    return float(scores[max(1, int(share * len(scores))) - 1])
