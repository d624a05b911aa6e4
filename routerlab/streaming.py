"""`StreamingRouter`: routed answers as they come, wrapped around a router by composition.

Falls back to the next model only before the first text; only complete answers enter the cache;
leaving the loop hangs up. Does not know: how a route is decided, any SDK.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from routerlab.attempts import all_failed, total_usage
from routerlab.errors import ProviderError
from routerlab.pipeline import Routed
from routerlab.providers import ChatRequest, Finished
from routerlab.query import Query
from routerlab.router import LLMRouter
from routerlab.types import Attempt, EndState, StreamChunk, StreamMetadata, Usage

CACHED_CHUNK_CHARS = 48
"""Answers from the cache stream in pieces of this length."""


@dataclass
class _Run:
    """What one stream has seen so far."""

    started: float
    routed: Routed
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[ProviderError] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    ttft_ms: float | None = None
    end_state: EndState = "cancelled"
    usage: Usage | None = None

    def add(self, text: str) -> StreamChunk:
        if self.ttft_ms is None:
            self.ttft_ms = (time.perf_counter() - self.started) * 1e3
        self.parts.append(text)
        return StreamChunk(text)


class StreamingRouter:
    """Streams what its router decides. `router` is used as it is: its cache, policy, session."""

    def __init__(self, router: LLMRouter) -> None:
        self.router = router

    async def route_query_stream(
        self, query: Query, system_prompt: str | None = None
    ) -> AsyncGenerator[StreamChunk]:
        """Pieces of the answer; the last is `done` and carries `metadata`.

        A failure before the first text raises `ProviderError`; after it, the text so far stays and
        the last chunk says `truncated` or `error`. Leave early with `aclose()` (or
        `contextlib.aclosing`): the provider is hung up on and the part is billed.
        """
        started = time.perf_counter()
        run = _Run(started, await self.router.route(query, system_prompt))
        answer = run.routed.decision.cache.answer
        if run.routed.decision.cache.hit and answer is not None:
            for start in range(0, len(answer), CACHED_CHUNK_CHARS):
                yield run.add(answer[start : start + CACHED_CHUNK_CHARS])
            run.end_state = "complete"
        else:
            async with aclosing(self._answer(run)) as chunks:
                async for chunk in chunks:
                    yield chunk
        yield StreamChunk("", done=True, metadata=self._metadata(run))

    async def _answer(self, run: _Run) -> AsyncGenerator[StreamChunk]:
        for request in self.router.requests(run.routed):
            run.end_state, run.usage = "cancelled", None
            reserved = self.router.biller.reserve(request)
            try:
                async with aclosing(self._attempt(run, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except (ProviderError, TimeoutError) as error:
                run.end_state = "error"
                run.errors.append(self.router.hub.failure(request, error))
            finally:
                run.attempts.append(
                    self.router.biller.settle(
                        request,
                        reserved,
                        run.end_state,
                        run.usage,
                        "".join(run.parts),
                        str(run.errors[-1]) if run.end_state == "error" else None,
                    )
                )
            ended: EndState = run.end_state  # set while the chunks went by
            if ended == "complete":
                self.router.remember(run.routed, "".join(run.parts), run.attempts[-1])
            if ended != "error" or run.parts:
                return
            if not run.errors[-1].retryable:
                raise run.errors[-1]
        raise all_failed(run.errors)

    async def _attempt(self, run: _Run, request: ChatRequest) -> AsyncGenerator[StreamChunk]:
        provider = self.router.hub.provider(request.model)
        deadline = time.perf_counter() + self.router.deadlines.total_s
        async with aclosing(provider.stream(request)) as events:
            while True:
                # asyncio.timeout may not span a yield, so each wait has what is left of the total.
                async with asyncio.timeout(max(0.0, deadline - time.perf_counter())):
                    event = await anext(events, None)
                if event is None:
                    return
                if isinstance(event, Finished):
                    run.end_state, run.usage = event.end_state, event.usage
                else:
                    yield run.add(event.text)

    def _metadata(self, run: _Run) -> StreamMetadata:
        decision = run.routed.decision
        return StreamMetadata(
            model=run.attempts[-1].model if run.attempts else decision.model,
            provider=run.attempts[-1].provider if run.attempts else decision.provider,
            usage=total_usage(run.attempts),
            cost_usd=sum(attempt.cost_usd for attempt in run.attempts),
            ttft_ms=run.ttft_ms,
            total_ms=(time.perf_counter() - run.started) * 1e3,
            end_state=run.end_state,
            cached=decision.cache.hit,
            mode=self.router.mode,
            decision=decision,
            attempts=tuple(run.attempts),
            error=str(run.errors[-1]) if run.end_state == "error" else None,
        )
