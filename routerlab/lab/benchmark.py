"""Sends one traffic through each policy, real SDKs and all, and keeps a row per request.

Does not know: what is made of the rows (`lab.summarize`), or which server answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tqdm import tqdm

from routerlab import billing, tokens
from routerlab.catalog import Catalog
from routerlab.errors import RouterLabError
from routerlab.lab.traffic import Request
from routerlab.policies import (
    Choice,
    Policy,
    PolicyInput,
    RandomPolicy,
    TierPolicy,
    always_cheapest,
    always_strongest,
)
from routerlab.query import Message
from routerlab.router import LLMRouter
from routerlab.streaming import StreamingRouter
from routerlab.types import Completion, RouteDecision, StreamMetadata, Tier

ROUTED = "routed"
CONCURRENT = 16
STAGES = ("exact", "encode", "semantic", "classify", "policy")


@dataclass
class Clock:
    """Seconds of the traffic, by which cached answers age; whoever serves it moves `now`."""

    now: float = 0.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


@dataclass(frozen=True)
class Arm:
    """One way to serve the traffic, with which layers of the cache, how large and how long kept.

    With a cache the order of requests matters: one at a time.
    """

    name: str
    policy: Policy
    exact: bool = False
    semantic: bool = False
    max_entries: int = 100_000
    ttl_s: float | None = 7 * 24 * 3600

    @property
    def cached(self) -> bool:
        """Whether there is a cache at all."""
        return self.exact or self.semantic


@dataclass(frozen=True)
class OraclePolicy:
    """The cheapest model of the tier that the label names: what perfect classification would do."""

    labels: Mapping[str, Tier]
    id: str = "oracle"

    def choose(self, known: PolicyInput, catalog: Catalog) -> Choice:
        """See `Policy`; `KeyError` for a text that was not in the traffic."""
        tier = self.labels[known.text]
        return Choice(tier, tuple(catalog.of_tier(tier)))


def arms(catalog: Catalog, seed: int, traffic: Iterable[Request]) -> list[Arm]:
    """Routing with and without the cache, and the baselines."""
    return [
        Arm(ROUTED, TierPolicy(), exact=True, semantic=True),
        Arm("routed_no_cache", TierPolicy()),
        Arm("always_strongest", always_strongest(catalog)),
        Arm("always_cheapest", always_cheapest(catalog)),
        Arm("random", RandomPolicy(seed)),
        Arm("oracle", OraclePolicy({request.judged_text: request.tier for request in traffic})),
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
        turns = [Message("user", turn) for turn in request.turns]
        asked = [Message("system", request.tenant.system_prompt), *turns]
        for models in ([routed],) * 3 + ([strongest], [cheapest], list(catalog.models)):
            for model in models:
                output = catalog.expected_output(model, request.tier)
                count = tokens.count_messages(asked, model)
                before = model.list_price(len(request.earlier) * output, 0)
                cost = before + billing.estimate(count, output, model, output).usd
                usd += cost / len(models)
    return usd


Routers = Mapping[str, LLMRouter]
"""A router for each tenant, by its name; those of an arm share one cache."""


def group_of(traffic: Iterable[Request]) -> dict[tuple[str, tuple[str, ...]], str]:
    """The group that a stored answer belongs to, by tenant and the user's turns."""
    return {(r.tenant.name, tuple(turn.strip() for turn in r.turns)): r.group for r in traffic}


async def run_arm(
    arm: Arm,
    traffic: Sequence[Request],
    make_routers: Callable[[Arm, Clock], Routers],
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Serve the traffic by one arm; a row a request, in the order of the traffic.

    A turn of a session carries the turns before it with the answers that they got in this arm.
    """
    clock = Clock()
    routers, groups = make_routers(arm, clock), group_of(traffic)
    limit = asyncio.Semaphore(CONCURRENT)
    said: dict[int, list[Message]] = {}
    bar = tqdm(total=len(traffic), desc=arm.name, disable=not progress, unit="request")
    answered = {(r.session, len(r.earlier)): asyncio.Event() for r in traffic}

    async def serve(request: Request) -> dict[str, Any]:
        turn = len(request.earlier)
        if turn:
            await answered[request.session, turn - 1].wait()
        async with limit:
            clock.now = request.at_s
            before = said[request.session] if turn else []
            asked = [*before, Message("user", request.text)]
            router, prompt = routers[request.tenant.name], request.tenant.system_prompt
            # Streams only where time to first text is measured: whole answers are far cheaper.
            text, answer = await (_stream if arm.cached else _complete)(router, asked, prompt)
            said[request.session] = [*asked, Message("assistant", text)]
            answered[request.session, turn].set()
            bar.update()
            return _row(arm, request, answer, groups)

    for router in routers.values():  # loading is not part of any request's time
        await router.route_query(traffic[0].text)
    try:
        if arm.cached:
            rows = [await serve(request) for request in traffic]
        else:
            rows = await asyncio.gather(*(serve(request) for request in traffic))
    finally:
        bar.close()
        for router in routers.values():
            await router.aclose()
    return pd.DataFrame(rows)


async def _complete(
    router: LLMRouter, asked: list[Message], prompt: str
) -> tuple[str, Completion | StreamMetadata]:
    answer = await router.complete(_plain(asked), prompt)
    return answer.text, answer


async def _stream(
    router: LLMRouter, asked: list[Message], prompt: str
) -> tuple[str, Completion | StreamMetadata]:
    metadata: StreamMetadata | None = None
    stream = StreamingRouter(router).route_query_stream(_plain(asked), prompt)
    parts = []
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            parts.append(chunk.content)
            metadata = chunk.metadata or metadata
    if metadata is None:
        raise RouterLabError("a stream ended without metadata: please report this")
    return "".join(parts), metadata


def _plain(asked: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in asked]


def _row(
    arm: Arm,
    request: Request,
    answer: StreamMetadata | Completion,
    groups: Mapping[tuple[str, tuple[str, ...]], str],
) -> dict[str, Any]:
    decision = answer.decision
    return {
        "arm": arm.name,
        "mode": answer.mode,
        **described(request, decision, groups),
        "model": answer.model,
        "provider": answer.provider,
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


def described(
    request: Request,
    decision: RouteDecision,
    groups: Mapping[tuple[str, tuple[str, ...]], str],
) -> dict[str, Any]:
    """The columns of a row that do not depend on who answered."""
    source = decision.cache.source_query
    stored = (request.tenant.name, (*(turn.strip() for turn in request.earlier), source or ""))
    return {
        "number": request.number,
        "at_s": request.at_s,
        "tenant": request.tenant.name,
        "turn": len(request.earlier),
        "family": request.family,
        "group": request.group,
        "kind": request.kind,
        "tier": request.tier,
        "predicted_tier": decision.tier,
        "cache": decision.cache.status,
        "score": decision.cache.score,
        "false_hit": source is not None and groups[stored] != request.group,
    }
