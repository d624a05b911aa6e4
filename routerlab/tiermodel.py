"""The model behind the classifier: a linear one and a vote of near queries, pooled.

The linear one weighs embedding, word n-grams of the whole text and of its ask, and cues; the vote
is of the training queries nearest to the embedding in a smaller space.

Fitted scikit-learn parts go in; inference is a few NumPy products, since scikit-learn's own checks
cost more than the sums for one query (a test holds that both agree). Does not know: training,
files, costs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cues import ask_of, cues
from routerlab.embedding import Vectors
from routerlab.query import CLASSIFIED_CHARS

CUE_WEIGHT = 0.15
"""Size of the cues beside blocks of unit length: what is larger is regularised less."""

NEIGHBOURS = 30
SHARPNESS = 10.0
FLOOR = 0.02
"""The vote: how many queries, how fast their weight falls with the cosine, and what a tier without
any vote keeps."""

_TINY = 1e-12

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class TierModel:
    """Fitted parts, and the calibration of their output.

    `words`, `ask_words`: `TfidfVectorizer`s (sublinear, unit length, one analyser) of the text and
    of its ask.
    `scaler`: a `StandardScaler` over cues. `linear`: a `LogisticRegression` over embedding, words,
    ask words, cues. `centre`, shape (d,), and `projection`, shape (d, k), make the smaller space in
    which `neighbours` are unit vectors of the training queries, float16, shape (n, k), with
    `neighbour_tiers`, shape (n,). `vote` is the weight of their vote in the pooled log odds, the
    linear model has the rest; `temperature` divides the sum. `priors`: shares of the tiers where
    the model is used, against `shares`, those of its training.
    """

    words: Any
    ask_words: Any
    scaler: Any
    linear: Any
    centre: Vectors
    projection: Vectors
    neighbours: NDArray[np.float16]
    neighbour_tiers: NDArray[np.int64]
    vote: float
    temperature: float
    priors: tuple[float, ...]
    shares: tuple[float, ...]

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> Matrix:
        """Probabilities, shape (n, 4), of texts with their unit vectors, shape (n, d)."""
        clipped = [text[:CLASSIFIED_CHARS] for text in texts]
        cued = (cues(clipped) - self.scaler.mean_) / self.scaler.scale_
        logits = vectors.astype(np.float64) @ self._linear.embedding
        logits += cued @ self._linear.cues + self._linear.intercept
        for row, text in enumerate(clipped):
            logits[row] += self._of_words(text)
        pooled = (1 - self.vote) * np.log(_normalised(logits) + _TINY)
        pooled += self.vote * np.log(self._voted(vectors))
        return _normalised(pooled / self.temperature + self._shift)

    def _of_words(self, text: str) -> Matrix:
        """What the n-grams of a text and of its ask add to the logits, shape (4,)."""
        terms, ask = self._analyse(text), ask_of(text)
        asked = terms if len(ask) >= len(text.strip()) else self._analyse(ask)
        return self._linear.words.of(terms) + self._linear.ask_words.of(asked)

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
    def _tier_of_neighbour(self) -> Matrix:
        tiers: Matrix = np.eye(len(self.shares))[self.neighbour_tiers]
        return tiers

    @cached_property
    def _neighbours(self) -> Vectors:
        # Shape (k, n), contiguous: a product with one row is then twice as quick.
        return np.ascontiguousarray(self.neighbours.T, dtype=np.float32)

    @cached_property
    def _analyse(self) -> Any:
        return self.words.build_analyzer()

    @cached_property
    def _shift(self) -> Matrix:
        shift: Matrix = np.log(np.asarray(self.priors)) - np.log(np.asarray(self.shares))
        return shift

    @cached_property
    def _linear(self) -> _Linear:
        sizes = (len(self.centre), len(self.words.vocabulary_), len(self.ask_words.vocabulary_))
        parts = np.split(self.linear.coef_.T.astype(np.float64), np.cumsum(sizes))
        embedding, words, ask_words, cued = (np.ascontiguousarray(part) for part in parts)
        return _Linear(
            embedding=embedding,
            words=_Terms(self.words.vocabulary_, self.words.idf_, words),
            ask_words=_Terms(self.ask_words.vocabulary_, self.ask_words.idf_, ask_words),
            cues=cued * CUE_WEIGHT,
            intercept=self.linear.intercept_,
        )


@dataclass(frozen=True)
class _Terms:
    """A vocabulary with what each term weighs, shape (n,), and its coefficients, shape (n, 4)."""

    vocabulary: Mapping[str, int]
    idf: NDArray[np.floating[Any]]
    coefficients: Matrix

    def of(self, terms: Sequence[str]) -> Matrix:
        """The tf-idf weights of terms, of unit length, times their coefficients; shape (4,)."""
        counts = Counter(map(self.vocabulary.get, terms))
        counts.pop(None, None)
        if not counts:
            return np.zeros(self.coefficients.shape[1])
        columns = np.fromiter(counts, dtype=np.int64, count=len(counts))
        often = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        weights = self.idf[columns] * (1 + np.log(often))
        found: Matrix = weights @ self.coefficients[columns] / math.sqrt(weights @ weights)
        return found


@dataclass(frozen=True)
class _Linear:
    """The linear model's coefficients by block, each of shape (columns, 4)."""

    embedding: Matrix
    words: _Terms
    ask_words: _Terms
    cues: Matrix
    intercept: Matrix


def unit(rows: NDArray[np.floating[Any]]) -> Vectors:
    """Rows scaled to length one; a row of zeros stays as it is."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Vectors = (rows / np.maximum(length, _TINY)).astype(np.float32)
    return scaled


def _normalised(logits: Matrix) -> Matrix:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba: Matrix = odds / odds.sum(axis=1, keepdims=True)
    return proba
