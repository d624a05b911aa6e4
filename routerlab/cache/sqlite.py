"""Cache entries in one SQLite file (WAL), which several processes may share.

A file that is corrupt, foreign or newer is refused and left as it is. Does not know: similarity.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from routerlab.cache.index import ScopedIndex
from routerlab.cache.stores import Entry
from routerlab.embedding import Vectors
from routerlab.errors import CacheFileError

APPLICATION_ID = 0x524C4143
SCHEMA_VERSION = 1
_FEW = 64
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL, text TEXT NOT NULL, answer TEXT NOT NULL,
    tier TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL,
    created REAL NOT NULL, used INTEGER NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_text ON entry (scope, text);
CREATE INDEX IF NOT EXISTS entry_used ON entry (used);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_NAMES = ("id", "scope", "text", "answer", "tier", "model", "provider", "created", "vector")
_COLUMNS = ", ".join(_NAMES)


class SQLiteStore:
    """See `Store`. `path` is made if missing, readable by its owner alone."""

    def __init__(self, path: str) -> None:
        # Absolute: an empty name and ":memory:" would be SQLite's own for what is not kept.
        self.path = str(Path(path).absolute())
        self._data_version = -1
        self._last_id = 0
        self._kept = 0
        self._index = ScopedIndex()
        self._touched: dict[int, None] = {}
        with self._errors():
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            Path(self.path).touch(mode=0o600)
        is_new = self._check()
        with self._errors():
            self._db = sqlite3.connect(
                self.path, timeout=10, isolation_level=None, check_same_thread=False
            )
        try:
            self._open(is_new)
        except CacheFileError:
            self._db.close()
            raise

    def _check(self) -> bool:
        """Whether the file is new; `CacheFileError` where it is not ours to write.

        Read-only, since closing a connection that may write moves a log into its file.
        """
        with self._errors(), closing(self._connect_read_only()) as db:
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
        if tables and application != APPLICATION_ID:
            raise CacheFileError(
                f"{self.path} is a database of something else: choose another file for the cache"
            )
        if tables and version != SCHEMA_VERSION:
            raise CacheFileError(
                f"{self.path} has cache schema {version}, this routerlab reads {SCHEMA_VERSION}: "
                "use the routerlab that wrote it, or choose another file"
            )
        return not tables

    def _connect_read_only(self) -> sqlite3.Connection:
        log = Path(f"{self.path}-wal")
        # Without a log to read, `immutable` keeps SQLite from leaving an empty one behind.
        how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
        return sqlite3.connect(f"{Path(self.path).as_uri()}?{how}", timeout=10, uri=True)

    def _open(self, is_new: bool) -> None:
        with self._errors():
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            if is_new:
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT vector, provider, used FROM entry LIMIT 1").fetchone()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise CacheFileError(
                f"cache file {self.path}: {error}. It was left as it is; move it away to start "
                "with an empty cache, or choose another file"
            ) from error

    def add(self, entry: Entry) -> int:
        """See `Store`. One transaction: a killed process leaves the old entry or the new."""
        with self._errors(), self._transaction():
            self._write_touched()
            replaced = self._db.execute(
                "DELETE FROM entry WHERE scope = ? AND text = ? RETURNING id",
                (entry.scope, entry.text),
            ).fetchall()
            cursor = self._db.execute(
                "INSERT INTO entry "
                "(scope, text, answer, tier, model, provider, created, used, vector) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM entry), ?)",
                (
                    entry.scope,
                    entry.text,
                    entry.answer,
                    entry.tier,
                    entry.model,
                    entry.provider,
                    entry.created,
                    entry.vector.astype("<f4").tobytes(),
                ),
            )
        entry_id = int(cursor.lastrowid or 0)
        for (old,) in replaced:
            self._index.remove(old)
        if entry_id == self._last_id + 1:
            self._take(entry_id, entry.scope, entry.vector)
        else:  # another process wrote in between: its entries are read first
            self._data_version = -1
        return entry_id

    def find(self, scope: str, text: str) -> Entry | None:
        """See `Store`."""
        return self._one("WHERE scope = ? AND text = ? ORDER BY id DESC", scope, text)

    def nearest(
        self, scope: str, vector: Vectors, at_least: float, count: int
    ) -> Sequence[tuple[Entry, float]]:
        """See `Store`."""
        self._read_new()
        found: list[tuple[Entry, float]] = []
        for entry_id, cosine in self._index.nearest(scope, vector, at_least):
            if len(found) == count:
                break
            entry = self._one("WHERE id = ?", entry_id)
            if entry is None:  # removed by another process
                self._index.remove(entry_id)
            else:
                found.append((entry, cosine))
        return found

    def touch(self, entry_id: int) -> None:
        """See `Store`. Written with the next entry, so that a hit writes nothing."""
        self._touched.pop(entry_id, None)
        self._touched[entry_id] = None

    def remove(self, entry_id: int) -> bool:
        """See `Store`."""
        self._index.remove(entry_id)
        with self._errors():
            return self._db.execute("DELETE FROM entry WHERE id = ?", (entry_id,)).rowcount > 0

    def evict(self, keep: int) -> int:
        """See `Store`."""
        self._read_new()
        if len(self._index) <= keep or (excess := self.count() - keep) <= 0:
            return 0
        with self._errors(), self._transaction():
            self._write_touched()
            rows = self._db.execute(
                "DELETE FROM entry WHERE id IN (SELECT id FROM entry ORDER BY used LIMIT ?) "
                "RETURNING id",
                (excess,),
            ).fetchall()
        for (entry_id,) in rows:
            self._index.remove(entry_id)
        return len(rows)

    def count(self) -> int:
        """See `Store`."""
        with self._errors():
            (entries,) = self._db.execute("SELECT count(*) FROM entry").fetchone()
        return int(entries)

    def close(self) -> None:
        """See `Store`."""
        with suppress(CacheFileError), self._errors(), self._transaction():
            self._write_touched()
        self._db.close()

    def _one(self, where: str, *values: object) -> Entry | None:
        with self._errors():
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM entry {where} LIMIT 1", values
            ).fetchone()
        if row is None:
            return None
        fields = dict(zip(_NAMES, row, strict=True))
        return Entry(**{**fields, "vector": _vector(fields["vector"])})

    def _read_new(self) -> None:
        """Take in what other processes added, where any has written since.

        What they removed leaves the index when found, or at the latest when it has doubled.
        """
        with self._errors():
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            if version == self._data_version:
                return
            for entry_id, scope, blob in self._db.execute(
                "SELECT id, scope, vector FROM entry WHERE id > ? ORDER BY id", (self._last_id,)
            ):
                self._take(entry_id, scope, _vector(blob))
            if len(self._index) > 2 * self._kept + _FEW:
                there = {row[0] for row in self._db.execute("SELECT id FROM entry")}
                for gone in self._index.ids() - there:
                    self._index.remove(gone)
                self._kept = len(self._index)
        self._data_version = version

    def _take(self, entry_id: int, scope: str, vector: Vectors) -> None:
        self._index.add(scope, entry_id, vector)
        self._last_id = entry_id

    def _write_touched(self) -> None:
        self._db.executemany(
            "UPDATE entry SET used = (SELECT max(used) + 1 FROM entry) WHERE id = ?",
            [(entry_id,) for entry_id in self._touched],
        )
        self._touched.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _vector(blob: bytes) -> Vectors:
    return np.frombuffer(blob, dtype="<f4")
