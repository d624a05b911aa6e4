"""Cache entries in Qdrant, a vector database that many processes and hosts may share.

An entry is one point, whose id is a hash of scope and text: one upsert replaces an answer in a
single step, and two writers of the same text leave one entry. Does not know: thresholds, expiry.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from routerlab.cache.collection import DEFAULT_COLLECTION, Collection, connect
from routerlab.cache.stores import Entry, Store
from routerlab.embedding import Vectors
from routerlab.errors import CacheFileError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_EPOCH_MS = 1_735_689_600_000
_FIELDS = ("scope", "text", "answer", "tier", "model", "provider", "created")


class QdrantStore:
    """See `Store`. `client` becomes the store's own; `server` names it in messages.

    Ids grow as the hosts' clocks do. The client's local mode knows no payload index and compares
    with every entry; a server searches a very large scope by graph and may overlook the nearest
    one, which costs a hit and never serves a wrong answer.
    """

    def __init__(
        self, client: QdrantClient, collection: str = DEFAULT_COLLECTION, server: str = "Qdrant"
    ) -> None:
        self._client = client
        self._collection = Collection(client, collection, server)
        self._models = self._collection.models
        self._ask = self._collection.ask
        self._last_stamp = 0
        self._touched: dict[int, int] = {}
        self._collection.ready()

    def add(self, entry: Entry) -> int:
        """See `Store`. The first one makes the collection, for vectors of its dimension."""
        self._collection.prepare(len(entry.vector))
        self._collection.check_dimension(len(entry.vector))
        entry_id = self._stamp()
        payload = {name: getattr(entry, name) for name in _FIELDS}
        point = self._models.PointStruct(
            id=_point_id(entry.scope, entry.text),
            vector=entry.vector.tolist(),
            payload={**payload, "id": entry_id, "used": entry_id},
        )
        points = self._models.PointsList(points=[point])
        self._write(self._models.UpsertOperation(upsert=points))
        return entry_id

    def find(self, scope: str, text: str) -> Entry | None:
        """See `Store`."""
        if not self._collection.ready():
            return None
        ids = [_point_id(scope, text)]
        points = self._ask(self._client.retrieve, ids=ids, with_payload=True, with_vectors=True)
        entry = _entry(points[0]) if points else None
        return entry if entry and (entry.scope, entry.text) == (scope, text) else None

    def nearest(
        self, scope: str, vector: Vectors, at_least: float, count: int
    ) -> Sequence[tuple[Entry, float]]:
        """See `Store`."""
        if not self._collection.ready():
            return []
        self._collection.check_dimension(len(vector))
        near = self._ask(
            self._client.query_points,
            query=vector.tolist(),
            query_filter=self._where("scope", match=self._models.MatchValue(value=scope)),
            score_threshold=at_least,
            limit=count,
            with_payload=True,
            with_vectors=True,
        )
        return [(_entry(point), float(point.score)) for point in near.points]

    def touch(self, entry_id: int) -> None:
        """See `Store`. Buffered: written with the next entry, so that a hit writes nothing."""
        self._touched[entry_id] = self._stamp()

    def remove(self, entry_id: int) -> bool:
        """See `Store`."""
        self._touched.pop(entry_id, None)
        if not self._collection.ready():
            return False
        chosen = self._of_id(entry_id)
        if not self._ask(self._client.count, count_filter=chosen, exact=True).count:
            return False
        self._delete(chosen)
        return True

    def evict(self, keep: int) -> int:
        """See `Store`. An entry that another process uses meanwhile stays."""
        excess = self.count() - keep
        if excess <= 0:
            return 0
        self._write()
        oldest, _ = self._ask(
            self._client.scroll, limit=excess, order_by="used", with_payload=["used"]
        )
        if oldest:
            newest = max(point.payload["used"] for point in oldest)
            self._delete(self._where("used", range=self._models.Range(lte=newest)))
        return len(oldest)

    def count(self) -> int:
        """See `Store`."""
        if not self._collection.ready():
            return 0
        return int(self._ask(self._client.count, exact=True).count)

    def close(self) -> None:
        """See `Store`. Entries stay where they are."""
        with suppress(CacheFileError):
            self._write()
        self._client.close()

    def _write(self, *operations: Any) -> None:
        """Write what was touched, then the operations; durable once this returns."""
        models = self._models
        touched = [
            models.SetPayload(payload={"used": used}, filter=self._of_id(entry_id))
            for entry_id, used in self._touched.items()
        ]
        batch = [*(models.SetPayloadOperation(set_payload=each) for each in touched), *operations]
        if batch:
            self._ask(self._client.batch_update_points, update_operations=batch, wait=True)
        self._touched.clear()

    def _delete(self, chosen: Any) -> None:
        selector = self._models.FilterSelector(filter=chosen)
        self._ask(self._client.delete, points_selector=selector, wait=True)

    def _of_id(self, entry_id: int) -> Any:
        return self._where("id", match=self._models.MatchValue(value=entry_id))

    def _where(self, key: str, **condition: Any) -> Any:
        return self._models.Filter(must=[self._models.FieldCondition(key=key, **condition)])

    def _stamp(self) -> int:
        """A number above all before: milliseconds since 2025, then 12 random bits.

        Below 2**53, so that JSON, a data frame and Qdrant's ranges hold it exactly. Two processes
        draw the same one once in 4,096 pairs of the same millisecond, and then lose no entry, as
        no point is named by it: a `remove` would take both. Not `random`, which may be seeded.
        """
        milliseconds = time.time_ns() // 1_000_000 - _EPOCH_MS
        self._last_stamp = max(self._last_stamp + 1, milliseconds << 12 | secrets.randbits(12))
        return self._last_stamp


def open_qdrant(url: str) -> Store:
    """The store of `qdrant://host:port[/collection]`, or of `qdrants://` for https."""
    client, collection, server = connect(url)
    try:
        return QdrantStore(client, collection, server)
    except CacheFileError:
        client.close()
        raise


def _point_id(scope: str, text: str) -> str:
    digest = hashlib.sha256(json.dumps([scope, text]).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16]))


def _entry(point: Any) -> Entry:
    fields = {name: point.payload[name] for name in ("id", *_FIELDS)}
    return Entry(**fields, vector=np.asarray(point.vector, dtype=np.float32))
