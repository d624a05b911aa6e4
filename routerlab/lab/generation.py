"""An LLM writes benchmark queries to the rubric, as structured output, under a budget.

Writes to the results folder; the committed set in data/ is never touched. Does not know: how good
the queries are (a person reads them before they replace the committed set).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from routerlab.catalog import Catalog
from routerlab.errors import DataError
from routerlab.judge import ask
from routerlab.lab.asking import rubric_request, total_estimate
from routerlab.lab.queries import QUERIES_A_TIER, LabelledQuery
from routerlab.providers import ChatRequest
from routerlab.router import LLMRouter
from routerlab.types import TIERS, CostEstimate, Tier

GENERATOR = "gpt-6-astra"
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


def _request(catalog: Catalog, model: str, tier: Tier) -> ChatRequest:
    text = _ASK.format(count=QUERIES_A_TIER, tier=tier)
    return rubric_request(catalog, model, text, SCHEMA, 4 * TOKENS_A_QUERY * QUERIES_A_TIER)


def estimate_generation(catalog: Catalog, model: str) -> CostEstimate:
    """What the whole benchmark set would cost (USD); calls nothing."""
    requests = (_request(catalog, model, tier) for tier in TIERS)
    return total_estimate(requests, TOKENS_A_QUERY * QUERIES_A_TIER)


async def generate_benchmark(router: LLMRouter, model: str) -> tuple[LabelledQuery, ...]:
    """Ask for every tier's queries; `DataError` where an answer is not what was asked for."""
    found: list[LabelledQuery] = []
    for tier in tqdm(TIERS, desc="generating", unit="tier"):
        answer = await ask(router.hub, router.biller, _request(router.catalog, model, tier))
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
