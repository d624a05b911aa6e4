"""The adapter for OpenAI's chat completions and for the providers that offer the same API.

Quirks come from the catalog. Does not know: routing, caching, prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import openai

from routerlab.catalog import ProviderSpec
from routerlab.errors import ProviderError
from routerlab.providers.base import Answer, ChatRequest, Deadlines, Finished, TextDelta
from routerlab.providers.endpoints import Connection
from routerlab.providers.failures import as_provider_error, incomplete
from routerlab.types import EndState, Usage

_END_STATES: dict[str, EndState] = {"stop": "complete", "tool_calls": "complete"}


class OpenAIChatProvider:
    """See `Provider`."""

    def __init__(self, spec: ProviderSpec, connection: Connection, deadlines: Deadlines) -> None:
        self._spec = spec
        self._key = connection.api_key
        self._client = openai.AsyncOpenAI(
            base_url=connection.base_url,
            api_key=connection.api_key,
            timeout=openai.Timeout(deadlines.read_s, connect=deadlines.connect_s),
        )

    async def complete(self, request: ChatRequest) -> Answer:
        """See `Provider`."""
        try:
            reply: Any = await self._client.chat.completions.create(**self._body(request))
            choice = reply.choices[0]
        except Exception as error:
            raise self._failure(error, request) from None
        if choice.finish_reason is None:
            raise incomplete(self._spec, request.model.id, choice.message.content or "")
        return Answer(
            choice.message.content or "", _end_state(choice.finish_reason), _usage(reply.usage)
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished]:
        """See `Provider`."""
        body = self._body(request)
        if self._spec.stream_usage == "ask":
            body["stream_options"] = {"include_usage": True}
        parts: list[str] = []
        finish_reason: str | None = None
        usage: Usage | None = None
        try:
            reply: Any = await self._client.chat.completions.create(**body, stream=True)
            async with reply:
                async for event in reply:
                    usage = _usage(event.usage) or usage  # the last one counts, never the sum
                    for choice in event.choices[:1]:
                        finish_reason = choice.finish_reason or finish_reason
                        if choice.delta.content:
                            parts.append(choice.delta.content)
                            yield TextDelta(choice.delta.content)
        except Exception as error:
            raise self._failure(error, request, "".join(parts)) from None
        if finish_reason is None:
            raise incomplete(self._spec, request.model.id, "".join(parts))
        yield Finished(_end_state(finish_reason), usage)

    async def close(self) -> None:
        """See `Provider`."""
        await self._client.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model.id,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            self._spec.limit_parameter: request.max_output_tokens,
        }
        if request.json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.json_schema, "strict": True},
            }
        return body

    def _failure(
        self, error: Exception, request: ChatRequest, partial_text: str = ""
    ) -> ProviderError:
        return as_provider_error(
            error, self._spec, request.model.id, key=self._key, partial_text=partial_text
        )


def _end_state(finish_reason: str) -> EndState:
    return _END_STATES.get(finish_reason, "truncated")


def _usage(reported: Any) -> Usage | None:
    if reported is None:
        return None
    prompt = reported.prompt_tokens or 0
    completion = reported.completion_tokens or 0
    total = reported.total_tokens or 0
    prompt_details = reported.prompt_tokens_details
    completion_details = reported.completion_tokens_details
    return Usage(
        input_tokens=prompt,
        # xAI reports reasoning tokens outside completion_tokens, but inside the total.
        output_tokens=max(completion, total - prompt),
        cached_input_tokens=(prompt_details and prompt_details.cached_tokens) or 0,
        reasoning_tokens=(completion_details and completion_details.reasoning_tokens) or 0,
    )
