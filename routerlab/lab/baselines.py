"""What a classifier must beat, constant to nearest neighbour, and what its parts contribute.

Does not know: files, plots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from routerlab.cues import CUES, cues
from routerlab.lab import scoring, training
from routerlab.lab.training import BLOCKS, Features, Recipe, folds, subset
from routerlab.tiermodel import TierModel
from routerlab.types import TIERS

Tiers = NDArray[np.int64]


def length_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Characters and words of each text, logarithms; shape (n, 2)."""
    return np.log1p([[len(text), len(text.split())] for text in texts])


def learners(seed: int) -> dict[str, Any]:
    """Learners that see texts alone."""
    return {
        "length_only": make_pipeline(
            FunctionTransformer(length_features),
            StandardScaler(),
            LogisticRegression(random_state=seed),
        ),
        "tfidf": make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
            LogisticRegression(C=10.0, max_iter=2_000, tol=1e-3, random_state=seed),
        ),
    }


def majority(tiers: Tiers) -> Tiers:
    """Always the commonest label of the very set that is scored: no constant guess does better."""
    return np.full(len(tiers), np.bincount(tiers).argmax())


def keywords(texts: Sequence[str]) -> Tiers:
    """A rule of thumb without training, as rule-based routers use: the first rule that holds."""
    found = dict(zip(CUES, cues(texts).T, strict=True))
    short = np.array([len(text.split()) < 15 for text in texts])
    asks_fact = (found["what"] + found["who"] + found["how_many"] + found["yes_no"]) > 0
    deduces = (found["prove"] > 0) | ((found["calculate"] > 0) & (found["numbers"] > 0))
    builds = ((found["large"] > 0) & (found["write"] > 0)) | (found["specialist"] > 0)
    mechanical = (found["edit_early"] > 0) | (found["brief"] > 0)
    simple = mechanical | (short & asks_fact & (found["why"] == 0))
    return np.select([deduces, builds, simple], [3, 2, 0], default=1).astype(np.int64)


def nearest(train: Features, test: Features) -> Tiers:
    """The tier of the training query with the greatest cosine."""
    found: Tiers = train.tiers[(test.vectors @ train.vectors.T).argmax(axis=1)]
    return found


def guesses(train: Features, test: Features, seed: int) -> dict[str, Tiers]:
    """Every baseline's tiers for queries that no one trained on."""
    fitted = {
        name: one.fit(train.texts, train.tiers).predict(test.texts)
        for name, one in learners(seed).items()
    }
    return {
        "majority": majority(test.tiers),
        **fitted,
        "keywords": keywords(test.texts),
        "nearest_neighbour": nearest(train, test),
    }


def cross_validated_guesses(train: Features, seed: int) -> dict[str, Tiers]:
    """The same on the training queries, each guessed from folds without its family."""
    found: dict[str, Tiers] = {}
    for fitted_on, held_out in folds(train):
        parts = guesses(subset(train, fitted_on), subset(train, held_out), seed)
        for name, part in parts.items():
            found.setdefault(name, np.empty(len(train.tiers), dtype=np.int64))[held_out] = part
    return {**found, "majority": majority(train.tiers)}


def compared(
    proba: NDArray[np.float64], guessed: dict[str, Tiers], test: Features, seed: int
) -> dict[str, Any]:
    """One column of the report: the classifier's scores and, beside them, the baselines'."""

    def scored(predicted: Tiers, own: NDArray[np.float64] | None = None) -> dict[str, Any]:
        return scoring.score(test.tiers, predicted, test.families, seed, own)

    return {
        **scored(proba.argmax(axis=1), proba),
        **scoring.details(test.tiers, proba),
        "baselines": {name: scored(one) for name, one in guessed.items()},
    }


def ablation(train: Features, tests: dict[str, Features], strength: float, seed: int) -> list[Any]:
    """Accuracy with one block alone and with one left out, as deployed (priors, no temperature)."""
    sets: list[tuple[str, ...]] = [(block,) for block in BLOCKS]
    sets += [tuple(b for b in BLOCKS if b != left_out) for left_out in BLOCKS]
    return [
        {
            "blocks": list(blocks),
            **_accuracies(training.fit_raw(train, Recipe(strength, seed, blocks)), tests, seed),
        }
        for blocks in [*sets, BLOCKS]
    ]


def learning_curve(
    train: Features, tests: dict[str, Features], strength: float, seed: int
) -> list[dict[str, Any]]:
    """Accuracy by share of the training families, drawn at random and nested."""
    names = np.random.default_rng(seed).permutation(sorted(set(train.families)))
    curve = []
    for share in (0.125, 0.25, 0.5, 1.0):
        kept = set(names[: int(len(names) * share)])
        rows = np.array([i for i, family in enumerate(train.families) if family in kept])
        model = training.fit_raw(subset(train, rows), Recipe(strength, seed))
        curve.append({"rows": len(rows), **_accuracies(model, tests, seed)})
    return curve


def _accuracies(model: TierModel, tests: dict[str, Features], seed: int) -> dict[str, Any]:
    found = {}
    for name, test in tests.items():
        proba = training.reweighted(
            model.predict_proba(test.texts, test.vectors),
            1.0,
            training.TRAFFIC_PRIORS,
            model.shares,
        )
        predicted = proba.argmax(axis=1)
        found[name] = scoring.score(test.tiers, predicted, test.families, seed)["accuracy"]
    return found


def decision_costs(
    proba: NDArray[np.float64], test: Features, costs: Sequence[float], seed: int
) -> list[dict[str, Any]]:
    """Accuracy and shares routed too low and too high, by the cost of routing too low."""
    from routerlab.policies import cheapest_mistake

    curve = []
    for cost in costs:
        rows = [dict(zip(TIERS, row, strict=True)) for row in proba]
        chosen = np.array([TIERS.index(cheapest_mistake(row, cost)) for row in rows])
        curve.append({"cost": cost, **scoring.score(test.tiers, chosen, test.families, seed)})
    return curve
