"""One structured question on the rubric to one model; who can be asked, at what cost.

Does not know: what is asked, or what is made of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from routerlab import billing, tokens
from routerlab.catalog import Catalog, ModelSpec
from routerlab.errors import MissingKey
from routerlab.files import DATA_DIR
from routerlab.providers import ChatRequest
from routerlab.providers.endpoints import Endpoints
from routerlab.query import Message
from routerlab.types import CostEstimate

RUBRIC_FILE = DATA_DIR / "complexity-rubric.md"


def rubric_request(
    catalog: Catalog, model: str, text: str, schema: Mapping[str, Any], most_tokens: int
) -> ChatRequest:
    """A question to a model that reads the rubric first and answers by a JSON schema."""
    return ChatRequest(
        model=catalog.model(model),
        messages=(
            Message("system", RUBRIC_FILE.read_text(encoding="utf-8")),
            Message("user", text),
        ),
        max_output_tokens=most_tokens,
        json_schema=schema,
    )


def total_estimate(requests: Iterable[ChatRequest], output_tokens: int) -> CostEstimate:
    """What the calls would cost (USD) if each answered in `output_tokens`; calls nothing."""
    parts = []
    for request in requests:
        count = tokens.count_messages(request.messages, request.model)
        most = request.max_output_tokens
        parts.append(billing.estimate(count, output_tokens, request.model, most))
    return CostEstimate(
        sum(p.usd for p in parts), sum(p.low for p in parts), sum(p.high for p in parts)
    )


def model_at_hand(preferred: str, catalog: Catalog, endpoints: Endpoints) -> str:
    """The preferred model, or the nearest to it in price among those whose provider has a key.

    `MissingKey` names the preferred provider's variable where no provider has one.
    """
    price = catalog.model(preferred).list_price(1_000, 1_000)

    def distance(model: ModelSpec) -> tuple[bool, float]:
        return model.id != preferred, abs(math.log(model.list_price(1_000, 1_000) / price))

    missing: MissingKey | None = None
    for model in sorted(catalog.models, key=distance):
        try:
            endpoints.connect(catalog.providers[model.provider])
        except MissingKey as error:
            missing = missing or error
            continue
        return model.id
    assert missing is not None
    raise missing
