"""An LLM reads the rubric and labels queries: one more row beside the classifier, in live mode.

Does not know: the classifier, scores, the queries' own labels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from routerlab.catalog import Catalog
from routerlab.errors import DataError
from routerlab.judge import ask
from routerlab.lab.asking import model_at_hand, rubric_request, total_estimate
from routerlab.lab.fitting import Features
from routerlab.providers import ChatRequest
from routerlab.router import LLMRouter
from routerlab.types import TIERS, CostEstimate, Tier, as_tier

LABELLER = "gpt-6.1-terra"
TOKENS_A_LABEL = 60
"""Expected output tokens of one label, hidden reasoning included."""
MOST_TOKENS = 1_000
AT_ONCE = 8
_ANSWER: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tier"],
    "properties": {"tier": {"type": "string", "enum": list(TIERS)}},
}
_ASK = (
    "Which tier does the rubric give this query? Do not answer the query itself.\n\n"
    "<query>\n{}\n</query>"
)


def _request(catalog: Catalog, model: str, text: str) -> ChatRequest:
    return rubric_request(catalog, model, _ASK.format(text), _ANSWER, MOST_TOKENS)


def estimate_labelling(catalog: Catalog, model: str, texts: Sequence[str]) -> CostEstimate:
    """What labelling would cost (USD); calls nothing."""
    return total_estimate((_request(catalog, model, text) for text in texts), TOKENS_A_LABEL)


async def label(router: LLMRouter, model: str, texts: Sequence[str]) -> list[Tier]:
    """The tier of each text by the rubric, each judged alone.

    `BudgetError` before the call that could pass the session's budget, `DataError` for an answer
    that is no tier; the calls that were made are billed all the same.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    with tqdm(total=len(texts), desc="labelling", unit="query") as bar:

        async def one(text: str) -> Tier:
            async with gate:
                answer = await ask(router.hub, router.biller, _request(router.catalog, model, text))
            bar.update()
            return _parsed(answer.text)

        tasks = [asyncio.create_task(one(text)) for text in texts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


async def as_baseline(
    router: LLMRouter, preferred: str, tests: Mapping[str, Features]
) -> dict[str, NDArray[np.int64]]:
    """Tier numbers by set, as `baselines.guesses` gives those of other learners."""
    model = model_at_hand(preferred, router.catalog, router.endpoints)
    return {
        name: np.array([TIERS.index(tier) for tier in await label(router, model, test.texts)])
        for name, test in tests.items()
    }


def _parsed(text: str) -> Tier:
    try:
        return as_tier(json.loads(text)["tier"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"a label came back malformed ({error!r}): run again") from error
