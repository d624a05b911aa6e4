"""The collection of a Qdrant server that holds a cache: reached, made, recognised, refused, asked.

Does not know: how an entry is laid out, which is least used.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from routerlab.errors import CacheFileError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

APPLICATION = "routerlab-cache"
SCHEMA_VERSION = 1
DEFAULT_COLLECTION = "routerlab_cache"
_TIMEOUT_S = 5


class Collection:
    """One collection; every failure of the client leaves it as a `CacheFileError`.

    A server must be 1.16 or newer: older ones do not keep the mark by which a cache is told.
    """

    def __init__(self, client: QdrantClient, name: str, server: str) -> None:
        from qdrant_client import models
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException

        self.client = client
        self.name = name
        self.models: Any = models
        self.dimension = 0
        self._title = f"collection {name!r} of {server}"
        # Local mode raises what Python and SQLite do, where a server answers with a status.
        local = (ValueError, RuntimeError, OSError, sqlite3.Error)
        self._failures: tuple[type[Exception], ...] = (ApiException, QdrantException, *local)

    def ask(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Call a method of the client on this collection."""
        try:
            return method(self.name, **arguments)
        except self._failures as error:
            self.dimension = 0  # the collection may be gone: the next call looks again
            advice = "check that the server runs and that the URL names it"
            if getattr(error, "status_code", None) in (401, 403):
                advice = "set QDRANT_API_KEY and use qdrants://, as a key is sent over https alone"
            raise CacheFileError(f"{self._title}: {_reason(error)}; {advice}") from error

    def ready(self) -> bool:
        """Whether it is there. Asked until it is, as another process may make it."""
        if not self.dimension and self.ask(self.client.collection_exists):
            self._accept(self.ask(self.client.get_collection))
        return self.dimension > 0

    def prepare(self, dimension: int) -> None:
        """Make it for vectors of this dimension if it is not there."""
        if self.ready():
            return
        models = self.models
        try:
            self.ask(
                self.client.create_collection,
                vectors_config=models.VectorParams(size=dimension, distance=models.Distance.COSINE),
                # Every query names its scope: graphs are built within large scopes, none across.
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
                metadata={"application": APPLICATION, "schema": SCHEMA_VERSION},
            )
        except CacheFileError:
            if not self.ready():  # else another process was faster
                raise
        self.ready()

    def check_dimension(self, dimension: int) -> None:
        """Refuse vectors of another dimension than the collection's."""
        if dimension != self.dimension:
            raise CacheFileError(
                f"{self._title} holds vectors of {self.dimension} dimensions, not {dimension}: "
                "use the embedding that filled it, or name another collection"
            )

    def _accept(self, info: Any) -> None:
        marks = info.config.metadata or {}
        if marks.get("application") != APPLICATION:
            raise CacheFileError(
                f"{self._title} is no routerlab cache, or its server is older than Qdrant 1.16: it "
                "was left as it is; name another one, as in qdrant://host:6333/another"
            )
        if marks.get("schema") != SCHEMA_VERSION:
            raise CacheFileError(
                f"{self._title} has cache schema {marks.get('schema')}, this routerlab reads "
                f"{SCHEMA_VERSION}: use the routerlab that wrote it, or name another collection"
            )
        # Here and not at creation alone: whoever created it may have been killed in between.
        keyword = self.models.KeywordIndexParams(type="keyword", is_tenant=True)
        integer = self.models.PayloadSchemaType.INTEGER
        index = self.client.create_payload_index
        for field, schema in {"scope": keyword, "id": integer, "used": integer}.items():
            if field not in info.payload_schema:
                self.ask(index, field_name=field, field_schema=schema, wait=True)
        self.dimension = int(info.config.params.vectors.size)


def connect(url: str) -> tuple[QdrantClient, str, str]:
    """A client for a URL, the collection that it names, and its server for messages.

    Nothing is asked of the server yet. The environment's QDRANT_API_KEY goes with `qdrants://`
    alone, never in the clear.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as missing:
        message = "a Qdrant cache needs its client: pip install 'routerlab[qdrant]'"
        raise CacheFileError(message) from missing
    scheme = "https" if url.startswith("qdrants://") else "http"
    key = os.environ.get("QDRANT_API_KEY", "").strip() if scheme == "https" else ""
    if not (key.isascii() and key.isprintable()):  # else the client would quote it in its error
        raise CacheFileError("QDRANT_API_KEY has characters that no key has: set it anew")
    try:
        parts = urlsplit(url)
        collection = parts.path.strip("/") or DEFAULT_COLLECTION
        odd = "@" in parts.netloc or parts.query or parts.fragment or "/" in collection
        if odd or not parts.hostname:
            raise ValueError
        client = QdrantClient(
            url=f"{scheme}://{parts.netloc}",
            port=parts.port or 6333,
            api_key=key or None,
            timeout=_TIMEOUT_S,
            check_compatibility=False,  # it would warn from a thread of its own
        )
    except ValueError:  # the URL is not shown: somebody may have put a key there
        raise CacheFileError(
            "a Qdrant URL reads qdrant://host:6333 or qdrants://host:6333/collection, and a key "
            "belongs into QDRANT_API_KEY"
        ) from None
    return client, collection, f"Qdrant at {parts.netloc}"


def _reason(error: Any) -> str:
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return str(error.structured()["status"]["error"])
    return (str(error).splitlines() or [type(error).__name__])[0]
