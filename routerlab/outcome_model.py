"""What each model would score on a query, learned from outcomes: two views, averaged.

One logistic regression a model over embedding, surface and cues, which carries what is smooth; and
one forest of random trees over the same in a smaller space, which carries what is not, such as
tasks that lie side by side. Both are plain arrays, kept as one npz without pickle. Does not know:
training, prices, the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cues import CUES, cues
from routerlab.embedding import Vectors
from routerlab.errors import ClassifierError
from routerlab.files import BROKEN_ARCHIVE, sha256_bytes, write_atomically
from routerlab.query import CLASSIFIED_CHARS
from routerlab.surface import SURFACE, surface

Matrix = NDArray[np.float64]
WEIGHTS = np.array([0.2] * len(SURFACE) + [0.06] * len(CUES))
"""Size of surface and cues beside an embedding of unit length: what is larger is regularised less.
"""
_MOST = 4.0
"""Standard deviations beyond which a measure of wording counts no more."""


def wording(texts: Sequence[str]) -> Matrix:
    """Surface and cues of each text, shape (len(texts), len(WEIGHTS)), before scaling."""
    read = [text[:CLASSIFIED_CHARS] for text in texts]
    return np.hstack([surface(read), cues(read)])


def linear_inputs(vectors: Vectors, worded: Matrix, mean: Matrix, scale: Matrix) -> Matrix:
    """What the linear view sees, shape (n, d + w)."""
    scaled = np.clip((worded - mean) / scale, -_MOST, _MOST) * WEIGHTS
    inputs: Matrix = np.hstack([vectors.astype(np.float64), scaled])
    return inputs


def tree_inputs(vectors: Vectors, worded: Matrix, centre: Matrix, projection: Matrix) -> Vectors:
    """What the trees see, shape (n, c + w), float32."""
    seen: Vectors = np.hstack([(vectors - centre) @ projection, worded]).astype(np.float32)
    return seen


@dataclass(frozen=True)
class OutcomeModel:
    """Fitted parts for k models.

    `coefficients`, shape (d + w, k), and `intercept`, shape (k,): of the log odds to score, over
    the embedding and the w measures of wording less `mean` over `scale`, times `WEIGHTS`.
    `centre`, shape (d,), and `projection`, shape (d, c): the smaller space. The nodes of all trees
    stand in one row: `feature`, `threshold`, `left`, `right`, shape (nodes,), and `value`, shape
    (nodes, k); a leaf is its own child, `roots` are the first nodes, no leaf is below `depth`.
    """

    embedder_id: str
    models: tuple[str, ...]
    mean: Matrix
    scale: Matrix
    coefficients: Matrix
    intercept: Matrix
    centre: Matrix
    projection: Matrix
    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: Vectors
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Vectors
    depth: int

    def predict(self, texts: Sequence[str], vectors: Vectors) -> Matrix:
        """Expected score of each model, 0 to 1, shape (n, k); `vectors` of shape (n, d)."""
        return self.predict_from(vectors, wording(texts))

    def predict_from(self, vectors: Vectors, worded: Matrix) -> Matrix:
        """`predict` where `wording` is at hand, shape (n, w)."""
        inputs = linear_inputs(vectors, worded, self.mean, self.scale)
        linear = inputs @ self.coefficients + self.intercept
        pooled: Matrix = (1 / (1 + np.exp(-linear)) + self._of_trees(vectors, worded)) / 2
        return pooled

    def _of_trees(self, vectors: Vectors, worded: Matrix) -> Matrix:
        seen = tree_inputs(vectors, worded, self.centre, self.projection)
        at = np.tile(self.roots, (len(seen), 1))
        rows = np.arange(len(seen))[:, None]
        for _ in range(self.depth):
            below = seen[rows, self.feature[at]] <= self.threshold[at]
            at = np.where(below, self.left[at], self.right[at])
        # Tree by tree: all values at once would take n * trees * k numbers.
        total = np.zeros((len(seen), len(self.models)))
        for tree in range(at.shape[1]):
            total += self.value[at[:, tree]]
        return np.divide(total, at.shape[1], dtype=np.float64)

    @cached_property
    def digest(self) -> str:
        """Names the fitted numbers: equal digests predict equally."""
        parts = [np.asarray(getattr(self, field.name)) for field in fields(self)]
        return sha256_bytes(b"".join(part.tobytes() for part in parts))[:12]

    def save(self, path: Path) -> None:
        """Keep it as one npz, whole or not at all."""
        parts: dict[str, Any] = {
            field.name: np.asarray(getattr(self, field.name)) for field in fields(self)
        }
        write_atomically(path, partial(np.savez_compressed, **parts))

    @classmethod
    def load(cls, path: Path, embedder_id: str) -> OutcomeModel:
        """Read one; `ClassifierError` where it is missing, malformed or of another embedding."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                parts = {field.name: kept[field.name] for field in fields(cls)}
        except BROKEN_ARCHIVE as error:
            raise ClassifierError(
                f"no outcome model in {path}: run notebooks/05_cost_quality_frontier.ipynb"
            ) from error
        if str(parts["embedder_id"]) != embedder_id:
            raise ClassifierError(
                f"{path} was learned on {parts['embedder_id']}, this is {embedder_id}: run "
                "notebooks/05_cost_quality_frontier.ipynb again"
            )
        named = {
            "embedder_id": embedder_id,
            "models": tuple(parts["models"].tolist()),
            "depth": int(parts["depth"]),
        }
        return cls(**{**parts, **named})
