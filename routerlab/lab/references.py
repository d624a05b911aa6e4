"""Checks against figures that others published: token counts and a bill; and streaming overhead.

Does not know: the report's form beyond its own lists.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import trange

from routerlab import billing, tokens
from routerlab.catalog import Catalog, load_catalog
from routerlab.lab import metrics
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.metrics import Metric
from routerlab.lab.serverprocess import server_process
from routerlab.policies import FixedPolicy
from routerlab.providers.openai_chat import _usage
from routerlab.router import LLMRouter
from routerlab.streaming import StreamingRouter

# The example messages of OpenAI's cookbook "How to count tokens with tiktoken", whose counts by
# the API are published there.
COOKBOOK_MESSAGES = (
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate "
        "jargon into plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities "
        "for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client "
        "deliverable.",
    },
)
COOKBOOK_COUNTS = {"cl100k_base": 129, "o200k_base": 124}
# A published xAI bill, at 1.25 / 0.20 / 2.50 USD per million input / cached / output tokens, in the
# form of the reply: reasoning stands outside completion_tokens and inside the total.
XAI_MODEL = "grok-4.3"
XAI_USAGE = {
    "prompt_tokens": 10_120,
    "completion_tokens": 1_499,
    "total_tokens": 10_120 + 1_499 + 2_809,
    "prompt_tokens_details": {"cached_tokens": 128},
    "completion_tokens_details": {"reasoning_tokens": 2_809},
}
XAI_USD = 0.0232856
OVERHEAD_CHUNKS = 2_000
OVERHEAD_MODEL = "gpt-6-luna"


def references(catalog: Catalog | None = None) -> list[dict[str, Any]]:
    """Published figures and ours: `name`, `expected`, `got`."""
    found: list[dict[str, Any]] = [
        {"name": f"cookbook messages, {name}", "expected": expected, "got": _counted(name)}
        for name, expected in COOKBOOK_COUNTS.items()
    ]
    bill = _xai_bill(catalog or load_catalog())
    return [*found, {"name": "xAI bill (USD)", "expected": XAI_USD, "got": bill}]


def _xai_bill(catalog: Catalog) -> float:
    """What the adapter makes of the reply's usage, billed as a call would be."""
    from openai.types import CompletionUsage

    usage = _usage(CompletionUsage.model_validate(XAI_USAGE))
    assert usage is not None
    # The catalog's xAI model in all but its name, which is what its price hangs on.
    model = replace(next(m for m in catalog.models if m.provider == "xai"), id=XAI_MODEL)
    return billing.price(usage, model, catalog, billing.price_time(catalog))


def _counted(encoding: str) -> int:
    return tokens.count_chat(COOKBOOK_MESSAGES, encoding)


async def streaming_overhead(
    catalog: Catalog, *, pairs: int, seed: int, model_dir: Path, chunks: int = OVERHEAD_CHUNKS
) -> Metric:
    """Time of a stream through `StreamingRouter` over the raw SDK's, without delays, in pairs.

    The server has a process of its own; the router's time includes its decision. Median over the
    pairs with a bootstrap interval.
    """
    import openai

    ratios = []
    with server_process(words=chunks, seed=seed) as server:
        endpoints = ServerEndpoints(server)
        connection = endpoints.connect(catalog.provider_of(OVERHEAD_MODEL))
        router = LLMRouter(
            endpoints=endpoints,
            catalog=catalog,
            model_dir=model_dir,
            policy=FixedPolicy(OVERHEAD_MODEL),
            cache=None,
            max_output_tokens=2 * chunks,
        )
        async with openai.AsyncOpenAI(
            base_url=connection.base_url, api_key=connection.api_key
        ) as client:

            async def raw(query: str) -> None:
                stream = await client.chat.completions.create(
                    model=OVERHEAD_MODEL,
                    messages=[{"role": "user", "content": query}],
                    stream=True,
                    stream_options={"include_usage": True},
                    max_completion_tokens=2 * chunks,
                )
                async for _ in stream:
                    pass

            async def routed(query: str) -> None:
                async with aclosing(StreamingRouter(router).route_query_stream(query)) as stream:
                    async for _ in stream:
                        pass

            for number in trange(-1, pairs, desc="streaming overhead", unit="pair"):
                timed = {}
                order = (raw, routed) if number % 2 else (routed, raw)
                for run in order:
                    began = time.perf_counter()
                    await run(f"tell me a long story, number {number}")
                    timed[run.__name__] = time.perf_counter() - began
                if number >= 0:  # the first pair opens connections and loads the model
                    ratios.append(timed["routed"] / timed["raw"])
        await router.aclose()
    return metrics.quantile(np.array(ratios), 0.5, seed=seed)
