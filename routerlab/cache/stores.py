"""Where cache entries live: the `Store` protocol, a store in memory, and the choice by URL.

Does not know: similarity, thresholds, expiry.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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
    """Entries by id, and by scope and text. Ids only grow."""

    def add(self, entry: Entry) -> int:
        """Store an entry under a new id (its own is ignored); durable once this returns."""

    def get(self, entry_id: int) -> Entry | None:
        """An entry, or None."""

    def find_exact(self, scope: str, text: str) -> Entry | None:
        """The entry of that very text."""

    def vectors_after(self, entry_id: int) -> Sequence[tuple[int, str, Vectors]]:
        """Id, scope and vector of entries newer than an id, oldest first."""

    def touch(self, entry_id: int) -> None:
        """Note that an entry was used."""

    def remove(self, entry_id: int) -> bool:
        """Remove an entry; False where there was none."""

    def remove_exact(self, scope: str, text: str) -> Sequence[int]:
        """Remove the entries of that very text; their ids."""

    def evict(self, count: int) -> Sequence[tuple[str, int]]:
        """Remove the least recently used entries; scope and id of each."""

    def count(self) -> int:
        """How many entries there are."""

    def close(self) -> None:
        """Release what is held."""


class MemoryStore:
    """Entries in a dictionary, least recently used first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._by_text: dict[tuple[str, str], int] = {}
        self._new: list[int] = []
        self._next = 1

    def add(self, entry: Entry) -> int:
        """See `Store`."""
        entry_id, self._next = self._next, self._next + 1
        self._entries[entry_id] = replace(entry, id=entry_id)
        self._by_text[entry.scope, entry.text] = entry_id
        self._new.append(entry_id)
        return entry_id

    def get(self, entry_id: int) -> Entry | None:
        """See `Store`."""
        return self._entries.get(entry_id)

    def find_exact(self, scope: str, text: str) -> Entry | None:
        """See `Store`."""
        entry_id = self._by_text.get((scope, text))
        return None if entry_id is None else self._entries[entry_id]

    def vectors_after(self, entry_id: int) -> Sequence[tuple[int, str, Vectors]]:
        """See `Store`. One reader: ids handed out once are not kept in the list of new ones."""
        new, self._new = self._new, []
        found = (self._entries[i] for i in new if i > entry_id and i in self._entries)
        return [(e.id, e.scope, e.vector) for e in found]

    def touch(self, entry_id: int) -> None:
        """See `Store`."""
        self._entries.move_to_end(entry_id)

    def remove(self, entry_id: int) -> bool:
        """See `Store`."""
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return False
        if self._by_text.get((entry.scope, entry.text)) == entry_id:
            del self._by_text[entry.scope, entry.text]
        return True

    def remove_exact(self, scope: str, text: str) -> Sequence[int]:
        """See `Store`."""
        entry_id = self._by_text.get((scope, text))
        if entry_id is None:
            return []
        self.remove(entry_id)
        return [entry_id]

    def evict(self, count: int) -> Sequence[tuple[str, int]]:
        """See `Store`."""
        oldest = list(self._oldest(count))
        for _, entry_id in oldest:
            self.remove(entry_id)
        return oldest

    def _oldest(self, count: int) -> Iterator[tuple[str, int]]:
        for entry, _ in zip(self._entries.values(), range(count), strict=False):
            yield entry.scope, entry.id

    def count(self) -> int:
        """See `Store`."""
        return len(self._entries)

    def close(self) -> None:
        """See `Store`."""


def open_store(url: str) -> Store:
    """The store of a URL: `memory://` or `sqlite:///path`; `CacheFileError` for any other."""
    if url == "memory://":
        return MemoryStore()
    if url.startswith("sqlite:///"):
        from routerlab.cache.sqlite import SQLiteStore

        return SQLiteStore(url.removeprefix("sqlite:///"))
    raise CacheFileError(f"unknown cache URL {url!r}: use memory:// or sqlite:///path/to/file")
