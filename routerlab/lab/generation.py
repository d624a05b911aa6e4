"""An LLM writes benchmark queries to the rubric, as structured output, under a budget.

Writes to the results folder; the committed set in data/ is never touched. Does not know: how good
the queries are (a person reads them before they replace the committed set).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from routerlab import billing, tokens
from routerlab.errors import DataError
from routerlab.files import DATA_DIR
from routerlab.lab.queries import QUERIES_A_TIER, LabelledQuery
from routerlab.providers import ChatRequest
from routerlab.query import Message
from routerlab.router import LLMRouter
from routerlab.types import TIERS, CostEstimate, Tier

RUBRIC_FILE = DATA_DIR / "complexity-rubric.md"
TOKENS_A_QUERY = 100
"""Expected output tokens of one query with its domain, hidden reasoning included."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["queries"],
    "properties": {
        "queries": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text", "domain"],
                "properties": {"text": {"type": "string"}, "domain": {"type": "string"}},
            },
        }
    },
}
_ASK = (
    "Write {count} queries of the tier '{tier}' that different people might send to an assistant. "
    "Spread them over at least 12 domains. Let length not give the tier away: from three words to "
    "a hundred in every tier. Some are terse, some ramble, some paste text or code. None depends "
    "on today's date. Answer as JSON."
)


def _request(router: LLMRouter, model: str, tier: Tier) -> ChatRequest:
    rubric = RUBRIC_FILE.read_text(encoding="utf-8")
    return ChatRequest(
        model=router.catalog.model(model),
        messages=(
            Message("system", rubric),
            Message("user", _ASK.format(count=QUERIES_A_TIER, tier=tier)),
        ),
        max_output_tokens=4 * TOKENS_A_QUERY * QUERIES_A_TIER,
        json_schema=SCHEMA,
    )


def estimate_generation(router: LLMRouter, model: str) -> CostEstimate:
    """What the whole benchmark set would cost (USD); calls nothing."""
    parts = []
    for tier in TIERS:
        request = _request(router, model, tier)
        count = tokens.count_messages(request.messages, request.model)
        expected = TOKENS_A_QUERY * QUERIES_A_TIER
        parts.append(billing.estimate(count, expected, request.model, request.max_output_tokens))
    return CostEstimate(
        sum(p.usd for p in parts), sum(p.low for p in parts), sum(p.high for p in parts)
    )


async def generate_benchmark(router: LLMRouter, model: str) -> tuple[LabelledQuery, ...]:
    """Ask for every tier's queries; `DataError` where an answer is not what was asked for."""
    found: list[LabelledQuery] = []
    for tier in tqdm(TIERS, desc="generating", unit="tier"):
        request = _request(router, model, tier)
        reserved = router.biller.reserve(request)
        answer = None
        try:
            answer = await router.hub.provider(request.model).complete(request)
        finally:
            router.biller.settle(
                request,
                reserved,
                answer.end_state if answer else "error",
                answer.usage if answer else None,
                answer.text if answer else "",
            )
        found += _parsed(answer.text, tier)
    return tuple(found)


def _parsed(text: str, tier: Tier) -> Sequence[LabelledQuery]:
    try:
        rows = json.loads(text)["queries"]
        queries = [
            LabelledQuery(
                id=f"generated-{tier}-{number:02}",
                text=row["text"].strip(),
                tier=tier,
                domain=row["domain"],
                family=f"generated-{tier}-{number:02}",
            )
            for number, row in enumerate(rows, 1)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the {tier} queries came back malformed ({error!r}): run again") from error
    if len(queries) != QUERIES_A_TIER:
        raise DataError(f"asked for {QUERIES_A_TIER} {tier} queries, got {len(queries)}: run again")
    return queries
