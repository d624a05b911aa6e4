"""Turns what the SDKs raise into `ProviderError`s, without keys or headers in any text.

The SDKs let transport errors and JSON errors of a broken stream through as they are, and raise an
in-band error under the stream's own status 200, or none. Does not know: which SDK raised; it looks
at the status code, the kind of error and what the provider stated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from routerlab.catalog import ProviderSpec
from routerlab.errors import IncompleteAnswer, ProviderError

_RETRYABLE_STATUS = {408, 409, 425, 429, 529}
_FINAL_KINDS = {
    "authentication_error",
    "billing_error",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_request_error",
    "not_found_error",
    "permission_error",
    "request_too_large",
}
"""What providers call an in-band error that the same request will meet again."""
_ADVICE = {
    401: "check the key in {key_env}",
    403: "the key in {key_env} may not use this model",
    404: "the model may be retired: check data/catalog.toml",
    429: "the rate limit or quota is used up: wait, or lower the concurrency",
}


@contextmanager
def translated(
    provider: ProviderSpec, model: str, key: str, parts: Sequence[str] = ()
) -> Iterator[None]:
    """Raise what goes wrong within as `ProviderError`; `parts`: the text as far as it came."""
    try:
        yield
    except Exception as error:
        failure = as_provider_error(error, provider, model, key=key, partial_text="".join(parts))
        try:
            raise failure
        finally:
            # The SDK's error holds the request and its headers, and quotes the reply: `from None`
            # would only hide it.
            failure.__context__ = None


def as_provider_error(
    error: Exception, provider: ProviderSpec, model: str, *, key: str, partial_text: str = ""
) -> ProviderError:
    """What happened, in our terms. `partial_text`: what had arrived before."""
    who = f"{provider.name} ({model})"
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        advice = _ADVICE.get(status, _reason(error, key)).format(key_env=provider.key_env)
        message, retryable = f"{who} answered HTTP {status}: {advice}", _status_retryable(status)
    elif isinstance(error, TimeoutError | httpx2.TimeoutException) or "Timeout" in (
        type(error).__name__
    ):
        message, retryable = f"{who} did not answer in time", True
    elif isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        message, retryable = f"{who} sent what is not JSON", True
    elif isinstance(error, httpx2.TransportError) or "Connection" in type(error).__name__:
        message, retryable = f"the connection to {who} failed or broke off", True
    elif isinstance(error, AttributeError | IndexError | KeyError | TypeError):
        message, retryable = f"{who} sent a reply that is not an answer", True
    else:
        message = f"{who} reported an error: {_reason(error, key)}"
        retryable = _stated_retryable(_stated(error))
    kind = IncompleteAnswer if partial_text else ProviderError
    return kind(
        message, provider=provider.id, model=model, retryable=retryable, partial_text=partial_text
    )


def incomplete(provider: ProviderSpec, model: str, partial_text: str) -> IncompleteAnswer:
    """The stream ended cleanly but the model never said that it had finished."""
    return IncompleteAnswer(
        f"{provider.name} ({model}) ended the answer without a finish reason: it is cut short",
        provider=provider.id,
        model=model,
        retryable=True,
        partial_text=partial_text,
    )


def _status_retryable(status: int) -> bool:
    return status in _RETRYABLE_STATUS or status >= 500


def _stated(error: Exception) -> dict[str, Any]:
    """The `error` object of a provider's reply; empty where there is none."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def _stated_retryable(stated: dict[str, Any]) -> bool:
    code = stated.get("code")
    if isinstance(code, int) and code >= 400:
        return _status_retryable(code)
    return not {str(stated.get("type")), str(code)} & _FINAL_KINDS


def _reason(error: Exception, key: str) -> str:
    stated = _stated(error)
    shown = str(stated.get("message") or stated.get("type") or type(error).__name__)
    if key:
        shown = shown.replace(key, "[key]")
    return shown[:200].replace("{", "(").replace("}", ")")
