"""The model behind the classifier: a linear one and a vote of near queries, averaged.

The linear one weighs embedding, word n-grams and cues; the vote is of the training queries nearest
to the embedding.

Fitted scikit-learn parts go in; inference is a few NumPy products, since scikit-learn's own checks
cost more than the sums for one query (a test holds that both agree). Does not know: training,
files, costs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cues import cues
from routerlab.embedding import Vectors
from routerlab.query import CLASSIFIED_CHARS

EMBEDDING_WEIGHT = 2.0
CUE_WEIGHT = 0.15
"""Sizes of the blocks beside word n-grams of unit length: what is larger is regularised less."""

NEIGHBOURS = 30
SHARPNESS = 20.0
FLOOR = 0.02
"""The vote: how many queries, how fast their weight falls with the cosine, and what a tier without
any vote keeps."""

_TINY = 1e-12

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class TierModel:
    """Fitted parts, and the calibration of their output.

    `words`: a `TfidfVectorizer` (sublinear, unit length). `scaler`: a `StandardScaler` over cues.
    `linear`: a `LogisticRegression` over the three blocks. `neighbours`: unit vectors of the
    training queries, float16, shape (n, d), with `neighbour_tiers`, shape (n,); `vote` is the
    weight of their vote, the linear model has the rest. `temperature` divides the log odds of the
    average.
    `priors`: shares of the tiers where the model is used, against `shares`, those of its training.
    """

    words: Any
    scaler: Any
    linear: Any
    neighbours: NDArray[np.float16]
    neighbour_tiers: NDArray[np.int64]
    vote: float
    temperature: float
    priors: tuple[float, ...]
    shares: tuple[float, ...]

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> Matrix:
        """Probabilities, shape (n, 4), of texts with their unit vectors, shape (n, d)."""
        scored = cues([text[:CLASSIFIED_CHARS] for text in texts])
        cued = (scored - self.scaler.mean_) / self.scaler.scale_
        logits = vectors.astype(np.float64) @ self._embedding + cued @ self._cues
        for row, text in enumerate(texts):
            logits[row] += self._of_words(text[:CLASSIFIED_CHARS])
        linear = _normalised(logits + self.linear.intercept_)
        average = (1 - self.vote) * linear + self.vote * self._voted(vectors)
        return _normalised(np.log(average + _TINY) / self.temperature + self._shift)

    def _voted(self, vectors: Vectors) -> Matrix:
        """Shares of the tiers among the nearest training queries, the nearer weighing more."""
        cosine = vectors @ self._neighbours.T
        count = min(NEIGHBOURS, cosine.shape[1])
        nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        weight = np.exp(SHARPNESS * (np.take_along_axis(cosine, nearest, axis=1) - 1))
        tiers = np.eye(len(self.priors))[self.neighbour_tiers[nearest]]
        share = np.einsum("nk,nkt->nt", weight / weight.sum(axis=1, keepdims=True), tiers) + FLOOR
        voted: Matrix = share / share.sum(axis=1, keepdims=True)
        return voted

    def _of_words(self, text: str) -> Matrix:
        vocabulary = self.words.vocabulary_
        counts = Counter(vocabulary[term] for term in self._analyse(text) if term in vocabulary)
        if not counts:
            return np.zeros(len(self.priors))
        columns = list(counts)
        weights = np.array([1 + math.log(count) for count in counts.values()])
        weights *= self.words.idf_[columns]
        found: Matrix = weights @ self._terms[columns] / math.sqrt(weights @ weights)
        return found

    @cached_property
    def _neighbours(self) -> Vectors:
        return self.neighbours.astype(np.float32)

    @cached_property
    def _analyse(self) -> Any:
        return self.words.build_analyzer()

    @cached_property
    def _shift(self) -> Matrix:
        shift: Matrix = np.log(np.asarray(self.priors)) - np.log(np.asarray(self.shares))
        return shift

    @cached_property
    def _embedding(self) -> Matrix:
        return np.ascontiguousarray(self._coefficients[: self._dimension]) * EMBEDDING_WEIGHT

    @cached_property
    def _terms(self) -> Matrix:
        stop = self._dimension + len(self.words.vocabulary_)
        return np.ascontiguousarray(self._coefficients[self._dimension : stop])

    @cached_property
    def _cues(self) -> Matrix:
        start = self._dimension + len(self.words.vocabulary_)
        return np.ascontiguousarray(self._coefficients[start:]) * CUE_WEIGHT

    @property
    def _coefficients(self) -> Matrix:
        coefficients: Matrix = self.linear.coef_.T
        return coefficients

    @property
    def _dimension(self) -> int:
        cue_columns = len(self.scaler.mean_)
        return int(self.linear.coef_.shape[1]) - len(self.words.vocabulary_) - cue_columns


def _normalised(logits: Matrix) -> Matrix:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba: Matrix = odds / odds.sum(axis=1, keepdims=True)
    return proba
