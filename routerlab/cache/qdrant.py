"""Cache entries in Qdrant, an existing distributed engine, by URL. Does not know: thresholds."""

from __future__ import annotations

from routerlab.cache.stores import Store


def open_qdrant(url: str) -> Store:
    """The store behind a URL such as `qdrant://host:6333`."""
    raise NotImplementedError(url)
