"""Policies: from what is known of a query to an ordered choice of models.

Does not know: how the tier was found, prices at a time (it ranks by the catalog's), any provider.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from routerlab.catalog import Catalog, ModelSpec
from routerlab.embedding import Vectors
from routerlab.types import TIERS, Tier


@dataclass(frozen=True)
class PolicyInput:
    """What a policy may look at: the judged text, its unit vector and the tier probabilities."""

    text: str
    vector: Vectors
    probabilities: Mapping[Tier, float]


@dataclass(frozen=True)
class Choice:
    """A tier and models in order of preference: the first answers, the others are fallbacks."""

    tier: Tier
    models: tuple[ModelSpec, ...]


class Policy(Protocol):
    """Chooses models for a query. `id` enters the cache scope: other policy, other answers."""

    @property
    def id(self) -> str:
        """Name of the policy with its parameters."""

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """The models to try, best first."""


UNDER_ROUTING_COST = 1.25
"""What it costs to send a query too low, where too high costs 1: the one knob of the trade-off."""


def likeliest_tier(probabilities: Mapping[Tier, float]) -> Tier:
    """The tier of the highest probability; the easier one of equals."""
    return max(TIERS, key=lambda tier: probabilities[tier])


def cheapest_mistake(probabilities: Mapping[Tier, float], under_routing_cost: float) -> Tier:
    """The tier of the least expected cost of a mistake; the easier one of equals.

    A query sent too high costs 1, one sent too low `under_routing_cost`; at 1 it is the likeliest.
    """

    def expected(chosen: int) -> float:
        over = sum(probabilities[tier] for tier in TIERS[:chosen])
        under = sum(probabilities[tier] for tier in TIERS[chosen + 1 :])
        return over + under_routing_cost * under

    return TIERS[min(range(len(TIERS)), key=expected)]


def _with_fallbacks(first: ModelSpec, tier: Tier, catalog: Catalog) -> Choice:
    # A fallback must be able to answer: same tier first, then the tiers above; other vendors first.
    able = [m for t in TIERS[TIERS.index(first.tier) :] for m in catalog.of_tier(t) if m != first]
    able.sort(key=lambda m: m.provider == first.provider)
    return Choice(tier, (first, *able[:3]))


@dataclass(frozen=True)
class TierPolicy:
    """The cheapest model of the tier that `cheapest_mistake` chooses."""

    under_routing_cost: float = UNDER_ROUTING_COST

    @property
    def id(self) -> str:
        """`tier`, with the cost where it is not the default."""
        cost = self.under_routing_cost
        return "tier" if cost == UNDER_ROUTING_COST else f"tier:under_routing_cost={cost:g}"

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """Cheapest model of the tier; fallbacks never serve a lower tier."""
        tier = cheapest_mistake(known.probabilities, self.under_routing_cost)
        return _with_fallbacks(catalog.of_tier(tier)[0], tier, catalog)


@dataclass(frozen=True)
class FixedPolicy:
    """Always the same model: a baseline, or a user's own choice."""

    model_id: str

    @property
    def id(self) -> str:
        """`fixed:` and the model."""
        return f"fixed:{self.model_id}"

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """The fixed model, whatever the query; `UnknownModel` where the catalog has it not."""
        tier = likeliest_tier(known.probabilities)
        return _with_fallbacks(catalog.model(self.model_id), tier, catalog)


@dataclass(frozen=True)
class RandomPolicy:
    """A model drawn evenly, the same one for the same text and seed: a baseline."""

    seed: int

    @property
    def id(self) -> str:
        """`random:` and the seed."""
        return f"random:{self.seed}"

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """A model drawn by seed and text alone, so that order and concurrency do not matter."""
        drawn = random.Random(f"{self.seed}:{known.text}").choice(catalog.models)
        return _with_fallbacks(drawn, likeliest_tier(known.probabilities), catalog)


def always_cheapest(catalog: Catalog) -> FixedPolicy:
    """The baseline that sends all to the model whose typical answer costs least."""
    return FixedPolicy(min(catalog.models, key=_reference_cost).id)


def always_strongest(catalog: Catalog) -> FixedPolicy:
    """The baseline that sends all to the dearest model, a careful buyer's default."""
    return FixedPolicy(max(catalog.models, key=_reference_cost).id)


def _reference_cost(model: ModelSpec) -> float:
    return model.list_price(1_000, 1_000)
