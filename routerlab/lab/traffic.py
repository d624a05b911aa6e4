"""A seeded stream of requests over the benchmark queries and their variants.

Popularity of queries is Zipf within each tier; a session opens with the query itself, a paraphrase
or a near miss, and may go on with follow-ups. Does not know: routing, caching, answers.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from routerlab.lab.queries import LabelledQuery, Variant
from routerlab.query import Conversation, Message
from routerlab.types import TIERS, Tier

Profile = Literal["daily", "bursty", "flat"]
FOLLOW_UP = "follow_up"
LABELLED_KINDS = ("same_words", "paraphrase", FOLLOW_UP)
"""Kinds of requests whose tier is known: a follow-up has that of the turn it continues."""
THINKING_S = 60.0
"""Mean seconds between the turns of a session."""

# A follow-up asks for the same work again, so that the tier of its opening is its own.
FOLLOW_UPS: Mapping[Tier, tuple[str, ...]] = {
    "simple": ("And another one like that?", "Now say that once more, please."),
    "medium": ("Now do the same for a similar case.", "Can you give me another version of that?"),
    "complex": (
        "Now do that for a second site as well, in the same depth.",
        "Go on with the same for our other team, all parts of it.",
    ),
    "reasoning": (
        "Now the same for a second case, step by step.",
        "Check that again from the start, every step.",
    ),
}


@dataclass(frozen=True)
class Tenant:
    """Who asks: answers are never shared between tenants. `share`: of the sessions."""

    name: str
    system_prompt: str
    share: float


TENANTS = (
    Tenant("engineering", "You answer engineers: be exact, name units, show code.", 0.6),
    Tenant("helpdesk", "You answer the general public: plain words, no jargon.", 0.4),
)


@dataclass(frozen=True)
class Mix:
    """What a stream is made of; all but the last two are shares or exponents.

    A session opens in the query's own words, with a near miss, else with a paraphrase; after each
    of its turns, at most `most_follow_ups` times, it goes on with the chance `follow_up`. Sessions
    arrive as a Poisson process of `per_hour` on average, whose rate follows `profile`: `daily`
    swings from a tenth at midnight to the whole at noon, `bursty` is ten times as high in the first
    six minutes of each hour, `flat` does not change.
    """

    zipf_exponent: float = 0.8
    same_words: float = 0.45
    near_miss: float = 0.10
    follow_up: float = 0.15
    tier_shares: Mapping[Tier, float] = field(default_factory=lambda: dict.fromkeys(TIERS, 0.25))
    profile: Profile = "daily"
    per_hour: float = 20.0
    most_follow_ups: int = 2

    def __post_init__(self) -> None:
        if min(self.same_words, self.near_miss) < 0 or self.same_words + self.near_miss > 1:
            raise ValueError(f"same_words and near_miss are shares of one whole, got {self}")
        if not 0 <= self.follow_up <= 1:
            raise ValueError(f"follow_up is a chance from 0 to 1, got {self.follow_up}")
        if min(self.tier_shares.values()) < 0 or not any(self.tier_shares.values()):
            raise ValueError(f"tier_shares are not below 0, one is above, got {self.tier_shares}")
        if not self.per_hour > 0:
            raise ValueError(f"per_hour is above 0, got {self.per_hour}")


@dataclass(frozen=True)
class Request:
    """One request. Two requests of a tenant deserve one answer exactly when their `group` is one.

    `tier` is the label of the benchmark query that the text belongs to; `kind` says how it does.
    `at_s`: seconds since the stream began. `earlier`: the user's turns before, oldest first.
    """

    number: int
    text: str
    family: str
    group: str
    tier: Tier
    kind: str
    at_s: float = 0.0
    tenant: Tenant = TENANTS[0]
    session: int = 0
    earlier: tuple[str, ...] = ()

    @property
    def turns(self) -> tuple[str, ...]:
        """The user's turns, this one last."""
        return (*self.earlier, self.text)

    @property
    def judged_text(self) -> str:
        """What the classifier will read; answers in between do not enter it."""
        return Conversation(tuple(Message("user", turn) for turn in self.turns)).judged_text


def make_traffic(
    queries: Sequence[LabelledQuery],
    variants: Sequence[Variant],
    *,
    requests: int,
    seed: int,
    mix: Mix | None = None,
) -> list[Request]:
    """Draw a stream in the order of arrival; equal arguments give an equal stream."""
    mix = mix or Mix()
    rng = random.Random(seed)
    ranked: dict[Tier, list[LabelledQuery]] = {
        tier: [query for query in queries if query.tier == tier] for tier in TIERS
    }
    for of_tier in ranked.values():
        rng.shuffle(of_tier)
    alike: dict[tuple[str, bool], list[Variant]] = defaultdict(list)
    for variant in variants:
        alike[variant.query_id, variant.same_answer].append(variant)
    arrivals = _arrivals(mix, rng)
    drawn: list[Request] = []
    for session in range(requests):
        opening = replace(
            _opening(ranked, alike, mix, rng),
            at_s=next(arrivals),
            tenant=rng.choices(TENANTS, [tenant.share for tenant in TENANTS])[0],
            session=session,
        )
        drawn += [opening, *_follow_ups(opening, mix, rng)]
    drawn.sort(key=lambda request: request.at_s)
    return [replace(request, number=n) for n, request in enumerate(drawn[:requests])]


def _opening(
    ranked: Mapping[Tier, Sequence[LabelledQuery]],
    alike: Mapping[tuple[str, bool], Sequence[Variant]],
    mix: Mix,
    rng: random.Random,
) -> Request:
    tier = rng.choices(TIERS, [mix.tier_shares.get(tier, 0.0) for tier in TIERS])[0]
    weights = [1 / (rank**mix.zipf_exponent) for rank in range(1, len(ranked[tier]) + 1)]
    query = rng.choices(ranked[tier], weights)[0]
    draw = rng.random()
    same_answer = draw >= mix.same_words + mix.near_miss
    choice = alike.get((query.id, same_answer), ())
    if draw < mix.same_words or not choice:
        return Request(0, query.text, query.id, query.id, tier, "same_words")
    variant = rng.choice(choice)
    group = query.id if same_answer else variant.id
    return Request(0, variant.text, query.id, group, tier, variant.kind)


def _follow_ups(opening: Request, mix: Mix, rng: random.Random) -> Iterator[Request]:
    last = opening
    for _ in range(mix.most_follow_ups):
        if rng.random() >= mix.follow_up:
            return
        text = rng.choice(FOLLOW_UPS[opening.tier])
        last = replace(
            last,
            text=text,
            group=f"{last.group} > {text}",
            # What follows a near miss has no label either.
            kind=FOLLOW_UP if last.kind in LABELLED_KINDS else last.kind,
            at_s=last.at_s + rng.expovariate(1 / THINKING_S),
            earlier=last.turns,
        )
        yield last


def _arrivals(mix: Mix, rng: random.Random) -> Iterator[float]:
    """Seconds of a Poisson process: drawn at its highest rate, then thinned."""
    grid = [_intensity(mix.profile, hour / 100) for hour in range(2_400)]
    highest = mix.per_hour * len(grid) / sum(grid)
    hour = 0.0
    while True:
        hour += rng.expovariate(highest)
        if rng.random() < _intensity(mix.profile, hour):
            yield hour * 3600


def _intensity(profile: Profile, hour: float) -> float:
    if profile == "daily":
        return 0.55 - 0.45 * math.cos(math.tau * hour / 24)
    if profile == "bursty":
        return 1.0 if hour % 1 < 0.1 else 0.1
    return 1.0
