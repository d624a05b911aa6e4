"""Fits the same-answer verifier and sets its thresholds, by cross-validation over families.

Does not know: files, streams, which pairs are for test.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier

from routerlab.cache.calibration import CacheCalibration
from routerlab.cache.evidence import EVIDENCE, NAMES, compare
from routerlab.cache.reading import read, stem, words_of
from routerlab.cache.verifier import Networks, SameAnswerVerifier
from routerlab.embedding import Embedder
from routerlab.lab import metrics
from routerlab.lab.answerpairs import Pair
from routerlab.lab.metrics import Floats, Metric
from routerlab.lab.parallel import each

MEMBERS = 3
UNITS = 32
FOLDS = 5
NEAR_MISS_SHARE = 0.5
"""Traffic that thresholds are set for: every other look-up is written to confuse."""
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05)
BASELINES = ("cosine alone", "logistic regression")


@dataclass(frozen=True)
class Weighed:
    """Pairs as a learner sees them: evidence (n, e), labels, families to keep together."""

    evidence: Floats
    same: NDArray[np.bool_]
    groups: list[str]


def rarity_of(texts: Iterable[str]) -> dict[str, float]:
    """Inverse document frequency by stem, of stems in two texts or more."""
    counts: Counter[str] = Counter()
    n = 0
    for text in texts:
        counts.update({stem(word) for word in words_of(text) if word.isalpha()})
        n += 1
    return {s: math.log(n / (c + 1)) for s, c in sorted(counts.items()) if c > 1}


def weigh(pairs: Sequence[Pair], rarity: dict[str, float], embedder: Embedder) -> Weighed:
    """The evidence of pairs."""
    texts = sorted({text for pair in pairs for text in (pair.one, pair.other)})
    place = {text: number for number, text in enumerate(texts)}
    vectors, readings = embedder.encode(texts), [read(text, rarity) for text in texts]
    rows = []
    for pair in pairs:
        a, b = place[pair.one], place[pair.other]
        rows.append(compare(readings[a], readings[b], float(vectors[a] @ vectors[b])))
    same = np.array([pair.same for pair in pairs])
    return Weighed(np.array(rows).reshape(-1, len(NAMES)), same, [p.family for p in pairs])


def fit(train: Weighed, seed: int, members: int = MEMBERS) -> Networks:
    """Networks before calibration."""
    mean, scale = train.evidence.mean(axis=0), train.evidence.std(axis=0)
    scale[scale == 0] = 1
    scaled = (train.evidence - mean) / scale
    seeds = range(seed, seed + members)
    fitted = each(partial(_network, scaled, train.same), seeds, desc="networks", unit="fit")
    return Networks(
        mean=mean,
        scale=scale,
        hidden=np.hstack([net.coefs_[0] for net in fitted]),
        hidden_bias=np.concatenate([net.intercepts_[0] for net in fitted]),
        out=np.concatenate([net.coefs_[1][:, 0] for net in fitted]),
        out_bias=np.concatenate([net.intercepts_[1] for net in fitted]),
    )


def _network(scaled: Floats, same: NDArray[np.bool_], seed: int) -> MLPClassifier:
    network = MLPClassifier(
        (UNITS,),
        alpha=0.3,
        batch_size=256,
        learning_rate_init=2e-3,
        max_iter=25,
        # As many passes for every fit: stopping early would depend on a few rows.
        n_iter_no_change=1_000,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # So many passes are meant: convergence is no aim of theirs.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(scaled, same)


def held_out_logits(train: Weighed, extra: Weighed | None, seed: int) -> Floats:
    """Logits of every pair by networks that saw no pair of its family; `extra` is always seen."""
    logits = np.empty(len(train.same))
    parts = list(GroupKFold(FOLDS).split(train.evidence, groups=train.groups))
    work = partial(_on_fold, train, extra, seed)
    for (_, unseen), found in zip(
        parts, each(work, parts, desc="cross-validating", unit="fold"), strict=True
    ):
        logits[unseen] = found
    return logits


def _on_fold(
    train: Weighed,
    extra: Weighed | None,
    seed: int,
    fold: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Floats:
    seen, unseen = fold
    part = Weighed(train.evidence[seen], train.same[seen], [train.groups[i] for i in seen])
    return fit(joined(part, extra), seed, members=1).logits(train.evidence[unseen])


def joined(one: Weighed, other: Weighed | None) -> Weighed:
    """Both sets of pairs in one."""
    if other is None:
        return one
    return Weighed(
        np.vstack([one.evidence, other.evidence]),
        np.concatenate([one.same, other.same]),
        [*one.groups, *other.groups],
    )


def fit_verifier(
    train: Weighed, extra: Weighed | None, rarity: dict[str, float], embedder_id: str, seed: int
) -> tuple[SameAnswerVerifier, Floats]:
    """The verifier, and held-out probabilities of the training pairs, shape (n,).

    Calibrated (Platt's scaling) on the held-out logits of `train`.
    """
    logits = held_out_logits(train, extra, seed)
    platt = LogisticRegression(C=1e6).fit(logits[:, None], train.same)
    slope, offset = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    networks = replace(fit(joined(train, extra), seed), slope=slope, offset=offset)
    held_out = 1 / (1 + np.exp(-(slope * logits + offset)))
    return SameAnswerVerifier(networks, rarity, embedder_id), held_out


def set_thresholds(
    scores: Floats, near_miss: NDArray[np.bool_], embedder_id: str
) -> CacheCalibration:
    """By rate: the lowest threshold from which on so few near misses are served.

    A rate holds in traffic of which `NEAR_MISS_SHARE` are near misses: the one-sided 95 %
    Clopper-Pearson bound of the share of near misses served is at most rate / share.
    """
    missed = np.sort(scores[near_miss])[::-1]
    thresholds = {}
    for rate in RATES:
        served = 0
        while (
            served < len(missed)
            and metrics.upper_bound(served + 1, len(missed)) <= rate / NEAR_MISS_SHARE
        ):
            served += 1
        if metrics.upper_bound(served, len(missed)) <= rate / NEAR_MISS_SHARE:
            # Just above the score of the first near miss that is one too many.
            thresholds[f"{rate:g}"] = float(np.nextafter(missed[served], 2.0))
    return CacheCalibration(thresholds, embedder_id, NEAR_MISS_SHARE)


def served(scores: Floats, threshold: float, pairs: Sequence[Pair], seed: int) -> dict[str, Metric]:
    """At a threshold: the share served of paraphrases and of near misses, over families."""
    found = {}
    for name, same in (("paraphrases_served", True), ("near_misses_served", False)):
        rows = [i for i, pair in enumerate(pairs) if pair.same is same]
        families = [pairs[i].family for i in rows]
        found[name] = metrics.mean(scores[rows] >= threshold, families, seed=seed)
    return found


def separation(
    train: Weighed, test: Weighed, pairs: Sequence[Pair], seed: int
) -> dict[str, dict[str, float]]:
    """How well the test pairs are told apart: baselines, ours, and ours without each group.

    `auc`: area under the ROC curve. `paraphrases_at_2`: the share of paraphrases served where 2 %
    of near misses are.
    """
    scores: dict[str, Floats] = {BASELINES[0]: test.evidence[:, 0]}
    linear = LogisticRegression(max_iter=2_000)
    mean, scale = train.evidence.mean(axis=0), train.evidence.std(axis=0) + 1e-9
    linear.fit((train.evidence - mean) / scale, train.same)
    scores[BASELINES[1]] = linear.decision_function((test.evidence - mean) / scale)
    scores["verifier"] = fit(train, seed, members=1).logits(test.evidence)
    groups = list(EVIDENCE)
    without = each(partial(_without, train, test, seed), groups, desc="ablation", unit="fit")
    scores |= {f"without {group}": one for group, one in zip(groups, without, strict=True)}
    first = np.array([pair.first for pair in pairs])
    return {name: _told_apart(score[first], test.same[first]) for name, score in scores.items()}


def _without(train: Weighed, test: Weighed, seed: int, group: str) -> Floats:
    kept = np.array([float(name not in EVIDENCE[group]) for name in NAMES])
    partly = Weighed(train.evidence * kept, train.same, train.groups)
    return fit(partly, seed, members=1).logits(test.evidence * kept)


def _told_apart(scores: Floats, same: NDArray[np.bool_]) -> dict[str, float]:
    bar = np.quantile(scores[~same], 0.98)
    return {
        "auc": float(roc_auc_score(same, scores)),
        "paraphrases_at_2": float((scores[same] > bar).mean()),
    }
