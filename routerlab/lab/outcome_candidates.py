"""Learners that were tried for the outcome policy, compared on training rows alone.

Does not know: test rows, what is served in the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from routerlab.embedding import Vectors
from routerlab.lab.frontier import judge
from routerlab.lab.metrics import Floats, Metric
from routerlab.lab.outcome_learning import (
    COMPONENTS,
    LEAF,
    STRENGTH,
    TREES,
    Evidence,
    Learner,
    learned,
    length_only,
    linear,
    tfidf,
)
from routerlab.lab.outcome_settings import FOLDS, LABELS, Prepared, run
from routerlab.outcome_model import linear_inputs, tree_inputs
from routerlab.surface import SURFACE

NEIGHBOURS, SHARPNESS = 50, 10.0


def embedding_alone(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """A logistic regression a model over the embedding."""
    return linear(train.vectors, scores, test.vectors, STRENGTH)


def linear_view(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """The linear half of what is served."""
    seen, asked = _linear_inputs(train, test)
    return linear(seen, scores, asked, STRENGTH)


def trees(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """The other half: random trees."""
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, max_features=0.3, random_state=seed)
    seen, asked = _tree_inputs(train, test, seed)
    predicted: Floats = forest.fit(seen, scores).predict(asked)
    return predicted


def boosted_trees(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """Small boosted trees, one booster a model."""
    seen, asked = _tree_inputs(train, test, seed)
    booster = HistGradientBoostingRegressor(
        max_depth=3, learning_rate=0.05, max_iter=60, min_samples_leaf=30, max_bins=63
    )
    return np.column_stack([booster.fit(seen, column).predict(asked) for column in scores.T])


def neighbours(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """Mean score of the nearest training queries, the nearer weighing more."""
    cosine = (test.vectors @ train.vectors.T).astype(float)
    nearest = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    weight = np.exp(SHARPNESS * (np.take_along_axis(cosine, nearest, axis=1) - 1))
    votes: Floats = np.einsum("nj,njk->nk", weight, scores[nearest])
    votes /= weight.sum(axis=1, keepdims=True)
    return votes


def kernel(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """Kernel ridge regression over the inputs of the linear view."""
    seen, asked = _linear_inputs(train, test)
    middle = scores.mean(axis=0)
    machine = KernelRidge(alpha=3.0, kernel="rbf", gamma=1.0).fit(seen, scores - middle)
    predicted: Floats = machine.predict(asked) + middle
    return predicted


def without_surface(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """What is served, without the measures of surface."""
    return _blind(train, scores, test, seed, slice(0, len(SURFACE)))


def without_cues(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """What is served, without cues."""
    return _blind(train, scores, test, seed, slice(len(SURFACE), None))


def without_embedding(train: Evidence, scores: Floats, test: Evidence, seed: int) -> Floats:
    """What is served, with an embedding that says nothing."""
    rng = np.random.default_rng(seed)
    noise = [rng.normal(size=one.vectors.shape).astype(np.float32) for one in (train, test)]
    noise = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in noise]
    return learned(replace(train, vectors=noise[0]), scores, replace(test, vectors=noise[1]), seed)


CANDIDATES: Mapping[str, Learner] = {
    "length only": length_only,
    "TF-IDF": tfidf,
    "embedding alone, linear": embedding_alone,
    "linear view": linear_view,
    "random trees": trees,
    "boosted trees": boosted_trees,
    "nearest neighbours": neighbours,
    "kernel ridge": kernel,
    "served: linear view and random trees": learned,
    "served, without surface": without_surface,
    "served, without cues": without_cues,
    "served, without embedding": without_embedding,
}


def compare(
    everything: Mapping[str, Prepared], names: Sequence[str], draws: int, seed: int
) -> dict[str, dict[str, Metric]]:
    """APGR of each candidate by benchmark, cross-validated within `LABELS` labelled rows."""
    found: dict[str, dict[str, Metric]] = {}
    for name in names:
        rng = np.random.default_rng(seed)
        n = len(everything[name].outcomes)
        parts = []
        for draw in range(draws):
            rows = rng.permutation(n)[:LABELS]
            folds = KFold(FOLDS, shuffle=True, random_state=seed + draw).split(rows)
            parts.append([(rows[train], rows[test]) for train, test in folds])
        judged = judge(run(everything[name], parts, seed, CANDIDATES), seed)
        for candidate in CANDIDATES:
            found.setdefault(candidate, {})[name] = judged[candidate]["apgr"]
    return found


def _linear_inputs(train: Evidence, test: Evidence) -> tuple[Floats, Floats]:
    scaler = StandardScaler().fit(train.worded)
    seen, asked = (
        linear_inputs(one.vectors, one.worded, scaler.mean_, scaler.scale_) for one in (train, test)
    )
    return seen, asked


def _tree_inputs(train: Evidence, test: Evidence, seed: int) -> tuple[Vectors, Vectors]:
    smaller = PCA(COMPONENTS, random_state=seed).fit(train.vectors)
    seen, asked = (
        tree_inputs(one.vectors, one.worded, smaller.mean_, smaller.components_.T)
        for one in (train, test)
    )
    return seen, asked


def _blind(train: Evidence, scores: Floats, test: Evidence, seed: int, columns: slice) -> Floats:
    seen, asked = train.worded.copy(), test.worded.copy()
    seen[:, columns] = asked[:, columns] = 0
    return learned(replace(train, worded=seen), scores, replace(test, worded=asked), seed)
