"""Turns what the SDKs raise into `ProviderError`s, without keys or headers in any text.

The SDKs let transport errors and JSON errors of a broken stream through as they are. Does not
know: which SDK raised; it looks at the status code and the kind of error.
"""

from __future__ import annotations

import json

import httpx2

from routerlab.catalog import ProviderSpec
from routerlab.errors import IncompleteAnswer, ProviderError

_RETRYABLE_STATUS = {408, 409, 425, 429, 529}
_ADVICE = {
    401: "check the key in {key_env}",
    403: "the key in {key_env} may not use this model",
    404: "the model may be retired: check data/catalog.toml",
    429: "the rate limit or quota is used up: wait, or lower the concurrency",
}


def as_provider_error(
    error: Exception, provider: ProviderSpec, model: str, *, key: str, partial_text: str = ""
) -> ProviderError:
    """What happened, in our terms. `partial_text`: what had arrived before."""
    who = f"{provider.name} ({model})"
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 400:
        advice = _ADVICE.get(status, _reason(error, key)).format(key_env=provider.key_env)
        message = f"{who} answered HTTP {status}: {advice}"
        retryable = status in _RETRYABLE_STATUS or status >= 500
    elif isinstance(error, TimeoutError | httpx2.TimeoutException) or "Timeout" in (
        type(error).__name__
    ):
        message, retryable = f"{who} did not answer in time", True
    elif isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        message, retryable = f"{who} sent an event that is not JSON", True
    elif isinstance(error, httpx2.TransportError) or "Connection" in type(error).__name__:
        message, retryable = f"the connection to {who} failed or broke off", True
    else:
        message, retryable = f"{who} reported an error: {_reason(error, key)}", True
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


def _reason(error: Exception, key: str) -> str:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    text = inner.get("message") if isinstance(inner, dict) else None
    shown = str(text or type(error).__name__)
    if key:
        shown = shown.replace(key, "[key]")
    return shown[:200].replace("{", "(").replace("}", ")")
