"""`StreamingRouter`: routed answers as they come, wrapped around a router by composition.

Falls back to the next model before the first text, after it only if the caller asked to start
anew; only complete answers enter the cache; leaving the loop hangs up. Does not know: how a route
is decided, any SDK.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from routerlab.attempts import all_failed, total_usage
from routerlab.errors import ProviderError, RouterLabError
from routerlab.flight import Flights
from routerlab.pipeline import Routed
from routerlab.providers import ChatRequest, Finished
from routerlab.query import Query
from routerlab.router import LLMRouter
from routerlab.types import Attempt, EndState, StreamChunk, StreamMetadata, Usage

CACHED_CHUNK_CHARS = 48
"""Answers from the cache stream in pieces of this length."""
OnInterrupt = Literal["stop", "restart"]


@dataclass
class _Run:
    """What one stream has seen so far; times are `perf_counter()` seconds."""

    started: float
    routed: Routed
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[ProviderError] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    first_text: float | None = None
    end_state: EndState = "cancelled"
    usage: Usage | None = None

    def add(self, text: str) -> StreamChunk:
        now = time.perf_counter()
        kind: Literal["start", "delta"] = "delta"
        if self.first_text is None:
            self.first_text, kind = now, "start"
        self.arrivals.append(now)
        self.parts.append(text)
        return StreamChunk(text, kind=kind)

    def begin(self) -> None:
        """Forget the text of the attempt before."""
        self.parts, self.arrivals = [], []
        self.end_state, self.usage = "cancelled", None


class StreamingRouter:
    """Streams what its router decides. `router` is used as it is: its cache, policy, session.

    Equal queries at the same time share one upstream stream, unless the router has no cache: then
    each was meant to be asked.
    """

    def __init__(self, router: LLMRouter) -> None:
        self.router = router
        self._flights: Flights[StreamChunk] = Flights()

    def route_query_stream(
        self,
        query: Query,
        system_prompt: str | None = None,
        *,
        on_interrupt: OnInterrupt = "stop",
    ) -> AsyncGenerator[StreamChunk]:
        """Pieces of the answer; the last is `done` and carries `metadata`.

        A failure before the first text falls back to the next model, and raises `ProviderError`
        where none is left. After it the text so far stays and the last chunk says `truncated` or
        `error`; with `on_interrupt="restart"` the next model answers from the beginning, after a
        chunk of kind `restart`, and both are billed. Leave early with `aclose()` (or
        `contextlib.aclosing`): the provider is hung up on and the part is billed.
        """
        return self._chunks(
            query, system_prompt, on_interrupt, shared=self.router.cache is not None
        )

    def stream(
        self,
        query: Query,
        system_prompt: str | None = None,
        *,
        on_interrupt: OnInterrupt = "stop",
    ) -> Iterator[StreamChunk]:
        """The same chunks for a plain script, without `async`.

        Reads the provider only while the caller waits for the next chunk, so the call is shared
        with no other. `RouterLabError` where an
        event loop is running already (a notebook): use `route_query_stream` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RouterLabError(
                "an event loop is running here: use `async for chunk in "
                "router.route_query_stream(...)`"
            )
        # Nobody may join: who waits for this stream would wait for this caller.
        return self._stepped(self._chunks(query, system_prompt, on_interrupt, shared=False))

    async def _chunks(
        self, query: Query, system_prompt: str | None, on_interrupt: OnInterrupt, *, shared: bool
    ) -> AsyncGenerator[StreamChunk]:
        if on_interrupt not in get_args(OnInterrupt):
            raise RouterLabError(f"on_interrupt is {on_interrupt!r}: use 'stop' or 'restart'")
        started = time.perf_counter()
        run = _Run(started, await self.router.route(query, system_prompt))
        self.router.audit(run.routed)
        if run.routed.decision.cache.hit:
            for chunk in self._from_cache(run):
                yield chunk
        else:
            # Where nothing is shared: a key that nothing else equals.
            key = (run.routed.key, on_interrupt) if shared else object()
            flight = self._flights.join(key, lambda: self._answer(run, on_interrupt))
            async with aclosing(flight) as flying:
                async for chunk, joined in flying:
                    if joined and run.first_text is None:
                        run.first_text = time.perf_counter()
                    yield _as_joined(chunk, run) if joined and chunk.done else chunk

    def _stepped(self, chunks: AsyncGenerator[StreamChunk]) -> Iterator[StreamChunk]:
        with asyncio.Runner() as runner:

            async def step() -> StreamChunk | None:
                return await anext(chunks, None)

            async def leave() -> None:
                await chunks.aclose()
                await self.router.hub.close()

            try:
                while (chunk := runner.run(step())) is not None:
                    yield chunk
            finally:
                runner.run(leave())

    def _from_cache(self, run: _Run) -> Iterator[StreamChunk]:
        answer = run.routed.decision.cache.answer or ""
        for start in range(0, len(answer), CACHED_CHUNK_CHARS):
            yield run.add(answer[start : start + CACHED_CHUNK_CHARS])
        run.end_state = "complete"
        yield self._last(run)

    async def _answer(self, run: _Run, on_interrupt: OnInterrupt) -> AsyncGenerator[StreamChunk]:
        router = self.router
        late = router.late_hit(run.routed)
        if late is not None:
            run.routed = replace(run.routed, decision=late)
            for chunk in self._from_cache(run):
                yield chunk
            return
        for request in router.requests(run.routed):
            if run.parts:
                yield StreamChunk("", kind="restart")
            run.begin()
            reserved = router.biller.reserve(request)
            try:
                async with aclosing(self._attempt(run, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except (ProviderError, TimeoutError) as error:
                run.end_state = "error"
                run.errors.append(router.hub.failure(request, error))
            finally:
                failed = run.errors[-1] if run.end_state == "error" else None
                said, text = (str(failed) if failed else None), "".join(run.parts)
                run.attempts.append(
                    router.biller.settle(request, reserved, run.end_state, run.usage, text, said)
                )
                router.note_outcome(request, run.end_state, failed)
            ended: EndState = run.end_state  # set while the chunks went by
            if ended == "complete":
                router.remember(run.routed, "".join(run.parts), run.attempts[-1])
            if ended != "error" or (run.parts and on_interrupt == "stop"):
                break
            if not run.errors[-1].retryable:
                break
        if run.first_text is None and run.end_state == "error":
            raise all_failed(run.errors)
        yield self._last(run)

    async def _attempt(self, run: _Run, request: ChatRequest) -> AsyncGenerator[StreamChunk]:
        provider = self.router.hub.provider(request.model)
        deadlines, began = self.router.deadlines, asyncio.get_running_loop().time()
        # One timeout for the whole attempt may span its yields: a flight reads in a task of its
        # own, and one timeout a piece would cost more than the piece.
        async with (
            asyncio.timeout_at(began + deadlines.until_first_text_s) as limit,
            aclosing(provider.stream(request)) as events,
        ):
            async for event in events:
                if isinstance(event, Finished):
                    run.end_state, run.usage = event.end_state, event.usage
                else:
                    if not run.parts:
                        limit.reschedule(began + deadlines.total_s)
                    yield run.add(event.text)

    def _last(self, run: _Run) -> StreamChunk:
        decision = run.routed.decision
        gaps = np.diff(run.arrivals) * 1e3 if len(run.arrivals) > 1 else None
        metadata = StreamMetadata(
            model=run.attempts[-1].model if run.attempts else decision.model,
            provider=run.attempts[-1].provider if run.attempts else decision.provider,
            usage=total_usage(run.attempts),
            cost_usd=sum(attempt.cost_usd for attempt in run.attempts),
            ttft_ms=_ms(run, run.first_text),
            inter_token_p50_ms=None if gaps is None else float(np.quantile(gaps, 0.5)),
            inter_token_p95_ms=None if gaps is None else float(np.quantile(gaps, 0.95)),
            total_ms=(time.perf_counter() - run.started) * 1e3,
            end_state=run.end_state,
            cached=decision.cache.hit,
            mode=self.router.mode,
            decision=decision,
            attempts=tuple(run.attempts),
            error=str(run.errors[-1]) if run.end_state == "error" else None,
        )
        return StreamChunk("", done=True, metadata=metadata, kind="end")


def _ms(run: _Run, until: float | None) -> float | None:
    return None if until is None else (until - run.started) * 1e3


def _as_joined(chunk: StreamChunk, run: _Run) -> StreamChunk:
    """The last chunk for a reader who joined: decision and times are theirs, the bill is not."""
    assert chunk.metadata is not None  # a done chunk has it
    own = replace(
        chunk.metadata,
        cost_usd=0.0,
        attempts=(),
        ttft_ms=_ms(run, run.first_text),
        total_ms=(time.perf_counter() - run.started) * 1e3,
        decision=run.routed.decision,
        shared=True,
    )
    return replace(chunk, metadata=own)
