"""Where cache entries live: the `Store` protocol, a store in memory, and the choice by URL.

Does not know: whether two texts ask the same, thresholds, expiry.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from routerlab.cache.index import ScopedIndex
from routerlab.embedding import Vectors
from routerlab.errors import CacheFileError


@dataclass(frozen=True)
class Entry:
    """A stored answer. `created` is Unix seconds; `vector` is the query's unit vector."""

    id: int
    scope: str
    text: str
    answer: str
    tier: str
    model: str
    provider: str
    created: float
    vector: Vectors


class Store(Protocol):
    """Entries by id, by scope and text, and by nearness within a scope. Ids only grow."""

    def add(self, entry: Entry) -> int:
        """Store an entry under a new id (its own is ignored), in place of one of the same text.

        Durable once this returns.
        """

    def find(self, scope: str, text: str) -> Entry | None:
        """The entry of that very text."""

    def nearest(
        self, scope: str, vector: Vectors, at_least: float, count: int
    ) -> Sequence[tuple[Entry, float]]:
        """Up to `count` entries of a scope with their cosine, nearest first, from `at_least` on."""

    def touch(self, entry_id: int) -> None:
        """Note that an entry was used; may be lost in a crash."""

    def remove(self, entry_id: int) -> bool:
        """Remove an entry; False where there was none."""

    def evict(self, keep: int) -> int:
        """Remove the least recently used beyond `keep` entries; how many."""

    def count(self) -> int:
        """How many entries there are."""

    def close(self) -> None:
        """Release what is held."""


class MemoryStore:
    """Entries in a dictionary, least recently used first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._by_text: dict[tuple[str, str], int] = {}
        self._index = ScopedIndex()
        self._ids = itertools.count(1)

    def add(self, entry: Entry) -> int:
        """See `Store`."""
        replaced = self._by_text.get((entry.scope, entry.text))
        if replaced is not None:
            self.remove(replaced)
        entry_id = next(self._ids)
        self._entries[entry_id] = replace(entry, id=entry_id)
        self._by_text[entry.scope, entry.text] = entry_id
        self._index.add(entry.scope, entry_id, entry.vector)
        return entry_id

    def find(self, scope: str, text: str) -> Entry | None:
        """See `Store`."""
        entry_id = self._by_text.get((scope, text))
        return None if entry_id is None else self._entries[entry_id]

    def nearest(
        self, scope: str, vector: Vectors, at_least: float, count: int
    ) -> Sequence[tuple[Entry, float]]:
        """See `Store`."""
        near = self._index.nearest(scope, vector, at_least)
        return [(self._entries[entry_id], cosine) for entry_id, cosine in near[:count]]

    def touch(self, entry_id: int) -> None:
        """See `Store`."""
        if entry_id in self._entries:
            self._entries.move_to_end(entry_id)

    def remove(self, entry_id: int) -> bool:
        """See `Store`."""
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return False
        del self._by_text[entry.scope, entry.text]
        self._index.remove(entry_id)
        return True

    def evict(self, keep: int) -> int:
        """See `Store`."""
        oldest = list(itertools.islice(self._entries, max(0, len(self._entries) - keep)))
        return sum(self.remove(entry_id) for entry_id in oldest)

    def count(self) -> int:
        """See `Store`."""
        return len(self._entries)

    def close(self) -> None:
        """See `Store`."""


def open_store(url: str) -> Store:
    """The store of a URL: `memory://`, `sqlite:///path` or `qdrant://host:port`.

    `CacheFileError` for any other. Qdrant needs the optional extra `routerlab[qdrant]`.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith("sqlite:///"):
        from routerlab.cache.sqlite import SQLiteStore

        return SQLiteStore(url.removeprefix("sqlite:///"))
    if url.startswith(("qdrant://", "qdrants://")):
        from routerlab.cache.qdrant import open_qdrant

        return open_qdrant(url)
    raise CacheFileError(
        f"unknown cache URL {url!r}: use memory://, sqlite:///path/to/file or qdrant://host:6333"
    )
