"""The adapter for Anthropic's messages API.

Does not know: routing, caching, prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anthropic

from routerlab.catalog import ProviderSpec
from routerlab.errors import ProviderError
from routerlab.providers.base import Answer, ChatRequest, Deadlines, Finished, TextDelta
from routerlab.providers.endpoints import Connection
from routerlab.providers.failures import as_provider_error, incomplete
from routerlab.types import EndState, Usage

_END_STATES: dict[str, EndState] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "tool_use": "complete",
}


class AnthropicProvider:
    """See `Provider`."""

    def __init__(self, spec: ProviderSpec, connection: Connection, deadlines: Deadlines) -> None:
        self._spec = spec
        self._key = connection.api_key
        self._client = anthropic.AsyncAnthropic(
            base_url=connection.base_url,
            api_key=connection.api_key,
            timeout=anthropic.Timeout(deadlines.read_s, connect=deadlines.connect_s),
        )

    async def complete(self, request: ChatRequest) -> Answer:
        """See `Provider`."""
        try:
            reply: Any = await self._client.messages.create(**self._body(request))
            text = "".join(block.text for block in reply.content if block.type == "text")
        except Exception as error:
            raise self._failure(error, request) from None
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
        try:
            reply: Any = await self._client.messages.create(**self._body(request), stream=True)
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
        except Exception as error:
            raise self._failure(error, request, "".join(parts)) from None
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

    def _failure(
        self, error: Exception, request: ChatRequest, partial_text: str = ""
    ) -> ProviderError:
        return as_provider_error(
            error, self._spec, request.model.id, key=self._key, partial_text=partial_text
        )


def _end_state(stop_reason: str) -> EndState:
    return _END_STATES.get(stop_reason, "truncated")


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
