"""Trains the complexity classifier: strength and temperature by cross-validation, then the fit.

Does not know: features, plots, scores.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from routerlab.classifier import (
    DEFAULT_MODEL_DIR,
    ModelCard,
    copy_classifier,
    load_classifier,
    save_classifier,
)
from routerlab.embedding import Embedder
from routerlab.errors import ClassifierError
from routerlab.lab.fitting import (
    Features,
    Recipe,
    features,
    fit_on,
    fit_raw,
    gather,
    subset,
    tier_shares,
)
from routerlab.lab.metrics import Metric, quantile
from routerlab.lab.parallel import each
from routerlab.lab.queries import TRAINING_FILE, load_training, undisputed
from routerlab.tiermodel import TierModel
from routerlab.types import TIERS

Proba: TypeAlias = NDArray[np.float64]
"""Tier probabilities, shape (n, 4), columns as in `TIERS`."""
Fold: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
FOLDS = 5
C_GRID = (1.0, 3.0, 10.0)
"""Inverse regularisation strengths tried in cross-validation."""

TRAFFIC_PRIORS = (0.25, 0.50, 0.15, 0.10)
"""Round shares of simple, medium, complex, reasoning among real users' queries: half are medium.

Between an even mix and the shares of the labelled real queries (68, 173, 35, 24 of 300), which are
one sample of one kind of traffic.
"""


def folds(groups: Sequence[str]) -> list[Fold]:
    """Row numbers to train and test on; no group on both sides."""
    return list(GroupKFold(min(FOLDS, len(set(groups)))).split(groups, groups=groups))


def cross_validate(
    train: Features, recipes: Sequence[Recipe], parts: Sequence[Fold]
) -> list[Proba]:
    """Out-of-fold probabilities before calibration, by recipe; the recipes differ in strength."""
    found = [np.empty((len(train.texts), len(TIERS))) for _ in recipes]
    by_fold = each(partial(_on_fold, train, recipes), parts, desc="cross-validating", unit="fold")
    for (_, held_out), of_recipes in zip(parts, by_fold, strict=True):
        for proba, predicted in zip(found, of_recipes, strict=True):
            proba[held_out] = predicted
    return found


def _on_fold(train: Features, recipes: Sequence[Recipe], fold: Fold) -> list[Proba]:
    fitted, test = (subset(train, rows) for rows in fold)
    seen = gather(fitted, recipes[0].seed)
    models = (fit_on(seen, fitted, recipe) for recipe in recipes)
    return [model.predict_proba(test.texts, test.vectors) for model in models]


@dataclass(frozen=True)
class Tuning:
    """Strength and temperature; the log loss by strength, the best temperature by brief."""

    strength: float
    temperature: float
    losses: Mapping[float, float]
    temperatures: Mapping[str, float]


def tune(train: Features, seed: int) -> Tuning:
    """Strength and temperature by folds over whole briefs.

    Real queries come from people and topics that the training has not seen; so do those of a brief
    that is held out, while folds over families would make the model too sure of itself. For the
    same reason the temperature is that of the brief on which the model is most overconfident: the
    traffic it will meet may be as strange to it as that one.
    """
    parts, briefs = folds(train.briefs), np.array(train.briefs)
    shares = tier_shares(train.tiers)
    recipes = [Recipe(strength, seed) for strength in C_GRID]
    found = dict(zip(C_GRID, cross_validate(train, recipes, parts), strict=True))
    losses = {
        strength: _loss(proba, train.tiers, shares, temperature(proba, train.tiers, shares))
        for strength, proba in found.items()
    }
    best = min(losses, key=lambda strength: losses[strength])
    by_brief = {
        str(name): temperature(found[best][briefs == name], train.tiers[briefs == name], shares)
        for name in np.unique(briefs)
    }
    return Tuning(best, max(by_brief.values()), losses, by_brief)


def temperature(proba: Proba, tiers: NDArray[np.int64], shares: NDArray[np.float64]) -> float:
    """The divisor of the log odds of the least log loss on out-of-fold probabilities."""
    found = minimize_scalar(
        lambda divisor: _loss(proba, tiers, shares, divisor), bounds=(0.2, 5.0), method="bounded"
    )
    return float(found.x)


def _loss(
    proba: Proba, tiers: NDArray[np.int64], shares: NDArray[np.float64], divisor: float
) -> float:
    """Log loss with the tiers weighted as in real traffic; `shares` are those of the training."""
    weight = (np.asarray(TRAFFIC_PRIORS) / np.maximum(shares, 1e-12))[tiers]
    shifted = reweighted(proba, divisor, TRAFFIC_PRIORS, shares)
    return float(log_loss(tiers, shifted, sample_weight=weight, labels=list(range(len(TIERS)))))


def reweighted(
    proba: Proba,
    divisor: float,
    priors: Sequence[float],
    shares: Sequence[float] | NDArray[np.float64],
) -> Proba:
    """Probabilities after the temperature, from the shares of the training to other priors."""
    odds = np.clip(proba, 1e-12, 1) ** (1 / divisor) * (np.asarray(priors) / np.asarray(shares))
    scaled: Proba = odds / odds.sum(axis=1, keepdims=True)
    return scaled


def calibrated(model: TierModel, tuned: Tuning) -> TierModel:
    """A fitted model with the tuned temperature and the priors of real traffic."""
    return replace(model, temperature=tuned.temperature, priors=TRAFFIC_PRIORS)


def fit(train: Features, tuned: Tuning, seed: int) -> TierModel:
    """The classifier: strength and temperature as tuned, priors of real traffic."""
    return calibrated(fit_raw(train, Recipe(tuned.strength, seed)), tuned)


def held_out_proba(train: Features, tuned: Tuning, seed: int) -> Proba:
    """Probabilities for the training queries, each from folds without its family; shape (n, 4)."""
    recipe = Recipe(tuned.strength, seed)
    (proba,) = cross_validate(train, [recipe], folds(train.families))
    shares = tier_shares(train.tiers)
    return reweighted(proba, tuned.temperature, TRAFFIC_PRIORS, shares)


def classify_ms(model: TierModel, queries: Features, seed: int) -> Metric:
    """Median milliseconds to classify one query whose vector is at hand."""
    took = []
    for text, vector in zip(queries.texts, queries.vectors, strict=True):
        began = time.perf_counter()
        model.predict_proba([text], vector[None])
        took.append((time.perf_counter() - began) * 1e3)
    return quantile(took, 0.5, seed=seed)


def ensure_classifier(folder: Path, embedder: Embedder, seed: int = 0) -> ModelCard:
    """A classifier in the folder that fits data and embedding.

    The one that is there, else a copy of the committed one, else one that is trained now.
    """
    for source in (folder, DEFAULT_MODEL_DIR):
        with suppress(ClassifierError):
            card = load_classifier(embedder.id, source).card
            if source != folder:
                copy_classifier(source, folder)
            return card
    train = features(undisputed(load_training()), embedder)
    return store(fit(train, tune(train, seed), seed), folder, embedder, len(train.texts), seed)


def store(model: TierModel, folder: Path, embedder: Embedder, rows: int, seed: int) -> ModelCard:
    """Store a classifier fitted on the committed training queries."""
    return save_classifier(
        model,
        folder,
        embedder_id=embedder.id,
        training_file=TRAINING_FILE,
        rows=rows,
        seed=seed,
    )
