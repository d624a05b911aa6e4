"""Nearest neighbours by brute force: one NumPy matrix of unit vectors a scope.

Does not know: what the vectors stand for, how entries are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from routerlab.embedding import Vectors

_FIRST_ROWS = 64


class VectorIndex:
    """Unit vectors by entry id; adding doubles the room when full, removing keeps rows compact."""

    def __init__(self, dimension: int) -> None:
        self._rows: Vectors = np.empty((_FIRST_ROWS, dimension), dtype=np.float32)
        self._ids: list[int] = []
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, entry_id: int, vector: Vectors) -> None:
        """Add a vector of shape (dimension,)."""
        used = len(self._ids)
        if used == len(self._rows):
            grown = np.empty((2 * used, self._rows.shape[1]), dtype=np.float32)
            grown[:used] = self._rows
            self._rows = grown
        self._rows[used] = vector
        self._ids.append(entry_id)
        self._place[entry_id] = used

    def remove(self, entry_id: int) -> None:
        """Take a vector out; the last row moves into its place. Unknown ids are ignored."""
        place = self._place.pop(entry_id, None)
        if place is None:
            return
        last_id = self._ids.pop()
        if last_id != entry_id:
            self._rows[place] = self._rows[len(self._ids)]
            self._ids[place] = last_id
            self._place[last_id] = place

    def nearest(self, vector: Vectors, at_least: float) -> Iterator[tuple[int, float]]:
        """Entry ids with their cosine, nearest first, down to the cosine `at_least`."""
        scores = self._rows[: len(self._ids)] @ vector
        close = np.flatnonzero(scores >= at_least)
        for place in close[np.argsort(-scores[close], kind="stable")].tolist():
            yield self._ids[place], float(scores[place])
