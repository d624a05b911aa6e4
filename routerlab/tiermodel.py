"""The model behind the classifier: a linear one and a vote of near queries, pooled.

The linear one weighs embedding, word n-grams of the whole text and of its ask, and cues; the vote
is of the training queries nearest to the embedding in a smaller space.

Plain arrays, kept as one npz without pickle; inference is a few NumPy products, since scikit-learn
takes a second to import and its own checks cost more than the sums for one query (a test holds that
both agree). Does not know: training, costs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cues import ask_of, cues
from routerlab.embedding import Vectors
from routerlab.files import write_atomically
from routerlab.query import CLASSIFIED_CHARS

NEIGHBOURS = 30
SHARPNESS = 10.0
FLOOR = 0.02
"""The vote: how many queries, how fast their weight falls with the cosine, and what a tier without
any vote keeps."""

_TINY = 1e-12
_WORD = re.compile(r"\b\w\w+\b")

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """Word n-grams: names, inverse document frequencies, shape (n,), coefficients, shape (n, 4)."""

    names: tuple[str, ...]
    idf: Vectors
    coefficients: Vectors

    def of(self, terms: Sequence[str]) -> Matrix:
        """The tf-idf weights of terms, of unit length, times their coefficients; shape (4,)."""
        counts = Counter(map(self._place.get, terms))
        counts.pop(None, None)
        if not counts:
            return np.zeros(self.coefficients.shape[1])
        columns = np.fromiter(counts, dtype=np.int64, count=len(counts))
        often = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        weights = self.idf[columns] * (1 + np.log(often))
        found: Matrix = weights @ self.coefficients[columns] / math.sqrt(weights @ weights)
        return found

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}


@dataclass(frozen=True)
class TierModel:
    """Fitted numbers, and the calibration of their output.

    The linear model's log odds of the four tiers are the sum of: `embedding`, shape (d, 4), times
    the vector; `words` and `ask_words` of the text and of its ask; `cues`, shape (c, 4), times the
    cues less `cue_mean` over `cue_scale`; `intercept`, shape (4,). `centre`, shape (d,), and
    `projection`, shape (d, k), make the smaller space in which `neighbours` are unit vectors of the
    training queries, float16, shape (n, k), with `neighbour_tiers`, shape (n,). `vote` is the
    weight of their vote in the pooled log odds, the linear model has the rest; `temperature`
    divides the sum. `priors`: shares of the tiers where the model is used, against `shares`, those
    of its training. `estimator`: what it was fitted by, in words.
    """

    words: Terms
    ask_words: Terms
    embedding: Vectors
    cues: Vectors
    cue_mean: Matrix
    cue_scale: Matrix
    intercept: Matrix
    centre: Vectors
    projection: Vectors
    neighbours: NDArray[np.float16]
    neighbour_tiers: NDArray[np.int64]
    vote: float
    temperature: float
    priors: tuple[float, ...]
    shares: tuple[float, ...]
    estimator: str

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> Matrix:
        """Probabilities, shape (n, 4), of texts with their unit vectors, shape (n, d)."""
        clipped = [text[:CLASSIFIED_CHARS] for text in texts]
        logits = vectors.astype(np.float64) @ self._embedding + self.intercept
        logits += (cues(clipped) - self.cue_mean) / self.cue_scale @ self.cues
        for row, text in enumerate(clipped):
            logits[row] += self._of_words(text)
        pooled = (1 - self.vote) * np.log(_normalised(logits) + _TINY)
        pooled += self.vote * np.log(self._voted(vectors))
        return _normalised(pooled / self.temperature + self._shift)

    def _of_words(self, text: str) -> Matrix:
        """What the n-grams of a text and of its ask add to the logits, shape (4,)."""
        terms, ask = ngrams(text), ask_of(text)
        asked = terms if len(ask) >= len(text.strip()) else ngrams(ask)
        return self.words.of(terms) + self.ask_words.of(asked)

    def _voted(self, vectors: Vectors) -> Matrix:
        """Shares of the tiers among the nearest training queries, the nearer weighing more."""
        cosine = unit((vectors - self.centre) @ self.projection) @ self._neighbours
        count = min(NEIGHBOURS, cosine.shape[1])
        nearest = np.argpartition(cosine, -count, axis=1)[:, -count:]
        weight = np.exp(SHARPNESS * (cosine[np.arange(len(cosine))[:, None], nearest] - 1))
        votes = (weight[:, :, None] * self._tier_of_neighbour[nearest]).sum(axis=1)
        share = votes / weight.sum(axis=1, keepdims=True) + FLOOR
        voted: Matrix = share / share.sum(axis=1, keepdims=True)
        return voted

    @cached_property
    def _embedding(self) -> Matrix:
        return np.ascontiguousarray(self.embedding, dtype=np.float64)

    @cached_property
    def _tier_of_neighbour(self) -> Matrix:
        tiers: Matrix = np.eye(len(self.shares))[self.neighbour_tiers]
        return tiers

    @cached_property
    def _neighbours(self) -> Vectors:
        # Shape (k, n), contiguous: a product with one row is then twice as quick.
        return np.ascontiguousarray(self.neighbours.T, dtype=np.float32)

    @cached_property
    def _shift(self) -> Matrix:
        shift: Matrix = np.log(np.asarray(self.priors)) - np.log(np.asarray(self.shares))
        return shift

    def save(self, path: Path) -> None:
        """Keep the numbers as one npz, whole or not at all."""
        parts: dict[str, Any] = {}
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if isinstance(value, Terms):
                text = "\n".join(value.names).encode()
                parts[f"{name}.names"] = np.frombuffer(text, dtype=np.uint8)
                parts[f"{name}.idf"] = value.idf
                parts[f"{name}.coefficients"] = value.coefficients
            else:
                parts[name] = np.asarray(value)
        write_atomically(path, partial(np.savez_compressed, **parts))

    @classmethod
    def load(cls, path: Path) -> TierModel:
        """Read one; `files.BROKEN_ARCHIVE` where the file is none."""
        with np.load(path, allow_pickle=False) as kept:
            parts: dict[str, Any] = {
                field.name: _terms(kept, field.name) if field.type == "Terms" else kept[field.name]
                for field in fields(cls)
            }
        for name in ("vote", "temperature"):
            parts[name] = float(parts[name])
        for name in ("priors", "shares"):
            parts[name] = tuple(parts[name].tolist())
        return cls(**parts | {"estimator": str(parts["estimator"])})


def _terms(kept: Mapping[str, Any], name: str) -> Terms:
    names = kept[f"{name}.names"].tobytes().decode().split("\n")
    return Terms(tuple(names), kept[f"{name}.idf"], kept[f"{name}.coefficients"])


def ngrams(text: str) -> list[str]:
    """Words of two characters or more, and pairs of them: the terms that are counted."""
    words = _WORD.findall(text.lower())
    return words + [f"{one} {other}" for one, other in pairwise(words)]


def unit(rows: NDArray[np.floating[Any]]) -> Vectors:
    """Rows scaled to length one; a row of zeros stays as it is."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Vectors = (rows / np.maximum(length, _TINY)).astype(np.float32)
    return scaled


def _normalised(logits: Matrix) -> Matrix:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba: Matrix = odds / odds.sum(axis=1, keepdims=True)
    return proba
