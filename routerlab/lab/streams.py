"""Streams of questions against a filling cache, by arm: what is served, and what of it is wrong.

Every miss stores its own text, as the router does. The nearest stored question is looked up in a
table of neighbours that all arms share, so that an arm takes a second and not a minute; a test
holds that the real cache decides the same. Does not know: where the questions come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cache import DEFAULT_THRESHOLD, LEAST_COSINE
from routerlab.cache.controller import ThresholdController
from routerlab.cache.reading import is_time_sensitive
from routerlab.cache.verifier import SameAnswerVerifier
from routerlab.embedding import Embedder
from routerlab.lab import metrics
from routerlab.lab.answerpairs import Questions
from routerlab.lab.metrics import Floats
from routerlab.lab.parallel import each

NEIGHBOURS = 24
QUARTERS = 4
_BLOCK = 500


@dataclass
class Stream:
    """Questions in order, with their nearest earlier ones; scores are kept once computed.

    `near`, `cosines`: shape (n, NEIGHBOURS), -1 where there is no earlier one near enough.
    """

    texts: list[str]
    answers: NDArray[np.int64]
    near: NDArray[np.int64]
    cosines: Floats
    verifier: SameAnswerVerifier
    scores: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    @cached_property
    def earlier(self) -> list[list[int]]:
        """The nearest earlier questions of each, nearest first."""
        return [[j for j in row if j >= 0] for row in self.near.tolist()]

    @cached_property
    def dated(self) -> list[bool]:
        """Whether a question's answer depends on the time."""
        return [is_time_sensitive(text) for text in self.texts]

    def score(self, row: int, column: int) -> float:
        """The verifier's score of a question with one of its neighbours."""
        key = row, column
        if key not in self.scores:
            stored = self.texts[self.near[row, column]]
            cosine = float(self.cosines[row, column])
            self.scores[key] = self.verifier.score(self.texts[row], stored, cosine)
        return self.scores[key]


@dataclass(frozen=True)
class Arm:
    """One way to decide: `verified` by the verifier's score or by cosine; None serves nothing."""

    name: str
    verified: bool
    controller: Callable[[], ThresholdController] | None


@dataclass(frozen=True)
class Served:
    """What an arm did with each question of a stream, shape (n,), and how many it had judged."""

    hit: NDArray[np.bool_]
    right: NDArray[np.bool_]
    audits: int

    @property
    def false(self) -> NDArray[np.bool_]:
        """Served a wrong answer."""
        return self.hit & ~self.right


def arms(threshold: float, cautious: float, max_false_hit_rate: float, seed: int) -> list[Arm]:
    """No cache and exact matches, static cosines, and ours: whole and with a part left out.

    `threshold`: as calibrated for the rate; `cautious`: where audited arms start.
    """

    def controlled(start: float, *, audited: bool) -> Callable[[], ThresholdController]:
        return partial(
            ThresholdController,
            start,
            max_false_hit_rate=max_false_hit_rate,
            audited=audited,
            seed=seed,
        )

    return [
        Arm("none", False, None),
        Arm("exact", False, controlled(np.inf, audited=False)),
        *(Arm(f"static_{c:g}", False, controlled(c, audited=False)) for c in (0.8, 0.9, 0.95)),
        Arm("no_verifier", False, controlled(DEFAULT_THRESHOLD, audited=True)),
        Arm("no_controller", True, controlled(threshold, audited=False)),
        Arm("whole", True, controlled(cautious, audited=True)),
    ]


