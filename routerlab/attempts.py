"""One call to one model: the request, its reservation against the budget, and its bill.

Shared by whole and streamed answers. Does not know: adapters, caching, how models were chosen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from routerlab import billing, tokens
from routerlab.billing import Session
from routerlab.catalog import Catalog
from routerlab.errors import MissingKey, ProviderError
from routerlab.providers.base import ChatRequest
from routerlab.types import Attempt, EndState, Mode, Usage

NOTHING_USED = Usage(0, 0)


@dataclass(frozen=True)
class Biller:
    """Reserves before a call and settles after it, in one session."""

    catalog: Catalog
    session: Session
    mode: Mode

    def reserve(self, request: ChatRequest) -> float:
        """Set aside the most that this call can cost (USD); `BudgetError` beyond the budget.

        `UnknownModel` where the model has no price: before the call, not after it.
        """
        count = tokens.count_messages(request.messages, request.model)
        limit = request.max_output_tokens
        most = billing.most(count, limit, request.model, self.catalog, self._price_time())
        self.session.reserve(most)
        return most

    def settle(
        self,
        request: ChatRequest,
        reserved: float,
        end_state: EndState,
        usage: Usage | None,
        text: str,
        error: str | None = None,
    ) -> Attempt:
        """Bill the call by the provider's usage; by token counts where there is none."""
        billed = usage or self._counted(request, end_state, text)
        attempt = Attempt(
            model=request.model.id,
            provider=request.model.provider,
            end_state=end_state,
            usage=billed,
            cost_usd=billing.price(billed, request.model, self.catalog, self._price_time()),
            error=error,
        )
        self.session.settle(reserved, attempt)
        return attempt

    def _counted(self, request: ChatRequest, end_state: EndState, text: str) -> Usage:
        if end_state == "error" and not text:
            return NOTHING_USED  # refused before it began: providers do not bill that
        return Usage(
            input_tokens=tokens.count_messages(request.messages, request.model).tokens,
            output_tokens=tokens.count_answer(text, request.model).tokens,
            source="estimated" if end_state in ("complete", "truncated") else "partial",
        )

    def _price_time(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) if self.mode == "live" else billing.price_time(self.catalog)


def total_usage(attempts: Sequence[Attempt]) -> Usage:
    """Usage of the attempt that answered, the last; earlier ones count in the cost alone."""
    return attempts[-1].usage if attempts else replace(NOTHING_USED, source="cache")


def all_failed(errors: Sequence[ProviderError]) -> ProviderError:
    """One error for a request that no model answered."""
    if len(errors) == 1 or all(isinstance(e, MissingKey) for e in errors):
        return errors[0]
    last = errors[-1]
    reasons = "; ".join(str(error) for error in errors)
    return ProviderError(
        f"no model answered, {len(errors)} were tried: {reasons}",
        provider=last.provider,
        model=last.model,
        retryable=last.retryable,
        partial_text=last.partial_text,
    )
