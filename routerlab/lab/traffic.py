"""A seeded stream of requests over the benchmark queries and their variants.

Popularity of queries is Zipf; each request draws the query itself, a paraphrase or a near miss.
Does not know: routing, caching, arrival times.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from routerlab.lab.queries import LabelledQuery, Variant
from routerlab.types import Tier


@dataclass(frozen=True)
class Mix:
    """Shares of what a request holds: the query's own words, a near miss, else a paraphrase."""

    zipf_exponent: float = 0.8
    same_words: float = 0.45
    near_miss: float = 0.10

    def __post_init__(self) -> None:
        if min(self.same_words, self.near_miss) < 0 or self.same_words + self.near_miss > 1:
            raise ValueError(f"same_words and near_miss are shares of one whole, got {self}")


@dataclass(frozen=True)
class Request:
    """One request. Two requests deserve one answer exactly when their `group` is the same.

    `tier` is the label of the benchmark query that the text belongs to; `kind` says how.
    """

    number: int
    text: str
    family: str
    group: str
    tier: Tier
    kind: str


def make_traffic(
    queries: Sequence[LabelledQuery],
    variants: Sequence[Variant],
    *,
    requests: int,
    seed: int,
    mix: Mix | None = None,
) -> list[Request]:
    """Draw a stream; equal arguments give an equal stream."""
    mix = mix or Mix()
    rng = random.Random(seed)
    ranked = list(queries)
    rng.shuffle(ranked)
    weights = [1 / (rank**mix.zipf_exponent) for rank in range(1, len(ranked) + 1)]
    alike: dict[tuple[str, bool], list[Variant]] = defaultdict(list)
    for variant in variants:
        alike[variant.query_id, variant.same_answer].append(variant)
    stream = []
    for number, query in enumerate(rng.choices(ranked, weights, k=requests)):
        draw = rng.random()
        same_answer = draw >= mix.same_words + mix.near_miss
        choice = alike[query.id, same_answer]
        if draw < mix.same_words or not choice:
            text, group, kind = query.text, query.id, "same_words"
        else:
            variant = rng.choice(choice)
            text, kind = variant.text, variant.kind
            group = query.id if same_answer else variant.id
        stream.append(Request(number, text, query.id, group, query.tier, kind))
    return stream
