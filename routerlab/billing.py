"""What a call costs: before it (estimate), after it (from the usage), and against a budget.

Prices come from genai-prices at a given time. Does not know: how usage was obtained.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import threading
from collections import deque
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from routerlab.catalog import Catalog, ModelSpec
from routerlab.errors import BudgetError, UnknownModel
from routerlab.types import Attempt, CostEstimate, TokenCount, Usage

LEDGER_ROWS = 100_000
"""How many calls a session remembers unless told otherwise."""


def price_time(catalog: Catalog) -> dt.datetime:
    """Noon UTC of the catalog's price date: the time at which simulated calls are priced."""
    return dt.datetime.combine(catalog.price_date, dt.time(12), tzinfo=dt.UTC)


def price(usage: Usage, model: ModelSpec, catalog: Catalog, at: dt.datetime) -> float:
    """USD for a usage, by genai-prices at time `at`; by the catalog where no vendor is named.

    Context-length tiers, cached input (read or written) and dated prices are genai-prices' own;
    reasoning is billed as the output that it is part of. `UnknownModel` where it lists no such
    model.
    """
    provider = catalog.providers[model.provider]
    if provider.price_provider is None:
        return model.list_price(usage.input_tokens, usage.output_tokens)
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    # genai-prices refuses parts above the whole; a provider's slip must not lose the bill.
    read = min(usage.cached_input_tokens, usage.input_tokens)
    priced = PricedUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=read,
        cache_write_tokens=min(usage.cache_write_tokens, usage.input_tokens - read),
        output_tokens=usage.output_tokens,
    )
    try:
        bill = calc_price(
            priced, model.id, provider_id=provider.price_provider, genai_request_timestamp=at
        )
    except LookupError as error:
        raise UnknownModel(
            f"genai-prices has no price for {model.id!r} of {provider.price_provider!r}: update "
            "it (pip install -U genai-prices), or drop price_provider from the provider in "
            "data/catalog.toml so that the catalog's own prices hold"
        ) from error
    return float(bill.total_price)


def estimate(
    tokens: TokenCount, output_tokens: int, model: ModelSpec, most_output: int
) -> CostEstimate:
    """Cost before a call: `output_tokens` expected; between no output and `most_output`.

    At the catalog's prices on its date, no input cached.
    """
    return CostEstimate(
        usd=model.list_price(tokens.tokens, min(output_tokens, most_output)),
        low=model.list_price(tokens.low, 0),
        high=model.list_price(tokens.high, most_output),
    )


def most(
    tokens: TokenCount, most_output: int, model: ModelSpec, catalog: Catalog, at: dt.datetime
) -> float:
    """The most that a call can cost (USD) at time `at`: all its input written to a prompt cache."""
    written = Usage(tokens.high, most_output, cache_write_tokens=tokens.high)
    return price(written, model, catalog, at)


@dataclass(frozen=True)
class LedgerEntry:
    """A call that was billed, and when (UTC)."""

    at: dt.datetime
    attempt: Attempt


class Session:
    """What was spent since a router was made, and what is in flight against its budget (USD).

    Safe to share between tasks and threads. Sums are exact, so `in_flight` is 0.0 when nothing is.
    `attempts` keeps the last `keep` calls, 100,000 unless told otherwise; the oldest fall out, and
    0 keeps none. `cost` and `calls` count all.
    """

    def __init__(self, budget_usd: float | None = None, *, keep: int = LEDGER_ROWS) -> None:
        self.budget_usd = budget_usd
        self._lock = threading.Lock()
        self._cost = Fraction(0)
        self._in_flight = Fraction(0)
        self._calls = 0
        self._attempts: deque[LedgerEntry] = deque(maxlen=keep)

    @property
    def cost(self) -> float:
        """USD billed so far."""
        return float(self._cost)

    @property
    def in_flight(self) -> float:
        """USD set aside for calls that have not been settled."""
        return float(self._in_flight)

    @property
    def calls(self) -> int:
        """Calls settled so far."""
        return self._calls

    @property
    def attempts(self) -> tuple[LedgerEntry, ...]:
        """The calls settled so far, oldest first, as many as are kept."""
        with self._lock:
            return tuple(self._attempts)

    def reserve(self, usd: float) -> None:
        """Set aside the most that a call can cost; `BudgetError` where the budget has not that."""
        asked = Fraction(usd)
        with self._lock:
            taken = self._cost + self._in_flight
            if self.budget_usd is not None and taken + asked > Fraction(self.budget_usd):
                raise BudgetError(
                    f"this call may cost up to ${usd:.6f}; ${self.cost:.6f} of the budget of "
                    f"${self.budget_usd:.2f} is spent and ${self.in_flight:.6f} is in flight: "
                    "raise budget_usd (BUDGET_USD) or shorten the query"
                )
            self._in_flight += asked

    def settle(self, reserved: float, attempt: Attempt) -> None:
        """Give back a reservation and enter what the call really cost, be it more than reserved.

        A bill that takes the cost past the budget closes it: `reserve` then refuses every call.
        """
        entry = LedgerEntry(dt.datetime.now(dt.UTC), attempt)
        with self._lock:
            self._in_flight -= Fraction(reserved)
            self._cost += Fraction(attempt.cost_usd)
            self._calls += 1
            self._attempts.append(entry)


def ledger_rows(session: Session) -> list[dict[str, Any]]:
    """The session's calls as flat rows, oldest first, for a table: one call, one row.

    `time` is UTC; `source` says whose count the usage is; `error` is None where there was none.
    """
    return [
        {
            "time": entry.at,
            "provider": entry.attempt.provider,
            "model": entry.attempt.model,
            "end_state": entry.attempt.end_state,
            **asdict(entry.attempt.usage),
            "cost_usd": entry.attempt.cost_usd,
            "error": entry.attempt.error,
        }
        for entry in session.attempts
    ]


def budget_for(mode: str, budget_usd: float | None = None) -> float | None:
    """The budget of a mode (USD): the one given, else BUDGET_USD for live mode, else none.

    `BudgetError` where live mode has none, or it is not a sum above zero.
    """
    given = os.environ.get("BUDGET_USD", "") if mode == "live" else ""
    if budget_usd is None and given:
        try:
            budget_usd = float(given)
        except ValueError:
            raise BudgetError(f"BUDGET_USD is {given!r}: set a number such as 1.50") from None
    if budget_usd is None and mode == "live":
        raise BudgetError("live mode spends money: pass budget_usd=… or set BUDGET_USD")
    if budget_usd is not None and not (math.isfinite(budget_usd) and budget_usd > 0):
        raise BudgetError(f"a budget is a sum above zero in USD, got {budget_usd}")
    return budget_usd
