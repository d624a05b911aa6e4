"""Trains the complexity classifier and scores it beside simple baselines.

Does not know: files of the results folder, plots. Families never straddle a fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from routerlab.classifier import ModelCard, load_classifier, save_classifier
from routerlab.embedding import Embedder, Vectors
from routerlab.errors import ClassifierError
from routerlab.lab import metrics
from routerlab.lab.metrics import Metric
from routerlab.lab.queries import TRAINING_FILE, LabelledQuery, load_training
from routerlab.types import TIERS

FOLDS = 5
C_GRID = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse regularisation strengths tried in cross-validation."""


@dataclass(frozen=True)
class Features:
    """Queries as a learner sees them: texts, unit vectors (n, d), tier numbers 0 to 3, families."""

    texts: list[str]
    vectors: Vectors
    tiers: NDArray[np.int64]
    families: list[str]


def features(queries: Sequence[LabelledQuery], embedder: Embedder) -> Features:
    """Embed queries as the router would judge them, earlier turns included."""
    texts = [query.conversation.judged_text for query in queries]
    tiers = np.array([TIERS.index(query.tier) for query in queries], dtype=np.int64)
    return Features(texts, embedder.encode(texts), tiers, [query.family for query in queries])


def estimator(strength: float, seed: int) -> Any:
    """The classifier before fitting: logistic regression on the embedding."""
    return LogisticRegression(C=strength, max_iter=2_000, random_state=seed)


def choose_strength(train: Features, seed: int) -> dict[float, float]:
    """Log loss by inverse regularisation strength, cross-validated over families."""
    return {
        strength: float(
            log_loss(train.tiers, _cross_validated(estimator(strength, seed), train.vectors, train))
        )
        for strength in C_GRID
    }


def fit(train: Features, seed: int) -> Any:
    """The classifier, fitted with the strength of the least cross-validated log loss."""
    losses = choose_strength(train, seed)
    best = min(losses, key=lambda strength: losses[strength])
    return estimator(best, seed).fit(train.vectors, train.tiers)


def _cross_validated(model: Any, inputs: Any, train: Features) -> NDArray[np.float64]:
    folds = GroupKFold(FOLDS)
    proba: NDArray[np.float64] = cross_val_predict(
        model, inputs, train.tiers, groups=train.families, cv=folds, method="predict_proba"
    )
    return proba


def length_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Characters and words of each text, logarithms; shape (n, 2)."""
    return np.log1p([[len(text), len(text.split())] for text in texts])


def baselines(seed: int) -> dict[str, Any]:
    """Learners that see texts alone; a classifier must beat each to be worth its milliseconds."""
    return {
        "length_only": make_pipeline(
            FunctionTransformer(length_features),
            StandardScaler(),
            LogisticRegression(random_state=seed),
        ),
        "tfidf": make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
            LogisticRegression(C=10.0, max_iter=2_000, random_state=seed),
        ),
    }


@dataclass(frozen=True)
class Score:
    """How predictions compare with the labels: accuracy and macro-F1."""

    accuracy: Metric
    macro_f1: Metric

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return {"accuracy": self.accuracy.as_dict(), "macro_f1": self.macro_f1.as_dict()}


def score(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], families: Sequence[str], seed: int
) -> Score:
    """Accuracy with an interval over families, and macro-F1."""
    return Score(
        metrics.mean(truth == predicted, families, seed=seed),
        metrics.macro_f1(truth, predicted, seed=seed),
    )


def ensure_classifier(folder: Path, embedder: Embedder, seed: int = 0) -> ModelCard:
    """Train and store a classifier where the folder has none that fits data and embedding."""
    try:
        return load_classifier(embedder.id, folder).card
    except ClassifierError:
        train = features(load_training(), embedder)
        return store(fit(train, seed), folder, embedder, len(train.texts), seed)


def store(model: Any, folder: Path, embedder: Embedder, rows: int, seed: int) -> ModelCard:
    """Store a classifier fitted on the committed training queries."""
    return save_classifier(
        model,
        folder,
        embedder_id=embedder.id,
        training_file=TRAINING_FILE,
        rows=rows,
        seed=seed,
    )


def majority(tiers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Always the commonest label of the very set that is scored: no constant guess does better."""
    return np.full(len(tiers), np.bincount(tiers).argmax())


def score_on(model: Any, train: Features, test: Features, seed: int) -> dict[str, Any]:
    """Scores of the fitted classifier and of each baseline on queries that no one trained on."""
    guesses = {"majority": majority(test.tiers)} | {
        name: one.fit(train.texts, train.tiers).predict(test.texts)
        for name, one in baselines(seed).items()
    }
    return _scores(model.predict(test.vectors), guesses, test, seed)


def score_cross_validated(model: Any, train: Features, seed: int) -> dict[str, Any]:
    """The same scores on the training queries themselves, by folds over families."""
    texts = np.array(train.texts, dtype=object)
    guesses = {"majority": majority(train.tiers)} | {
        name: _cross_validated(one, texts, train).argmax(axis=1)
        for name, one in baselines(seed).items()
    }
    own = _cross_validated(model, train.vectors, train).argmax(axis=1)
    return _scores(own, guesses, train, seed)


def _scores(
    own: NDArray[np.int64], guesses: dict[str, NDArray[np.int64]], test: Features, seed: int
) -> dict[str, Any]:
    def scored(predicted: NDArray[np.int64]) -> dict[str, Any]:
        return score(test.tiers, predicted, test.families, seed).as_dict()

    return {**scored(own), "baselines": {name: scored(guess) for name, guess in guesses.items()}}
