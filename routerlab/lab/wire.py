"""The two wire formats of the local server: OpenAI chat completions and Anthropic messages.

Turns an answer into response bodies and server-sent events, with each provider's quirks. Does not
know: sockets, delays, where the answer comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FIXED_TIME = 1_790_000_000
"""`created` of every reply: synthetic, so that equal runs give equal bytes."""


@dataclass(frozen=True)
class WireAnswer:
    """What a reply carries. `finish`: `stop` or `length`; `reasoning` is apart from output."""

    model: str
    pieces: tuple[str, ...]
    finish: str
    prompt: int
    output: int
    reasoning: int
    cached: int = 0


def openai_usage(answer: WireAnswer, provider: str) -> dict[str, Any]:
    """Usage in OpenAI's form; xAI leaves reasoning tokens out of `completion_tokens`."""
    outside = provider == "xai"
    return {
        "prompt_tokens": answer.prompt,
        "completion_tokens": answer.output + (0 if outside else answer.reasoning),
        "total_tokens": answer.prompt + answer.output + answer.reasoning,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def openai_body(answer: WireAnswer, provider: str) -> dict[str, Any]:
    """A whole chat completion."""
    return {
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": FIXED_TIME,
        "model": answer.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(answer.pieces)},
                "finish_reason": answer.finish,
            }
        ],
        "usage": openai_usage(answer, provider),
    }


def openai_events(
    answer: WireAnswer, provider: str, *, with_usage: bool, with_finish: bool = True
) -> Iterator[tuple[int, bytes]]:
    """Events with the number of the piece that each waits for; the last ones wait for none new."""
    usage = openai_usage(answer, provider)

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        body = {
            "id": "chatcmpl-simulated",
            "object": "chat.completion.chunk",
            "created": FIXED_TIME,
            "model": answer.model,
            "choices": choices,
            **more,
        }
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"

    every = {"usage": usage} if with_usage and provider == "google" else {}
    for number, piece in enumerate(answer.pieces):
        delta = {"role": "assistant", "content": piece} if number == 0 else {"content": piece}
        yield number, chunk([{"index": 0, "delta": delta, "finish_reason": None}], **every)
    last = len(answer.pieces) - 1
    if not with_finish:
        return
    yield last, chunk([{"index": 0, "delta": {}, "finish_reason": answer.finish}], **every)
    if with_usage:
        yield last, chunk([], usage=usage)
    yield last, b"data: [DONE]\n\n"


_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def anthropic_body(answer: WireAnswer) -> dict[str, Any]:
    """A whole message."""
    return {
        "id": "msg_simulated",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [{"type": "text", "text": "".join(answer.pieces)}],
        "stop_reason": _STOP_REASONS[answer.finish],
        "stop_sequence": None,
        "usage": _anthropic_usage(answer, answer.output + answer.reasoning),
    }


def anthropic_events(
    answer: WireAnswer, *, with_finish: bool = True
) -> Iterator[tuple[int, bytes]]:
    """As `openai_events`, in Anthropic's format."""

    def event(kind: str, **fields: Any) -> bytes:
        data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
        return f"event: {kind}\ndata: {data}\n\n".encode()

    start = {**anthropic_body(answer), "content": [], "stop_reason": None}
    start["usage"] = _anthropic_usage(answer, 1)
    block = {"type": "text", "text": ""}
    yield 0, event("message_start", message=start)
    yield 0, event("content_block_start", index=0, content_block=block)
    for number, piece in enumerate(answer.pieces):
        delta = {"type": "text_delta", "text": piece}
        yield number, event("content_block_delta", index=0, delta=delta)
    last = len(answer.pieces) - 1
    yield last, event("content_block_stop", index=0)
    if not with_finish:
        return
    reason = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None}
    usage = {"output_tokens": answer.output + answer.reasoning}
    yield last, event("message_delta", delta=reason, usage=usage)
    yield last, event("message_stop")


def _anthropic_usage(answer: WireAnswer, output: int) -> dict[str, int]:
    return {
        "input_tokens": answer.prompt - answer.cached,
        "cache_read_input_tokens": answer.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": output,
    }


def error_body(provider: str, status: int, message: str) -> dict[str, Any]:
    """An error reply in the provider's form."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error} if provider == "anthropic" else {"error": error}
