"""Opens the SDKs' clients: with the address, key and deadlines given, nothing of the environment.

But a proxy, for calls that leave this machine. Does not know: which SDK it opens.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import httpx2

from routerlab.providers.base import Deadlines
from routerlab.providers.endpoints import Connection

_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
"""What the SDKs' own clients allow."""


def _local_client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, limits=_LIMITS, verify=_certificates())


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    # To read the machine's certificates takes 25 ms: once for all clients.
    return httpx2.create_ssl_context(trust_env=False)


def open_client(make: Callable[..., Any], connection: Connection, deadlines: Deadlines) -> Any:
    """A client of the SDK that `make` belongs to."""
    # A proxy of the environment is for the world outside; it cannot reach this machine's servers.
    here = httpx2.URL(connection.base_url).host in ("127.0.0.1", "localhost", "::1")
    client = make(
        base_url=connection.base_url,
        api_key=connection.api_key,
        timeout=httpx2.Timeout(deadlines.read_s, connect=deadlines.connect_s),
        max_retries=deadlines.retries,
        http_client=_local_client() if here else None,
    )
    # Headers of OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS, made for one host, would go to
    # whichever this client calls. The SDKs have no way to refuse them.
    client._custom_headers = {}
    return client
