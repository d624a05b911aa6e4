"""Reads a provider's stream to its end, for tests of the wire."""

from routerlab.errors import ProviderError
from routerlab.providers import ChatRequest, Finished, ProviderHub


async def read_to_end(hub: ProviderHub, request: ChatRequest):
    """The text, and how it ended: a `Finished`, a `ProviderError`, or None where nothing told."""
    parts, end = [], None
    try:
        async for event in hub.provider(request.model).stream(request):
            if isinstance(event, Finished):
                end = event
            else:
                parts.append(event.text)
    except ProviderError as error:
        end = error
    return "".join(parts), end
