"""The two wire formats of the local server: OpenAI chat completions and Anthropic messages.

Turns an answer into response bodies and server-sent events, with each provider's quirks. Does not
know: sockets, delays, where the answer comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

FIXED_TIME = 1_790_000_000
"""`created` of every reply: synthetic, so that equal runs give equal bytes."""


@dataclass(frozen=True)
class WireAnswer:
    """What a reply carries; `reasoning` is apart from output.

    `finish`: `stop` or `length`, or a provider's own word for another end; None: it says none.
    """

    model: str
    pieces: tuple[str, ...]
    finish: str | None
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
        return event(None, json.dumps(body, ensure_ascii=False))

    repeats = with_usage and provider == "google"  # on every chunk, as far as the answer has come
    every = {"usage": usage} if repeats else {}
    count = len(answer.pieces)
    for number, piece in enumerate(answer.pieces):
        delta = {"role": "assistant", "content": piece} if number == 0 else {"content": piece}
        more = {}
        if repeats:
            so_far = replace(answer, output=answer.output * (number + 1) // count)
            more["usage"] = openai_usage(so_far, provider)
        yield number, chunk([{"index": 0, "delta": delta, "finish_reason": None}], **more)
    last = count - 1
    if not with_finish:
        return
    yield last, chunk([{"index": 0, "delta": {}, "finish_reason": answer.finish}], **every)
    if with_usage:
        yield last, chunk([], usage=usage)
    yield last, event(None, "[DONE]")


def event(kind: str | None, data: str) -> bytes:
    """One server-sent event; OpenAI's have no kind."""
    return f"event: {kind}\ndata: {data}\n\n".encode() if kind else f"data: {data}\n\n".encode()


_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def _stop_reason(answer: WireAnswer) -> str | None:
    return _STOP_REASONS.get(answer.finish, answer.finish) if answer.finish else None


def anthropic_body(answer: WireAnswer) -> dict[str, Any]:
    """A whole message."""
    return {
        "id": "msg_simulated",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [{"type": "text", "text": "".join(answer.pieces)}],
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
        "usage": _anthropic_usage(answer, answer.output + answer.reasoning),
    }


def anthropic_events(
    answer: WireAnswer, *, with_finish: bool = True
) -> Iterator[tuple[int, bytes]]:
    """As `openai_events`, in Anthropic's format."""

    def made(kind: str, **fields: Any) -> bytes:
        return event(kind, json.dumps({"type": kind, **fields}, ensure_ascii=False))

    start = {**anthropic_body(answer), "content": [], "stop_reason": None}
    start["usage"] = _anthropic_usage(answer, 1)
    block = {"type": "text", "text": ""}
    yield 0, made("message_start", message=start)
    yield 0, made("content_block_start", index=0, content_block=block)
    yield 0, made("ping")
    for number, piece in enumerate(answer.pieces):
        delta = {"type": "text_delta", "text": piece}
        yield number, made("content_block_delta", index=0, delta=delta)
    last = len(answer.pieces) - 1
    yield last, made("content_block_stop", index=0)
    if not with_finish:
        return
    reason = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    usage = {"output_tokens": answer.output + answer.reasoning}
    yield last, made("message_delta", delta=reason, usage=usage)
    yield last, made("message_stop")


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


def in_band_error(provider: str, kind: str | None) -> dict[str, Any]:
    """An error that comes where an answer was promised, in the provider's form."""
    if provider == "anthropic":
        error = {"type": kind or "overloaded_error", "message": "Overloaded"}
        return {"type": "error", "error": error}
    return {"error": {"type": kind or "server_error", "code": None, "message": "Overloaded"}}
