"""Opens the SDKs' clients: with the address, key and deadlines given, nothing of the environment.

Does not know: which SDK it opens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from routerlab.providers.base import Deadlines
from routerlab.providers.endpoints import Connection


def open_client(make: Callable[..., Any], connection: Connection, deadlines: Deadlines) -> Any:
    """A client of the SDK that `make` belongs to."""
    client = make(
        base_url=connection.base_url,
        api_key=connection.api_key,
        timeout=httpx2.Timeout(deadlines.read_s, connect=deadlines.connect_s),
        max_retries=deadlines.retries,
    )
    # Headers of OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS, made for one host, would go to
    # whichever this client calls. The SDKs have no way to refuse them.
    client._custom_headers = {}
    return client
