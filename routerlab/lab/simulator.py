"""The local server that stands in for all providers: loopback only, its own thread, real HTTP.

Speaks both wire formats, authenticates, delays by the catalog's assumptions, serves recordings in
replayed mode, and fails where it is told to. `counts` has the pieces `generated`, and those
`delivered`: written to a live connection. Does not know: routing, caching, prices.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from routerlab.catalog import Catalog, load_catalog
from routerlab.errors import UnknownModel
from routerlab.lab import faults, wire
from routerlab.lab.faults import Fault
from routerlab.lab.recordings import load_recording, recording_key
from routerlab.lab.synthesis import synthesize
from routerlab.types import Mode


@dataclass(frozen=True)
class Served:
    """One line of the request log; `status` 0: refused the connection. Only names of headers."""

    provider: str
    model: str
    streamed: bool
    status: int
    headers: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class _Reply:
    answer: wire.WireAnswer
    due_ms: Sequence[float]


class Simulator:
    """A running server; use as a context manager, or `start` and `stop`.

    `time_scale` multiplies all synthetic delays (0: none); `length` gives the words of the answer
    to a query, or `pieces` the answer itself; `words_a_piece` come at once; `cached_tokens` of each
    prompt count as read from the provider's cache; `recordings` serves that folder in place of
    synthetic answers.
    """

    def __init__(
        self,
        catalog: Catalog | None = None,
        *,
        time_scale: float = 1.0,
        seed: int = 0,
        length: Callable[[str], int] | None = None,
        pieces: Callable[[str], Sequence[str]] | None = None,
        words_a_piece: int = 1,
        cached_tokens: int = 0,
        recordings: Path | None = None,
    ) -> None:
        self.catalog = catalog or load_catalog()
        self.time_scale = time_scale
        self.seed = seed
        self.length = length
        self.pieces = pieces
        self.words_a_piece = words_a_piece
        self.cached_tokens = cached_tokens
        self.recordings = recordings
        self.mode: Mode = "simulated" if recordings is None else "replayed"
        self.api_key = f"local-{secrets.token_hex(16)}"
        self.faults: deque[Fault] = deque()
        self.log: list[Served] = []
        self.counts: Counter[str] = Counter()
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Simulator:
        """Listen on a port that the system chooses; returns when requests can come."""
        self._thread = threading.Thread(target=self._serve, daemon=True, name="simulator")
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def stop(self) -> None:
        """Stop listening and wait for the thread; a second call does nothing."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def script(self, *faults: Fault) -> None:
        """Let the next requests fail, one fault each, in order."""
        self.faults.extend(faults)

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # handed to the thread that called start
            self._failed = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/{provider}/v1/chat/completions", self._handle)
        app.router.add_post("/{provider}/v1/messages", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        provider = request.match_info["provider"]
        body = await request.json()
        model, streamed = str(body.get("model", "")), bool(body.get("stream"))
        fault = self.faults.popleft() if self.faults else Fault()
        problem = self._problem(request, provider, model, body, fault)
        reply = None if problem else self._reply(model, body)
        if reply is None and problem is None:
            problem = 422, "no recording of this request: make one with `make record`"
        status = 0 if fault.refused else problem[0] if problem else 200
        names = frozenset(name.lower() for name in request.headers)
        self.log.append(Served(provider, model, streamed, status, names))
        if fault.refused:
            return _abort(request, web.Response())
        if problem or reply is None:
            status, message = problem or (500, "no reply")
            again = {"retry-after": str(fault.retry_after_s)} if fault.retry_after_s else {}
            error = wire.error_body(provider, status, message)
            return web.json_response(error, status=status, headers=again)
        if streamed:
            return await self._stream(request, provider, body, reply, fault)
        return await self._whole(request, provider, reply, fault)

    async def _whole(
        self, request: web.Request, provider: str, reply: _Reply, fault: Fault
    ) -> web.StreamResponse:
        await asyncio.sleep(reply.due_ms[-1] * self.time_scale / 1e3 + fault.stall_s)
        self.counts["generated"] += len(reply.answer.pieces)
        data = faults.body(provider, reply.answer, fault)
        if not fault.cut:
            self.counts["delivered"] += len(reply.answer.pieces)
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        return _abort(request, response)

    def _problem(
        self, request: web.Request, provider: str, model: str, body: dict[str, Any], fault: Fault
    ) -> tuple[int, str] | None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        # Anthropic takes its key in either header; the SDK's newer versions send the bearer.
        key = request.headers.get("x-api-key", bearer) if provider == "anthropic" else bearer
        if not secrets.compare_digest(key.encode(), self.api_key.encode()):
            return 401, f"invalid API key: {key}"  # as bad as it gets: no text of ours may show it
        if fault.status == 401:
            return 401, f"invalid API key: {key}"
        if fault.status is not None:
            return fault.status, "this failure was scripted"
        try:
            if self.catalog.model(model).provider != provider:
                return 404, f"model {model} is not served here"
        except UnknownModel:
            return 404, f"model {model} does not exist"
        if provider == "mistral" and "stream_options" in body:
            return 422, "extra inputs are not permitted: stream_options"
        return None

    def _reply(self, model: str, body: dict[str, Any]) -> _Reply | None:
        messages = list(body["messages"])
        if body.get("system"):
            messages.insert(0, {"role": "system", "content": body["system"]})
        limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 2**31)
        if self.recordings is not None:
            found = load_recording(self.recordings, recording_key(model, messages, limit))
            if found is None or not found.chunks:
                return None
            answer = wire.WireAnswer(
                model=model,
                pieces=tuple(text for _, text in found.chunks),
                finish="stop" if found.end_state == "complete" else "length",
                prompt=found.input_tokens,
                output=found.output_tokens - found.reasoning_tokens,
                reasoning=found.reasoning_tokens,
                cached=found.cached_input_tokens,
            )
            return _Reply(answer, [ms for ms, _ in found.chunks])
        made = synthesize(
            self.catalog.model(model),
            messages,
            limit,
            seed=self.seed,
            length=self.length,
            pieces=self.pieces,
            words_a_piece=self.words_a_piece,
        )
        answer = wire.WireAnswer(
            model=model,
            pieces=made.pieces,
            finish="length" if made.truncated else "stop",
            prompt=made.prompt_tokens,
            output=made.visible_tokens,
            reasoning=made.reasoning_tokens,
            cached=min(self.cached_tokens, made.prompt_tokens),
        )
        return _Reply(answer, made.due_ms)

    async def _stream(
        self,
        request: web.Request,
        provider: str,
        body: dict[str, Any],
        reply: _Reply,
        fault: Fault,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        started = time.perf_counter()
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        sent, stalled = -1, 0.0
        for number, event in faults.events(provider, reply.answer, fault, usage_asked=asked):
            if number >= fault.stall_after:
                stalled = fault.stall_s
            due = reply.due_ms[number] * self.time_scale / 1e3 + stalled
            # A wait of nothing too: the loop then sees who has hung up.
            await asyncio.sleep(max(0.0, due - (time.perf_counter() - started)))
            fresh, sent = max(0, number - sent), max(number, sent)
            self.counts["generated"] += fresh
            await response.write(event)
            if request.transport is not None and not request.transport.is_closing():
                self.counts["delivered"] += fresh
        if fault.cut:
            return _abort(request, response)
        await response.write_eof()
        return response


def _abort(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Break the connection off; what aiohttp does with the response then reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return response
