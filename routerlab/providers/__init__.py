"""The providers of the catalog behind one hub; two adapters serve them all.

Does not know: routing, caching, prices.
"""

from __future__ import annotations

import asyncio
import weakref

from routerlab.catalog import Catalog, ModelSpec, ProviderSpec
from routerlab.errors import ProviderError
from routerlab.providers.base import (
    Answer,
    ChatRequest,
    Deadlines,
    Finished,
    Provider,
    TextDelta,
)
from routerlab.providers.endpoints import Connection, Endpoints
from routerlab.providers.failures import as_provider_error

__all__ = [
    "Answer",
    "ChatRequest",
    "Connection",
    "Deadlines",
    "Endpoints",
    "Finished",
    "Provider",
    "ProviderHub",
    "TextDelta",
]


class ProviderHub:
    """Adapters by provider, each built on its first call, with the key looked up at that call."""

    def __init__(
        self, catalog: Catalog, endpoints: Endpoints, deadlines: Deadlines | None = None
    ) -> None:
        self.catalog = catalog
        self.endpoints = endpoints
        self.deadlines = deadlines or Deadlines()
        # A connection pool belongs to the event loop that made it.
        self._by_loop: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[str, Connection], Provider]
        ] = weakref.WeakKeyDictionary()

    def provider(self, model: ModelSpec) -> Provider:
        """The adapter for a model; `MissingKey` where its provider has no key."""
        spec = self.catalog.providers[model.provider]
        connection = self.endpoints.connect(spec)
        adapters = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if (spec.id, connection) not in adapters:
            adapters[spec.id, connection] = _adapter(spec, connection, self.deadlines)
        return adapters[spec.id, connection]

    def failure(self, request: ChatRequest, error: ProviderError | TimeoutError) -> ProviderError:
        """The error of an attempt in our terms; a `TimeoutError` is the total deadline."""
        if isinstance(error, ProviderError):
            return error
        spec = self.catalog.providers[request.model.provider]
        return as_provider_error(error, spec, request.model.id, key="")

    async def close(self) -> None:
        """Close the connections that this event loop opened."""
        for adapter in self._by_loop.pop(asyncio.get_running_loop(), {}).values():
            await adapter.close()


def _adapter(spec: ProviderSpec, connection: Connection, deadlines: Deadlines) -> Provider:
    if spec.adapter == "anthropic":
        from routerlab.providers.anthropic_messages import AnthropicProvider

        return AnthropicProvider(spec, connection, deadlines)
    from routerlab.providers.openai_chat import OpenAIChatProvider

    return OpenAIChatProvider(spec, connection, deadlines)
