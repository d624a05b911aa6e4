"""Sends one traffic through each policy, real SDKs and all, and keeps a row per request.

Does not know: what is made of the rows (`lab.summarize`), or which server answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tqdm import tqdm

from routerlab import billing, tokens
from routerlab.catalog import Catalog
from routerlab.errors import RouterLabError
from routerlab.lab.traffic import Request
from routerlab.policies import Policy, RandomPolicy, TierPolicy, always_cheapest, always_strongest
from routerlab.query import Message
from routerlab.router import LLMRouter
from routerlab.streaming import StreamingRouter
from routerlab.types import Completion, StreamMetadata

ROUTED = "routed"
CONCURRENT = 16
STAGES = ("exact", "encode", "semantic", "classify", "policy")


@dataclass(frozen=True)
class Arm:
    """One way to serve the traffic. With a cache the order of requests matters: one at a time."""

    name: str
    policy: Policy
    cached: bool = False


def arms(catalog: Catalog, seed: int) -> list[Arm]:
    """Routing with and without the cache, and the baselines."""
    return [
        Arm(ROUTED, TierPolicy(), cached=True),
        Arm("routed_no_cache", TierPolicy()),
        Arm("always_strongest", always_strongest(catalog)),
        Arm("always_cheapest", always_cheapest(catalog)),
        Arm("random", RandomPolicy(seed)),
    ]


def estimate_usd(traffic: Sequence[Request], catalog: Catalog, seed: int) -> float:
    """What all arms together would cost if the cache never helped; calls nothing.

    Tier labels stand in for the classifier, expected answer lengths for the answers.
    """
    strongest = catalog.model(always_strongest(catalog).model_id)
    cheapest = catalog.model(always_cheapest(catalog).model_id)
    usd = 0.0
    for request in traffic:
        routed = catalog.of_tier(request.tier)[0]
        mean_of_all = list(catalog.models)
        for models in ([routed], [routed], [strongest], [cheapest], mean_of_all):
            for model in models:
                count = tokens.count_messages([Message("user", request.text)], model)
                output = catalog.expected_output(model, request.tier)
                usd += billing.estimate(count, output, model, output).usd / len(models)
    return usd


async def run_arm(
    arm: Arm,
    traffic: Sequence[Request],
    make_router: Callable[[Arm], LLMRouter],
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Serve the traffic by one arm; a row a request, in the order of the traffic."""
    router = make_router(arm)
    groups = {request.text.strip(): request.group for request in traffic}
    limit = asyncio.Semaphore(1 if arm.cached else CONCURRENT)
    bar = tqdm(total=len(traffic), desc=arm.name, disable=not progress, unit="request")

    async def serve(request: Request) -> dict[str, Any]:
        async with limit:
            # Streams only where time to first text is measured: whole answers are far cheaper.
            answer = await (_stream_to_end if arm.cached else LLMRouter.complete)(
                router, request.text
            )
            bar.update()
            return _row(arm, request, answer, groups)

    await router.route_query(traffic[0].text)  # loading is not part of any request's time
    try:
        rows = await asyncio.gather(*(serve(request) for request in traffic))
    finally:
        bar.close()
        await router.aclose()
    return pd.DataFrame(rows)


async def _stream_to_end(router: LLMRouter, text: str) -> StreamMetadata:
    metadata: StreamMetadata | None = None
    stream = StreamingRouter(router).route_query_stream(text)
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            metadata = chunk.metadata or metadata
    if metadata is None:
        raise RouterLabError("a stream ended without metadata: please report this")
    return metadata


def _row(
    arm: Arm,
    request: Request,
    answer: StreamMetadata | Completion,
    groups: dict[str, str],
) -> dict[str, Any]:
    decision = answer.decision
    source = decision.cache.source_query
    return {
        "arm": arm.name,
        "mode": answer.mode,
        "number": request.number,
        "family": request.family,
        "group": request.group,
        "kind": request.kind,
        "tier": request.tier,
        "predicted_tier": decision.tier,
        "model": answer.model,
        "provider": answer.provider,
        "cache": decision.cache.status,
        "score": decision.cache.score,
        "false_hit": source is not None and groups[source] != request.group,
        "route_ms": decision.route_ms,
        **{f"{stage}_ms": decision.stages_ms.get(stage) for stage in STAGES},
        "ttft_ms": getattr(answer, "ttft_ms", None),
        "total_ms": answer.total_ms,
        "input_tokens": answer.usage.input_tokens,
        "estimated_input_tokens": decision.input_tokens.tokens,
        "estimate_kind": decision.input_tokens.kind,
        "output_tokens": answer.usage.output_tokens,
        "usage_source": answer.usage.source,
        "cost_usd": answer.cost_usd,
        "attempts": len(answer.attempts),
        "end_state": answer.end_state,
    }
