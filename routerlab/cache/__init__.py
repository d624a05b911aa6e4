"""The answer cache: exact layer, then semantic layer, over one store.

`SemanticCache` is the face that the router uses. Does not know: how a query is embedded, which
model answered, who judges.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from routerlab.cache.controller import Decision, Judge, ThresholdController
from routerlab.cache.keys import CacheKey, Scope
from routerlab.cache.reading import is_time_sensitive
from routerlab.cache.stores import Entry, Store, open_store
from routerlab.cache.verifier import SameAnswerVerifier
from routerlab.embedding import Vectors
from routerlab.types import Audit, CacheResult, as_tier

__all__ = ["CacheKey", "CacheStats", "Entry", "Judge", "Scope", "SemanticCache", "Store"]

DEFAULT_THRESHOLD = 0.97
"""Cosine below which nothing is served, where no verifier is at hand."""
LEAST_COSINE = 0.6
"""Stored queries further away are no candidates."""
MISS = CacheResult(status="miss")


@dataclass(frozen=True)
class CacheStats:
    """Look-ups since the cache was opened, entries stored now, and what the threshold rests on."""

    entries: int
    exact_hits: int
    semantic_hits: int
    misses: int
    control: str


class SemanticCache:
    """Answers by scope and text: the same text exactly, or a near one that asks the same.

    `url`: `memory://`, `sqlite:///path/to/file` or `qdrant://host:port`. The nearest stored query
    is scored by `verifier` (its cosine without one) and served if `controller` says so; without
    one, from `threshold` on. `ttl_s`: age at which an entry is no longer served. `max_entries`:
    least recently used go first. Thread-safe; an async caller loses no more than a look-up's
    time. `distant`: whether a look-up goes over a network.
    """

    def __init__(
        self,
        url: str = "memory://",
        *,
        threshold: float = DEFAULT_THRESHOLD,
        verifier: SameAnswerVerifier | None = None,
        controller: ThresholdController | None = None,
        ttl_s: float | None = 7 * 24 * 3600,
        max_entries: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold lies above 0 and is at most 1, got {threshold}")
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self.controller = controller or ThresholdController(threshold)
        self.verifier = verifier
        self.distant = not url.startswith(("memory:", "sqlite:"))
        self.ttl_s = ttl_s
        self.max_entries = max_entries
        self._clock = clock
        self._lock = threading.RLock()
        self._store: Store = open_store(url)
        self._counts = {"exact": 0, "semantic": 0, "miss": 0}

    @property
    def threshold(self) -> float:
        """Least score of a semantic hit, as it stands now."""
        return self.controller.threshold

    def get(self, key: CacheKey, vector: Vectors | None = None) -> CacheResult:
        """Look up in the exact layer, or, with the query's unit vector, in the semantic one.

        A look-up counts as a miss once, when the semantic layer had its turn. A result with an
        `audit` asks to be judged: hand the verdict to `judged`.
        """
        with self._lock:
            result = self._exact(key) if vector is None else self._semantic(key, vector)
            if result.hit or vector is not None:
                self._counts[result.status] += 1
            return result

    def peek(self, key: CacheKey) -> CacheResult | None:
        """The exact hit of a text, or None; counted nowhere."""
        with self._lock:
            found = self._exact(key)
            return found if found.hit else None

    def put(
        self, key: CacheKey, vector: Vectors, answer: str, *, tier: str, model: str, provider: str
    ) -> int | None:
        """Store a complete answer; its entry id, or None for one that is never cached.

        That is the answer to a time-sensitive query, and one that no file can hold (half a
        surrogate pair, which JSON can carry).
        """
        if is_time_sensitive(key.text) or not _is_unicode(key.text + answer):
            return None
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
        with self._lock:
            entry_id = self._store.add(entry)
            self._store.evict(self.max_entries)
            return entry_id

    def judged(self, audit: Audit, right: bool) -> None:
        """Learn a verdict: would the stored answer have been right?"""
        with self._lock:
            self.controller.learn(audit.score, audit.cosine, right, audit.rate)

    def forget(self, entry_id: int) -> bool:
        """Remove an entry for good; False where there was none."""
        with self._lock:
            return self._store.remove(entry_id)

    def stats(self) -> CacheStats:
        """Counts so far."""
        with self._lock:
            return CacheStats(
                self._store.count(),
                self._counts["exact"],
                self._counts["semantic"],
                self._counts["miss"],
                self.controller.describe(),
            )

    def close(self) -> None:
        """Release the store; a file stays as it is."""
        with self._lock:
            self._store.close()

    def _exact(self, key: CacheKey) -> CacheResult:
        entry = self._store.find(key.scope_hash, key.text)
        if entry is None or self._expired(entry):
            return MISS
        return self._served(entry, "exact", 1.0, 1.0)

    def _semantic(self, key: CacheKey, vector: Vectors) -> CacheResult:
        if is_time_sensitive(key.text):
            return MISS
        found = self._nearest(key, vector)
        if found is None:
            self.controller.decide(None)
            return MISS
        entry, cosine = found
        score = (
            cosine if self.verifier is None else self.verifier.score(key.text, entry.text, cosine)
        )
        decision: Decision = self.controller.decide(score, cosine)
        audit = None
        if decision.audit:
            audit = Audit(key.text, entry.text, entry.answer, score, cosine, decision.rate)
        if decision.hit:
            return self._served(entry, "semantic", decision.score, cosine, audit)
        return CacheResult(
            status="miss",
            score=decision.score,
            threshold=self.threshold,
            cosine=cosine,
            audit=audit,
        )

    def _nearest(self, key: CacheKey, vector: Vectors) -> tuple[Entry, float] | None:
        """The nearest entry that is fresh; stale ones are removed on the way."""
        while near := self._store.nearest(key.scope_hash, vector, LEAST_COSINE, 1):
            entry, cosine = near[0]
            if not self._expired(entry):
                return entry, cosine
            self._store.remove(entry.id)
        return None

    def _served(
        self, entry: Entry, status: str, score: float, cosine: float, audit: Audit | None = None
    ) -> CacheResult:
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
            cosine=cosine,
            source_query=entry.text,
            age_s=self._clock() - entry.created,
            audit=audit,
        )

    def _expired(self, entry: Entry) -> bool:
        return self.ttl_s is not None and self._clock() - entry.created > self.ttl_s


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
