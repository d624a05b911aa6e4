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
from routerlab.lab.queries import LabelledQuery
from routerlab.query import CLASSIFIED_CHARS
from routerlab.tiermodel import CUE_WEIGHT, TierModel, unit
from routerlab.types import TIERS

BLOCKS = ("embedding", "words", "ask words", "cues", "neighbours")
VOTE = 0.5
"""Weight of the nearest training queries beside the linear model."""
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


def fit_on(seen: Evidence, train: Features, recipe: Recipe) -> TierModel:
    """The model before calibration: temperature 1 and the priors of the training queries.

    A block that the recipe leaves out is all zeros, so that the shape of the model stays the same.
    """
    used = [block * float(name in recipe.blocks) for name, block in seen.blocks.items()]
    linear = LogisticRegression(
        C=recipe.strength, max_iter=2_000, tol=1e-3, random_state=recipe.seed
    ).fit(hstack(used).tocsr(), train.tiers)
    linear.coef_ = linear.coef_.astype(np.float32)
    shares = tuple(float(share) for share in tier_shares(train.tiers))
    centre, projection = seen.smaller.mean_, np.ascontiguousarray(seen.smaller.components_.T)
    vote = VOTE if "neighbours" in recipe.blocks else 0.0
    return TierModel(
        words=seen.words,
        ask_words=seen.ask_words,
        scaler=seen.scaler,
        linear=linear,
        centre=centre,
        projection=projection,
        neighbours=unit((train.vectors - centre) @ projection).astype(np.float16),
        neighbour_tiers=train.tiers,
        vote=1.0 if recipe.blocks == ("neighbours",) else vote,
        temperature=1.0,
        priors=shares,
        shares=shares,
    )


def fit_raw(train: Features, recipe: Recipe) -> TierModel:
    """`gather` and `fit_on` in one."""
    return fit_on(gather(train, recipe.seed), train, recipe)


def _ngrams() -> TfidfVectorizer:
    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=3, dtype=np.float32)


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
