"""What a call costs: before it (estimate), after it (from the usage), and against a budget.

Prices come from genai-prices at a given time. Does not know: how usage was obtained.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from routerlab.catalog import Catalog, ModelSpec
from routerlab.errors import BudgetError
from routerlab.types import Attempt, CostEstimate, TokenCount, Usage


def price_time(catalog: Catalog) -> dt.datetime:
    """Noon UTC of the catalog's price date: the time at which simulated calls are priced."""
    return dt.datetime.combine(catalog.price_date, dt.time(12), tzinfo=dt.UTC)


def price(usage: Usage, model: ModelSpec, catalog: Catalog, at: dt.datetime) -> float:
    """USD for a usage, by genai-prices at time `at`; by the catalog where no vendor is named.

    Context-length tiers, cached input and dated prices are genai-prices' own.
    """
    provider = catalog.providers[model.provider]
    if provider.price_provider is None:
        return model.list_price(usage.input_tokens, usage.output_tokens)
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    priced = PricedUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
    )
    return float(
        calc_price(
            priced, model.id, provider_id=provider.price_provider, genai_request_timestamp=at
        ).total_price
    )


def estimate(
    tokens: TokenCount, output_tokens: int, model: ModelSpec, most_output: int
) -> CostEstimate:
    """Cost before a call: `output_tokens` expected; between no output and `most_output`."""
    return CostEstimate(
        usd=model.list_price(tokens.tokens, output_tokens),
        low=model.list_price(tokens.low, 0),
        high=model.list_price(tokens.high, most_output),
    )


@dataclass
class Session:
    """What was spent since a router was made, and what is in flight against its budget (USD)."""

    budget_usd: float | None = None
    cost: float = 0.0
    calls: int = 0
    in_flight: float = 0.0

    def reserve(self, usd: float) -> None:
        """Set aside the most that a call can cost; `BudgetError` where the budget has not that."""
        if self.budget_usd is not None and self.cost + self.in_flight + usd > self.budget_usd:
            raise BudgetError(
                f"this call may cost up to ${usd:.6f}; ${self.cost:.6f} of the budget of "
                f"${self.budget_usd:.2f} is spent and ${self.in_flight:.6f} is in flight: "
                "raise budget_usd (BUDGET_USD) or shorten the query"
            )
        self.in_flight += usd

    def settle(self, reserved: float, attempt: Attempt) -> None:
        """Give back a reservation and enter what the call really cost."""
        self.in_flight -= reserved
        self.cost += attempt.cost_usd
        self.calls += 1