def make_stream(questions: Questions, verifier: SameAnswerVerifier, embedder: Embedder) -> Stream:
    """A stream of the questions in their order."""
    vectors = embedder.encode(questions.texts)
    n = len(vectors)
    near = np.full((n, NEIGHBOURS), -1, dtype=np.int64)
    cosines = np.full((n, NEIGHBOURS), -1.0)
    for start in range(0, n, _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[: start + _BLOCK].T
        for row, scores in enumerate(block, start):
            earlier = scores[:row]
            close = np.flatnonzero(earlier >= LEAST_COSINE)
            best = close[np.argsort(-earlier[close], kind="stable")][:NEIGHBOURS]
            near[row, : len(best)], cosines[row, : len(best)] = best, earlier[best]
    return Stream(questions.texts, questions.answers, near, cosines, verifier)


def run_arm(stream: Stream, arm: Arm) -> Served:
    """Serve the stream by one arm, with the labels as judge."""
    n = len(stream.texts)
    stored = bytearray(n)  # read by the row: far quicker than an array
    hit, right = (np.zeros(n, dtype=bool) for _ in range(2))
    by_text: dict[str, int] = {}
    audits = 0
    controller = arm.controller() if arm.controller else None
    for row, text in enumerate(stream.texts):
        if controller is None:
            continue
        same = by_text.get(text.strip())
        if same is not None:
            hit[row], right[row] = True, stream.answers[same] == stream.answers[row]
            continue
        if stream.dated[row]:
            continue
        column = next((c for c, j in enumerate(stream.earlier[row]) if stored[j]), None)
        cosine = 0.0 if column is None else float(stream.cosines[row, column])
        score = None
        if column is not None:
            score = stream.score(row, column) if arm.verified else cosine
        decision = controller.decide(score, cosine)
        if score is not None:
            agrees = bool(stream.answers[stream.near[row, column]] == stream.answers[row])
            if decision.audit:
                controller.learn(score, cosine, agrees, decision.rate)
                audits += 1
            if decision.hit:
                hit[row], right[row] = True, agrees
                continue
        stored[row] = True
        by_text[text.strip()] = row
    return Served(hit, right, audits)


def summarize(found: Sequence[Served]) -> dict[str, Any]:
    """Rates over seeds, as in the report; those of false hits also by quarter of the stream."""
    quarters = [np.array_split(one.false, QUARTERS) for one in found]
    values = {
        "hit_rate": [one.hit.mean() for one in found],
        "false_hit_rate": [one.false.mean() for one in found],
        "correct_hit_rate": [one.right.mean() for one in found],
        "audits": [float(one.audits) for one in found],
    }
    return {
        **{name: metrics.over_seeds(runs).as_dict() for name, runs in values.items()},
        "false_hit_rate_by_quarter": [
            metrics.over_seeds([parts[q].mean() for parts in quarters]).as_dict()
            for q in range(QUARTERS)
        ],
    }


def sweep(
    streams: Sequence[Stream], verified: bool, thresholds: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Threshold, hit rate and false-hit rate with the threshold frozen, mean over streams."""
    frozen = [Arm("frozen", verified, partial(ThresholdController, one)) for one in thresholds]
    by_stream = _run(streams, frozen)
    rates = np.mean([[(s.hit.mean(), s.false.mean()) for s in one] for one in by_stream], axis=0)
    return [(one, hit, false) for one, (hit, false) in zip(thresholds, rates.tolist(), strict=True)]


def run_arms(streams: Sequence[Stream], all_arms: Sequence[Arm]) -> Mapping[str, list[Served]]:
    """Every arm on every stream."""
    by_stream = _run(streams, all_arms)
    return {arm.name: [one[place] for one in by_stream] for place, arm in enumerate(all_arms)}


def _run(streams: Sequence[Stream], all_arms: Sequence[Arm]) -> list[list[Served]]:
    """By stream, then arm; what was scored stays known to the stream."""
    found = each(partial(_on_stream, all_arms), streams, desc="streams", unit="stream")
    for stream, (_, scores) in zip(streams, found, strict=True):
        stream.scores.update(scores)
    return [served for served, _ in found]


def _on_stream(
    all_arms: Sequence[Arm], stream: Stream
) -> tuple[list[Served], dict[tuple[int, int], float]]:
    return [run_arm(stream, arm) for arm in all_arms], stream.scores
