"""The adapter for OpenAI's chat completions and for the providers that offer the same API.

Quirks come from the catalog. Does not know: routing, caching, prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import openai

from routerlab.catalog import ProviderSpec
from routerlab.providers.base import Answer, ChatRequest, Deadlines, Finished, TextDelta
from routerlab.providers.clients import open_client
from routerlab.providers.endpoints import Connection
from routerlab.providers.failures import incomplete, translated
from routerlab.types import EndState, Usage

OPENAI_KEY_ENV = "OPENAI_API_KEY"


class OpenAIChatProvider:
    """See `Provider`."""

    def __init__(self, spec: ProviderSpec, connection: Connection, deadlines: Deadlines) -> None:
        self._spec = spec
        self._key = connection.api_key
        self._client = open_client(openai.AsyncOpenAI, connection, deadlines)
        if spec.key_env != OPENAI_KEY_ENV:
            # OPENAI_ORG_ID and OPENAI_PROJECT_ID belong to OpenAI's key and are no one else's.
            self._client.organization = self._client.project = None

    async def complete(self, request: ChatRequest) -> Answer:
        """See `Provider`."""
        with translated(self._spec, request.model.id, self._key):
            reply = await self._client.chat.completions.create(**self._body(request))
            choice = reply.choices[0]
            text = choice.message.content or choice.message.refusal or ""
        if choice.finish_reason is None:
            raise incomplete(self._spec, request.model.id, text)
        end_state = _end_state(choice.finish_reason, refused=bool(choice.message.refusal))
        return Answer(text, end_state, _usage(reply.usage))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished]:
        """See `Provider`."""
        body = self._body(request)
        if self._spec.stream_usage == "ask":
            body["stream_options"] = {"include_usage": True}
        parts: list[str] = []
        finish_reason: str | None = None
        refused = False
        usage: Usage | None = None
        with translated(self._spec, request.model.id, self._key, parts):
            reply = await self._client.chat.completions.create(**body, stream=True)
            async with reply:
                async for event in reply:
                    usage = _usage(event.usage) or usage  # the last one counts, never the sum
                    for choice in event.choices[:1]:
                        finish_reason = choice.finish_reason or finish_reason
                        refused = refused or bool(choice.delta.refusal)
                        if text := choice.delta.content or choice.delta.refusal:
                            parts.append(text)
                            yield TextDelta(text)
        if finish_reason is None:
            raise incomplete(self._spec, request.model.id, "".join(parts))
        yield Finished(_end_state(finish_reason, refused=refused), usage)

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


def _end_state(finish_reason: str, *, refused: bool) -> EndState:
    # Only one word means a whole answer: not a limit, a filter, nor a call of tools we never offer.
    # A refusal of structured output comes under that word too, in a field of its own.
    return "complete" if finish_reason == "stop" and not refused else "truncated"


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
        cache_write_tokens=getattr(prompt_details, "cache_write_tokens", None) or 0,
    )
