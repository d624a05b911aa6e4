"""What a classifier must beat, constant to nearest neighbour, and what its parts contribute.

Does not know: files, plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from routerlab.cues import CUES, cues
from routerlab.lab import scoring
from routerlab.lab.fitting import (
    BLOCKS,
    Evidence,
    Features,
    Recipe,
    fit_on,
    fit_raw,
    gather,
    subset,
)
from routerlab.lab.metrics import mean
from routerlab.lab.parallel import each
from routerlab.lab.queries import LabelledQuery
from routerlab.lab.training import Fold, Tuning, calibrated, folds
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


def guesses(
    train: Features, tests: Mapping[str, Features], seed: int
) -> dict[str, dict[str, Tiers]]:
    """Every baseline's tiers, by set, for queries that no one trained on."""
    fitted = {name: one.fit(train.texts, train.tiers) for name, one in learners(seed).items()}
    return {
        name: {
            "majority": majority(test.tiers),
            **{learner: one.predict(test.texts) for learner, one in fitted.items()},
            "keywords": keywords(test.texts),
            "nearest_neighbour": nearest(train, test),
        }
        for name, test in tests.items()
    }


def cross_validated_guesses(train: Features, seed: int) -> dict[str, Tiers]:
    """The same on the training queries, each guessed from folds without its family."""
    found: dict[str, Tiers] = {}
    parts = folds(train.families)
    by_fold = each(partial(_on_fold, train, seed), parts, desc="baselines", unit="fold")
    for (_, held_out), guessed in zip(parts, by_fold, strict=True):
        for name, part in guessed.items():
            found.setdefault(name, np.empty(len(train.tiers), dtype=np.int64))[held_out] = part
    return {**found, "majority": majority(train.tiers)}


def _on_fold(train: Features, seed: int, fold: Fold) -> dict[str, Tiers]:
    seen, held_out = (subset(train, rows) for rows in fold)
    return guesses(seen, {"held out": held_out}, seed)["held out"]


def facts(
    rows: Sequence[LabelledQuery], train: Features, guessed: dict[str, Tiers], seed: int
) -> dict[str, Any]:
    """What the training queries are: how far two readers agree, how little the shortcuts help.

    `against_shortcuts`: the share to which length, or the keywords, or both give a wrong tier.
    `kept`: the rows less those on which the readers differ.
    """
    read_twice = [row for row in rows if row.second is not None]
    same = [float(row.second == row.tier) for row in read_twice]
    length, words = (guessed[name] != train.tiers for name in ("length_only", "keywords"))
    misled = {"length": length, "keywords": words, "both": length & words}
    return {
        "rows": len(rows),
        "kept": len(train.texts),
        "domains": len({row.domain for row in rows}),
        "readers_agree": mean(same, [row.family for row in read_twice], seed=seed).as_dict(),
        "against_shortcuts": {
            name: mean(wrong, train.families, seed=seed).as_dict() for name, wrong in misled.items()
        },
    }


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


def ablation(train: Features, tests: dict[str, Features], tuned: Tuning, seed: int) -> list[Any]:
    """Accuracy with one block alone and with one left out, the rest as deployed."""
    sets: list[tuple[str, ...]] = [(block,) for block in BLOCKS]
    sets += [tuple(b for b in BLOCKS if b != left_out) for left_out in BLOCKS]
    work = partial(_with_blocks, gather(train, seed), train, tests, tuned, seed)
    return each(work, [*sets, BLOCKS], desc="ablation", unit="fit")


def _with_blocks(
    seen: Evidence,
    train: Features,
    tests: dict[str, Features],
    tuned: Tuning,
    seed: int,
    blocks: tuple[str, ...],
) -> dict[str, Any]:
    model = fit_on(seen, train, Recipe(tuned.strength, seed, blocks))
    return {"blocks": list(blocks), **_accuracies(model, tuned, tests, seed)}


def learning_curve(
    train: Features, tests: dict[str, Features], tuned: Tuning, seed: int
) -> list[dict[str, Any]]:
    """Accuracy by share of the training families, drawn at random and nested."""
    names = np.random.default_rng(seed).permutation(sorted(set(train.families)))
    work = partial(_with_families, train, tests, tuned, seed)
    shares = (0.125, 0.25, 0.5, 1.0)
    chosen = [set(names[: int(len(names) * share)]) for share in shares]
    return each(work, chosen, desc="learning curve", unit="fit")


def _with_families(
    train: Features, tests: dict[str, Features], tuned: Tuning, seed: int, kept: set[str]
) -> dict[str, Any]:
    rows = np.array([i for i, family in enumerate(train.families) if family in kept])
    model = fit_raw(subset(train, rows), Recipe(tuned.strength, seed))
    return {"rows": len(rows), **_accuracies(model, tuned, tests, seed)}


def _accuracies(
    model: TierModel, tuned: Tuning, tests: dict[str, Features], seed: int
) -> dict[str, Any]:
    deployed, found = calibrated(model, tuned), {}
    for name, test in tests.items():
        predicted = deployed.predict_proba(test.texts, test.vectors).argmax(axis=1)
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
