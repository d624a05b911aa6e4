"""The policy that learned from outcomes: the model of the best expected score less its price.

Does not know: how the scores were learned, how the tier was found, any provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from routerlab.catalog import Catalog, ModelSpec
from routerlab.outcome_model import OutcomeModel
from routerlab.policies import Choice, PolicyInput, likeliest_tier


@dataclass(frozen=True)
class OutcomePolicy:
    """Models by `expected score - score_per_usd * typical cost`, best first.

    `served_by` names, for each model of the outcomes, the catalog's model that takes its place;
    `score_per_usd` is what a dollar must buy: 0 asks for quality alone.
    """

    model: OutcomeModel
    served_by: Mapping[str, str]
    score_per_usd: float

    def __post_init__(self) -> None:
        if missing := [name for name in self.model.models if name not in self.served_by]:
            raise ValueError(f"served_by must name a catalog model for {', '.join(missing)}")
        if not self.score_per_usd >= 0:
            raise ValueError(f"score_per_usd is {self.score_per_usd}: it must be 0 or more")

    @property
    def id(self) -> str:
        """`outcome:`, the fitted numbers, who serves what, and the price of quality."""
        serving = ",".join(self.served_by[name] for name in self.model.models)
        return f"outcome:{self.model.digest}:{serving}:score_per_usd={self.score_per_usd:g}"

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """All served models, the best first; `UnknownModel` where the catalog lacks one."""
        (scores,) = self.model.predict([known.text], known.vector[None])
        worth: dict[ModelSpec, float] = {}
        for name, score in zip(self.model.models, scores, strict=True):
            served = catalog.model(self.served_by[name])
            value = float(score) - self.score_per_usd * catalog.cost_of(served)
            worth[served] = max(value, worth.get(served, value))
        ranked = sorted(worth, key=lambda served: worth[served], reverse=True)
        return Choice(likeliest_tier(known.probabilities), tuple(ranked))
