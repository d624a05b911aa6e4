"""Unit vectors of texts that were embedded before, kept in the cache folder between notebooks.

Does not know: what the texts are. Never where encoding is what is measured.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from routerlab.embedding import Embedder, MiniLMEmbedder, Vectors
from routerlab.errors import DataError
from routerlab.files import cache_dir
from routerlab.weights import EXPORT_VERSION

Found = TypeVar("Found")
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (text_sha256 TEXT PRIMARY KEY, vector BLOB NOT NULL)"
_FIND = (
    "SELECT text_sha256, vector FROM vectors WHERE text_sha256 IN (SELECT value FROM json_each(?))"
)
_BUSY_S = 60
"""How long to wait for another process that writes."""


class KeptVectors:
    """An `Embedder` that asks another one only for texts that it has not met.

    Kept in an SQLite file, which several processes may share; one that is damaged is made anew.
    `DataError` where nothing can be kept.
    """

    def __init__(self, embedder: Embedder | None = None, folder: Path | None = None) -> None:
        self.embedder = embedder or MiniLMEmbedder()
        self.id = self.embedder.id
        self.dimension = self.embedder.dimension
        # Another export of the same weights gives other last bits.
        name = hashlib.sha256(f"{self.id} v{EXPORT_VERSION}".encode()).hexdigest()[:16]
        self._path = (folder or cache_dir() / "embedding") / f"vectors-{name}.sqlite"
        self._kept: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        keys = [hashlib.sha256(text.encode("utf-8")).hexdigest() for text in texts]
        asked = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if asked:
            self._kept |= self._with_file(lambda file: self._found(file, asked))
            new = {key: text for key, text in asked.items() if key not in self._kept}
            if new:
                vectors = self.embedder.encode(list(new.values()))
                made = dict(zip(new, vectors, strict=True))
                self._kept |= made
                self._with_file(lambda file: _add(file, made))
        empty = np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([self._kept[key] for key in keys]) if keys else empty

    def _with_file(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._once(work)
        except (OSError, sqlite3.OperationalError) as error:
            # The file, if there is one, is as good as before.
            raise DataError(
                f"vectors cannot be kept in {self._path}: {error}; make room there and the folder "
                "writable, or name another one in ROUTERLAB_CACHE"
            ) from error
        except sqlite3.DatabaseError:
            self._path.unlink()  # it can always be computed again
            return self._once(work)

    def _once(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as file, file:
            file.execute(_TABLE)
            return work(file)

    def _found(self, file: sqlite3.Connection, keys: Iterable[str]) -> dict[str, Vectors]:
        rows = file.execute(_FIND, [json.dumps(list(keys))])
        return {key: np.frombuffer(blob, dtype=np.float32) for key, blob in rows}


def _add(file: sqlite3.Connection, vectors: Mapping[str, Vectors]) -> None:
    rows = [(key, vector.astype(np.float32).tobytes()) for key, vector in vectors.items()]
    file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
