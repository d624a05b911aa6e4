"""Nearest neighbours by brute force: one NumPy matrix of unit vectors a scope.

Does not know: what the vectors stand for, how entries are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from routerlab.embedding import Vectors

_FIRST_ROWS = 4
"""Each conversation is a scope of its own, so most matrices stay tiny."""


class VectorIndex:
    """Unit vectors by entry id. The matrix doubles when full and halves when three quarters empty.

    Removing moves the last row into the gap, so the rows in use are always the first ones.
    """

    def __init__(self, dimension: int) -> None:
        self._rows: Vectors = np.empty((_FIRST_ROWS, dimension), dtype=np.float32)
        self._ids: list[int] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def capacity(self) -> int:
        """Rows that are allocated."""
        return len(self._rows)

    def add(self, entry_id: int, vector: Vectors) -> None:
        """Add a vector of shape (dimension,)."""
        used = len(self._ids)
        if used == len(self._rows):
            self._resize(2 * used)
        self._rows[used] = vector
        self._ids.append(entry_id)
        self._place[entry_id] = used

    def remove(self, entry_id: int) -> None:
        """Take a vector out; an unknown id is ignored."""
        place = self._place.pop(entry_id, None)
        if place is None:
            return
        last_id = self._ids.pop()
        if last_id != entry_id:
            self._rows[place] = self._rows[len(self._ids)]
            self._ids[place] = last_id
            self._place[last_id] = place
        if _FIRST_ROWS < len(self._rows) >= 4 * len(self._ids):
            self._resize(max(_FIRST_ROWS, len(self._rows) // 2))

    def nearest(self, vector: Vectors, at_least: float) -> Iterator[tuple[int, float]]:
        """Entry ids with their cosine, nearest first, down to the cosine `at_least`."""
        scores = self._rows[: len(self._ids)] @ vector
        close = np.flatnonzero(scores >= at_least)
        for place in close[np.argsort(-scores[close], kind="stable")].tolist():
            yield self._ids[place], float(scores[place])

    def _resize(self, rows: int) -> None:
        used = len(self._ids)
        resized = np.empty((rows, self._rows.shape[1]), dtype=np.float32)
        resized[:used] = self._rows[:used]
        self._rows = resized


class ScopedIndex:
    """A `VectorIndex` a scope; a scope without vectors takes no room."""

    def __init__(self) -> None:
        self._by_scope: dict[str, VectorIndex] = {}
        self._scope_of: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._scope_of)

    def ids(self) -> set[int]:
        """Ids of all vectors."""
        return set(self._scope_of)

    def add(self, scope: str, entry_id: int, vector: Vectors) -> None:
        """Add a vector of shape (dimension,) to a scope."""
        self._by_scope.setdefault(scope, VectorIndex(len(vector))).add(entry_id, vector)
        self._scope_of[entry_id] = scope

    def remove(self, entry_id: int) -> None:
        """Take a vector out of its scope; an unknown id is ignored."""
        scope = self._scope_of.pop(entry_id, None)
        if scope is None:
            return
        index = self._by_scope[scope]
        index.remove(entry_id)
        if not len(index):
            del self._by_scope[scope]

    def nearest(self, scope: str, vector: Vectors, at_least: float) -> list[tuple[int, float]]:
        """Entry ids of a scope with their cosine, nearest first, down to `at_least`."""
        index = self._by_scope.get(scope)
        return [] if index is None else list(index.nearest(vector, at_least))
