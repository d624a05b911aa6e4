"""Unit vectors of texts that were embedded before, kept in the cache folder between notebooks.

Does not know: what the texts are. Never where encoding is what is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from routerlab.embedding import Embedder, MiniLMEmbedder, Vectors
from routerlab.files import cache_dir, write_atomically
from routerlab.weights import EXPORT_VERSION


class KeptVectors:
    """An `Embedder` that asks another one only for texts that it has not met."""

    def __init__(self, embedder: Embedder | None = None, folder: Path | None = None) -> None:
        self.embedder = embedder or MiniLMEmbedder()
        self.id = self.embedder.id
        self.dimension = self.embedder.dimension
        # Another export of the same weights gives other last bits.
        name = hashlib.sha256(f"{self.id} v{EXPORT_VERSION}".encode()).hexdigest()[:16]
        self._path = (folder or cache_dir() / "embedding") / f"vectors-{name}.npz"
        self._kept: dict[str, Vectors] | None = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        if self._kept is None:
            self._kept = self._load()
        keys = [hashlib.sha256(text.encode("utf-8")).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if new:
            vectors = self.embedder.encode(list(new.values()))
            self._kept.update(zip(new, vectors, strict=True))
            self._save(self._kept)
        empty = np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([self._kept[key] for key in keys]) if keys else empty

    def _load(self) -> dict[str, Vectors]:
        try:
            with np.load(self._path, allow_pickle=False) as kept:
                return dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))
        except (OSError, ValueError, KeyError, EOFError):
            return {}  # not there, or not readable: it can always be computed again

    def _save(self, kept: dict[str, Vectors]) -> None:
        keys, vectors = np.array(list(kept)), np.stack(list(kept.values()))
        write_atomically(self._path, lambda path: np.savez(path, keys=keys, vectors=vectors))
