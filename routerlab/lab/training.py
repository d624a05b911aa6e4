"""Trains the complexity classifier: blocks of evidence, calibrated, cross-validated.

Does not know: files of the results folder, plots, scores. Families never straddle a fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from routerlab.classifier import ModelCard, load_classifier, save_classifier
from routerlab.cues import cues
from routerlab.embedding import Embedder, Vectors
from routerlab.errors import ClassifierError
from routerlab.files import write_text
from routerlab.lab.queries import TRAINING_FILE, LabelledQuery, load_training
from routerlab.query import CLASSIFIED_CHARS
from routerlab.tiermodel import CUE_WEIGHT, EMBEDDING_WEIGHT, TierModel
from routerlab.types import TIERS

FOLDS = 5
C_GRID = (0.5, 1.0, 3.0)
"""Inverse regularisation strengths tried in cross-validation."""

TRAFFIC_PRIORS = (0.25, 0.50, 0.15, 0.10)
"""Round shares of simple, medium, complex, reasoning among real users' queries: half are medium.

Between an even mix and the shares of the labelled real queries (68, 173, 35, 24 of 300), which are
one sample of one kind of traffic.
"""

BLOCKS = ("embedding", "words", "cues", "neighbours")
VOTE = 0.5
"""Weight of the nearest training queries beside the linear model."""


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


@dataclass(frozen=True)
class Recipe:
    """How to fit: inverse regularisation strength, seed, and the blocks of evidence in use."""

    strength: float = 3.0
    seed: int = 0
    blocks: tuple[str, ...] = BLOCKS


def fit_raw(train: Features, recipe: Recipe) -> TierModel:
    """The model before calibration: temperature 1 and the priors of the training queries.

    A block that is left out is fitted as zeros, so that the shape of the model stays the same.
    """
    texts = [text[:CLASSIFIED_CHARS] for text in train.texts]
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit(texts)
    scaler = StandardScaler().fit(cues(texts))
    used = {block: float(block in recipe.blocks) for block in BLOCKS}
    design = hstack(
        [
            csr_matrix(train.vectors * (EMBEDDING_WEIGHT * used["embedding"])),
            words.transform(texts) * used["words"],
            csr_matrix(scaler.transform(cues(texts)) * (CUE_WEIGHT * used["cues"])),
        ]
    ).tocsr()
    linear = LogisticRegression(
        C=recipe.strength, max_iter=2_000, tol=1e-3, random_state=recipe.seed
    ).fit(design, train.tiers)
    counts = np.bincount(train.tiers, minlength=len(TIERS))
    shares = tuple(float(share) for share in counts / counts.sum())
    near = train.vectors.astype(np.float16)
    vote = VOTE * used["neighbours"] if len(recipe.blocks) > used["neighbours"] else 1.0
    return TierModel(words, scaler, linear, near, train.tiers, vote, 1.0, shares, shares)


def folds(train: Features) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Row numbers to train and test on; no family on both sides."""
    return list(GroupKFold(FOLDS).split(train.texts, groups=train.families))


def subset(rows: Features, chosen: NDArray[np.int64]) -> Features:
    """Some of the queries, in the order of `chosen`."""
    return Features(
        [rows.texts[i] for i in chosen],
        rows.vectors[chosen],
        rows.tiers[chosen],
        [rows.families[i] for i in chosen],
    )


def cross_validate(train: Features, recipe: Recipe) -> NDArray[np.float64]:
    """Out-of-fold probabilities before calibration, shape (n, 4)."""
    proba = np.empty((len(train.texts), len(TIERS)))
    for fitted_on, held_out in folds(train):
        model = fit_raw(subset(train, fitted_on), recipe)
        test = subset(train, held_out)
        proba[held_out] = model.predict_proba(test.texts, test.vectors)
    return proba


def cross_validated_by_strength(train: Features, seed: int) -> dict[float, NDArray[np.float64]]:
    """Out-of-fold probabilities by inverse regularisation strength."""
    return {c: cross_validate(train, Recipe(c, seed)) for c in C_GRID}


def losses(train: Features, by_strength: dict[float, NDArray[np.float64]]) -> dict[float, float]:
    """Log loss by strength, each after its own temperature."""
    return {
        c: float(log_loss(train.tiers, reweighted(p, temperature(p, train.tiers))))
        for c, p in by_strength.items()
    }


def temperature(proba: NDArray[np.float64], tiers: NDArray[np.int64]) -> float:
    """The divisor of the log odds of the least log loss on out-of-fold probabilities."""
    found = minimize_scalar(
        lambda t: log_loss(tiers, reweighted(proba, t)), bounds=(0.2, 5.0), method="bounded"
    )
    return float(found.x)


def reweighted(
    proba: NDArray[np.float64],
    divisor: float,
    priors: Sequence[float] | None = None,
    shares: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Probabilities after the temperature and, where given, from training shares to priors."""
    odds = np.clip(proba, 1e-12, 1) ** (1 / divisor)
    if priors is not None and shares is not None:
        odds = odds * (np.asarray(priors) / np.asarray(shares))
    scaled: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return scaled


def fit(train: Features, seed: int) -> TierModel:
    """The classifier: strength and temperature by cross-validation, priors of real traffic."""
    by_strength = cross_validated_by_strength(train, seed)
    return fit_calibrated(train, by_strength, seed)


def fit_calibrated(
    train: Features, by_strength: dict[float, NDArray[np.float64]], seed: int
) -> TierModel:
    """As `fit`, from out-of-fold probabilities that are already at hand."""
    by_loss = losses(train, by_strength)
    best = min(by_loss, key=lambda c: by_loss[c])
    return replace(
        fit_raw(train, Recipe(best, seed)),
        temperature=temperature(by_strength[best], train.tiers),
        priors=TRAFFIC_PRIORS,
    )


def ensure_classifier(folder: Path, embedder: Embedder, seed: int = 0) -> ModelCard:
    """Train and store a classifier where the folder has none that fits data and embedding."""
    try:
        return load_classifier(embedder.id, folder).card
    except ClassifierError:
        train = features(load_training(), embedder)
        return store(fit(train, seed), folder, embedder, len(train.texts), seed)


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


def write_card(folder: Path, card: ModelCard, scores: Mapping[str, Any]) -> Path:
    """The model card that people read, beside the one that is checked on loading."""
    lines = [
        "# Model card: the complexity classifier",
        "",
        "Sorts a query into simple, medium, complex or reasoning by what a good answer demands "
        "(`data/complexity-rubric.md`). Made by `notebooks/02_train_classifier.ipynb`.",
        "",
        f"- Parts: {card.estimator}.",
        f"- Embedding: {card.embedder_id}.",
        f"- Trained on {card.training_rows} queries, `{TRAINING_FILE.name}`, sha256 "
        f"`{card.training_sha256}`; seed {card.seed}; scikit-learn {card.sklearn_version}.",
        "- Tier shares it expects where it is used: "
        + ", ".join(f"{tier} {share:.0%}" for tier, share in card.priors.items())
        + ".",
        "- Not for: judging how good an answer is, or languages and fields that its training "
        "queries hardly touch; those are mostly English.",
        "",
        "| queries | accuracy | macro-F1 | QWK | ECE |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("train_cv", "benchmark", "real_dev"):
        if name in scores:
            one = scores[name]
            cells = [
                f"{one[key]['value']:.3f} [{one[key]['low']:.3f}, {one[key]['high']:.3f}]"
                for key in ("accuracy", "macro_f1", "qwk", "ece")
            ]
            lines.append(f"| {name}, {one['accuracy']['n']} | {' | '.join(cells)} |")
    write_text(folder / "README.md", "\n".join([*lines, ""]))
    return folder / "README.md"
