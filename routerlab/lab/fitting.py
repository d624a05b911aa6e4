"""Fits the complexity classifier's model to labelled queries: blocks of evidence, one recipe.

Does not know: how the recipe was chosen, calibration, files, scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from routerlab.cues import ask_of, cues
from routerlab.embedding import Embedder, Vectors
from routerlab.errors import ClassifierError
from routerlab.lab.queries import LabelledQuery
from routerlab.query import CLASSIFIED_CHARS
from routerlab.tiermodel import Terms, TierModel, ngrams, unit
from routerlab.types import TIERS

BLOCKS = ("embedding", "words", "ask words", "cues", "neighbours")
VOTE = 0.5
"""Weight of the nearest training queries beside the linear model."""
CUE_WEIGHT = 0.15
"""Size of the cues beside blocks of unit length: what is larger is regularised less."""
LEAST_TEXTS = 3
"""Training queries in which an n-gram must stand to count."""
NEAR_DIMENSIONS = 96
"""Of the space in which near queries are looked up: principal components of the embedding."""


@dataclass(frozen=True)
class Features:
    """Queries as a learner sees them: texts, unit vectors (n, d), tier numbers 0 to 3, families.

    `briefs`: which writing brief each answers; one brief is one writer with one range of topics.
    """

    texts: list[str]
    vectors: Vectors
    tiers: NDArray[np.int64]
    families: list[str]
    briefs: list[str]


def features(queries: Sequence[LabelledQuery], embedder: Embedder) -> Features:
    """Embed queries as the router would judge them, earlier turns included."""
    texts = [query.conversation.judged_text for query in queries]
    tiers = np.array([TIERS.index(query.tier) for query in queries], dtype=np.int64)
    families = [query.family for query in queries]
    return Features(texts, embedder.encode(texts), tiers, families, [q.brief for q in queries])


@dataclass(frozen=True)
class Recipe:
    """How to fit: inverse regularisation strength, seed, and the blocks of evidence in use."""

    strength: float = 3.0
    seed: int = 0
    blocks: tuple[str, ...] = BLOCKS


@dataclass(frozen=True)
class Evidence:
    """Training queries as columns, by block, and what turns other queries into such columns."""

    words: TfidfVectorizer
    ask_words: TfidfVectorizer
    scaler: StandardScaler
    smaller: PCA
    blocks: dict[str, csr_matrix]


def gather(train: Features, seed: int) -> Evidence:
    """All blocks of evidence of the training queries."""
    texts = [text[:CLASSIFIED_CHARS] for text in train.texts]
    asks = [ask_of(text) for text in texts]
    words, ask_words, scaler = _ngrams(), _ngrams(), StandardScaler()
    blocks = {
        "embedding": csr_matrix(train.vectors),
        "words": words.fit_transform(texts),
        "ask words": ask_words.fit_transform(asks),
        "cues": csr_matrix(scaler.fit_transform(cues(texts)) * CUE_WEIGHT),
    }
    components = min(NEAR_DIMENSIONS, *train.vectors.shape)
    smaller = PCA(components, random_state=seed).fit(train.vectors)
    return Evidence(words, ask_words, scaler, smaller, blocks)


def fit_linear(seen: Evidence, tiers: NDArray[np.int64], recipe: Recipe) -> LogisticRegression:
    """The linear model over all blocks.

    A block that the recipe leaves out is all zeros, so that the shape of the model stays the same.
    """
    if set(tiers.tolist()) != set(range(len(TIERS))):
        raise ClassifierError("the training queries must hold all four tiers: add what is missing")
    used = [block * float(name in recipe.blocks) for name, block in seen.blocks.items()]
    return LogisticRegression(
        C=recipe.strength, max_iter=2_000, tol=1e-3, random_state=recipe.seed
    ).fit(hstack(used).tocsr(), tiers)


def fit_on(seen: Evidence, train: Features, recipe: Recipe) -> TierModel:
    """The model before calibration: temperature 1 and the priors of the training queries."""
    linear = fit_linear(seen, train.tiers, recipe)
    cuts = np.cumsum([block.shape[1] for block in seen.blocks.values()])[:-1]
    coefficients = linear.coef_.T.astype(np.float32)
    embedding, words, ask_words, cued = (
        np.ascontiguousarray(block) for block in np.split(coefficients, cuts)
    )
    shares = tuple(float(share) for share in tier_shares(train.tiers))
    centre, projection = seen.smaller.mean_, np.ascontiguousarray(seen.smaller.components_.T)
    vote = VOTE if "neighbours" in recipe.blocks else 0.0
    return TierModel(
        words=_terms(seen.words, words),
        ask_words=_terms(seen.ask_words, ask_words),
        embedding=embedding,
        cues=cued * np.float32(CUE_WEIGHT),
        cue_mean=seen.scaler.mean_,
        cue_scale=seen.scaler.scale_,
        intercept=linear.intercept_,
        centre=centre,
        projection=projection,
        neighbours=unit((train.vectors - centre) @ projection).astype(np.float16),
        neighbour_tiers=train.tiers,
        vote=1.0 if recipe.blocks == ("neighbours",) else vote,
        temperature=1.0,
        priors=shares,
        shares=shares,
        estimator=(
            f"{linear!r} on embedding, tf-idf of words and pairs of text and ask (in {LEAST_TEXTS} "
            "queries or more, sublinear) and cues; vote of near queries, pooled"
        ),
    )


def _terms(vectorizer: TfidfVectorizer, coefficients: Vectors) -> Terms:
    return Terms(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_, coefficients)


def fit_raw(train: Features, recipe: Recipe) -> TierModel:
    """`gather` and `fit_on` in one."""
    return fit_on(gather(train, recipe.seed), train, recipe)


def _ngrams() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer=ngrams, sublinear_tf=True, min_df=LEAST_TEXTS, dtype=np.float32)


def tier_shares(tiers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each tier among labels, shape (4,)."""
    shares: NDArray[np.float64] = np.bincount(tiers, minlength=len(TIERS)) / len(tiers)
    return shares


def subset(rows: Features, chosen: NDArray[np.int64]) -> Features:
    """Some of the queries, in the order of `chosen`."""
    return Features(
        [rows.texts[i] for i in chosen],
        rows.vectors[chosen],
        rows.tiers[chosen],
        [rows.families[i] for i in chosen],
        [rows.briefs[i] for i in chosen],
    )
