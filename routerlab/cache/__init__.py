"""The answer cache: exact layer, then semantic layer, over one store.

`SemanticCache` is the face that the router uses. Does not know: how a query is embedded, which
model answered, or whether a hit was right (notebook 03 measures that and sets the threshold).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from routerlab.cache.index import VectorIndex
from routerlab.cache.keys import CacheKey, Scope
from routerlab.cache.sameanswer import is_time_sensitive, may_share_answer
from routerlab.cache.stores import Entry, Store, open_store
from routerlab.embedding import Vectors
from routerlab.types import CacheResult, as_tier

__all__ = ["CacheKey", "CacheStats", "Entry", "Scope", "SemanticCache", "Store"]

DEFAULT_THRESHOLD = 0.95
"""Cosine below which nothing is served, where no calibration is at hand."""
MISS = CacheResult(status="miss")


@dataclass(frozen=True)
class CacheStats:
    """Look-ups since the cache was opened, and entries stored now."""

    entries: int
    exact_hits: int
    semantic_hits: int
    misses: int


class SemanticCache:
    """Answers by scope and text: the same text exactly, or a like text that may share its answer.

    `url`: `memory://` or `sqlite:///path/to/file`. `threshold`: least cosine of a semantic hit.
    `ttl_s`: age at which an entry is no longer served. `max_entries`: least recently used go first.
    `verify`: False leaves out the same-answer check (for measuring it). Thread-safe.
    """

    def __init__(
        self,
        url: str = "memory://",
        *,
        threshold: float = DEFAULT_THRESHOLD,
        ttl_s: float | None = 7 * 24 * 3600,
        max_entries: int = 100_000,
        verify: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is a cosine above 0 and at most 1, got {threshold}")
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self.threshold = threshold
        self.ttl_s = ttl_s
        self.max_entries = max_entries
        self.verify = verify
        self._clock = clock
        self._lock = threading.RLock()
        self._store: Store = open_store(url)
        self._indexes: dict[str, VectorIndex] = {}
        self._last_id = 0
        self._counts = {"exact": 0, "semantic": 0, "miss": 0}
        self._load_new()

    def get(self, key: CacheKey, vector: Vectors | None = None) -> CacheResult:
        """Look up in the exact layer, or, with the query's unit vector, in the semantic one.

        A look-up counts as a miss once, when the semantic layer had its turn.
        """
        with self._lock:
            self._load_new()
            result = self._exact(key) if vector is None else self._semantic(key, vector)
            if result.hit or vector is not None:
                self._counts[result.status] += 1
            return result

    def put(
        self, key: CacheKey, vector: Vectors, answer: str, *, tier: str, model: str, provider: str
    ) -> int | None:
        """Store a complete answer; its entry id, or None for a query that is never cached."""
        if is_time_sensitive(key.text):
            return None
        with self._lock:
            entry = Entry(
                id=0,
                scope=key.scope_hash,
                text=key.text,
                answer=answer,
                tier=tier,
                model=model,
                provider=provider,
                created=self._clock(),
                vector=vector,
            )
            for replaced in self._store.remove_exact(key.scope_hash, key.text):
                self._drop(key.scope_hash, replaced)
            entry_id = self._store.add(entry)
            self._load_new()
            excess = self._store.count() - self.max_entries
            if excess > 0:
                for scope, evicted in self._store.evict(excess):
                    self._drop(scope, evicted)
            return entry_id

    def forget(self, entry_id: int) -> bool:
        """Remove an entry for good; False where there was none."""
        with self._lock:
            entry = self._store.get(entry_id)
            if entry is None:
                return False
            self._drop(entry.scope, entry_id)
            return self._store.remove(entry_id)

    def stats(self) -> CacheStats:
        """Counts so far."""
        with self._lock:
            return CacheStats(
                self._store.count(),
                self._counts["exact"],
                self._counts["semantic"],
                self._counts["miss"],
            )

    def close(self) -> None:
        """Release the store; a file stays as it is."""
        with self._lock:
            self._store.close()

    def _exact(self, key: CacheKey) -> CacheResult:
        entry = self._store.find_exact(key.scope_hash, key.text)
        if entry is None or self._expired(entry):
            return MISS
        return self._result(entry, "exact", 1.0)

    def _semantic(self, key: CacheKey, vector: Vectors) -> CacheResult:
        if is_time_sensitive(key.text):
            return MISS
        index = self._indexes.get(key.scope_hash)
        if index is None:
            return MISS
        for entry_id, score in index.nearest(vector, at_least=self.threshold):
            entry = self._store.get(entry_id)
            if entry is None:  # removed by another process that shares the file
                self._drop(key.scope_hash, entry_id)
                continue
            if self._expired(entry):
                continue
            if not self.verify or may_share_answer(key.text, entry.text):
                return self._result(entry, "semantic", score)
        return MISS

    def _result(self, entry: Entry, status: str, score: float) -> CacheResult:
        self._store.touch(entry.id)
        return CacheResult(
            status="exact" if status == "exact" else "semantic",
            entry_id=entry.id,
            answer=entry.answer,
            tier=as_tier(entry.tier),
            model=entry.model,
            provider=entry.provider,
            score=score,
            threshold=self.threshold,
            source_query=entry.text,
            age_s=self._clock() - entry.created,
        )

    def _expired(self, entry: Entry) -> bool:
        return self.ttl_s is not None and self._clock() - entry.created > self.ttl_s

    def _drop(self, scope: str, entry_id: int) -> None:
        if scope in self._indexes:
            self._indexes[scope].remove(entry_id)

    def _load_new(self) -> None:
        for entry_id, scope, vector in self._store.vectors_after(self._last_id):
            self._indexes.setdefault(scope, VectorIndex(len(vector))).add(entry_id, vector)
            self._last_id = max(self._last_id, entry_id)
