"""The adapter for Anthropic's messages API.

Does not know: routing, caching, prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anthropic

from routerlab.catalog import ProviderSpec
from routerlab.providers.base import Answer, ChatRequest, Deadlines, Finished, TextDelta
from routerlab.providers.clients import open_client
from routerlab.providers.endpoints import Connection
from routerlab.providers.failures import incomplete, translated
from routerlab.types import EndState, Usage


class AnthropicProvider:
    """See `Provider`."""

    def __init__(self, spec: ProviderSpec, connection: Connection, deadlines: Deadlines) -> None:
        self._spec = spec
        self._key = connection.api_key
        self._client = open_client(anthropic.AsyncAnthropic, connection, deadlines)

    async def complete(self, request: ChatRequest) -> Answer:
        """See `Provider`."""
        with translated(self._spec, request.model.id, self._key):
            reply = await self._client.messages.create(**self._body(request))
            text = "".join(block.text for block in reply.content if block.type == "text")
        if reply.stop_reason is None:
            raise incomplete(self._spec, request.model.id, text)
        usage = _usage(reply.usage, reply.usage.output_tokens)
        return Answer(text, _end_state(reply.stop_reason), usage)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished]:
        """See `Provider`."""
        parts: list[str] = []
        stop_reason: str | None = None
        started: Any = None
        output_tokens = 0
        with translated(self._spec, request.model.id, self._key, parts):
            reply = await self._client.messages.create(**self._body(request), stream=True)
            async with reply:
                async for event in reply:
                    if event.type == "message_start":
                        started = event.message.usage
                    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                        parts.append(event.delta.text)
                        yield TextDelta(event.delta.text)
                    elif event.type == "message_delta":
                        stop_reason = event.delta.stop_reason or stop_reason
                        output_tokens = event.usage.output_tokens  # cumulative
        if stop_reason is None:
            raise incomplete(self._spec, request.model.id, "".join(parts))
        usage = None if started is None else _usage(started, output_tokens)
        yield Finished(_end_state(stop_reason), usage)

    async def close(self) -> None:
        """See `Provider`."""
        await self._client.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model.id,
            "messages": [
                {"role": m.role, "content": m.content}
                for m in request.messages
                if m.role != "system"
            ],
            self._spec.limit_parameter: request.max_output_tokens,
        }
        system = "\n".join(m.content for m in request.messages if m.role == "system")
        if system:
            body["system"] = system
        if request.json_schema is not None:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": request.json_schema}
            }
        return body


def _end_state(stop_reason: str) -> EndState:
    # Not a limit, a refusal, a pause, nor a call of tools we never offer.
    return "complete" if stop_reason in ("end_turn", "stop_sequence") else "truncated"


def _usage(reported: Any, output_tokens: int) -> Usage:
    cached = reported.cache_read_input_tokens or 0
    written = reported.cache_creation_input_tokens or 0
    return Usage(
        # Anthropic's input_tokens leaves out what was read from or written to its prompt cache.
        input_tokens=reported.input_tokens + cached + written,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )
