"""How tier probabilities compare with the labels: agreement, calibration, and which way errors go.

All intervals resample whole families. Does not know: learners, files, plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.lab import metrics
from routerlab.lab.metrics import Floats, Metric
from routerlab.types import TIERS

SETS = {
    "train_cv": "training queries, cross-validated",
    "benchmark": "benchmark queries",
    "real_dev": "real users' queries",
}
"""The sets that are scored, and what they are called."""

_TIERS = len(TIERS)
_BINS = 10
Tiers = NDArray[np.int64]


def hardest(section: Mapping[str, Any]) -> str:
    """The real users' queries where they were measured, else the benchmark."""
    return "real_dev" if "real_dev" in section else "benchmark"


def score(
    truth: Tiers,
    predicted: Tiers,
    families: Sequence[str],
    seed: int,
    proba: Floats | None = None,
) -> dict[str, Any]:
    """Accuracy, macro-F1, quadratic-weighted kappa, shares routed too low and too high.

    With probabilities, shape (n, 4), also the expected calibration error over ten even bins.
    """
    cells = np.eye(_TIERS**2)[_TIERS * truth + predicted]
    found: dict[str, Metric] = metrics.clustered_all(
        list(cells.T),
        families,
        {
            "accuracy": lambda s: _share(s, np.eye(_TIERS)),
            "macro_f1": _macro_f1,
            "qwk": _kappa,
            "under_routing": lambda s: _share(s, np.tril(np.ones((_TIERS, _TIERS)), -1)),
            "over_routing": lambda s: _share(s, np.triu(np.ones((_TIERS, _TIERS)), 1)),
        },
        seed=seed,
    )
    if proba is not None:
        found["ece"] = _calibration_error(truth, proba, families, seed)
    return {name: metric.as_dict() for name, metric in found.items()}


def details(truth: Tiers, proba: Floats) -> dict[str, Any]:
    """The confusion matrix (rows: label) and the reliability bins behind a score."""
    counts = np.bincount(_TIERS * truth + proba.argmax(axis=1), minlength=_TIERS**2)
    confusion = {"labels": list(TIERS), "counts": counts.reshape(_TIERS, _TIERS).tolist()}
    bins, right = _bins(proba), proba.argmax(axis=1) == truth
    reliability = [
        {
            "confidence": float(proba.max(axis=1)[bins == one].mean()),
            "accuracy": float(right[bins == one].mean()),
            "n": int((bins == one).sum()),
        }
        for one in np.unique(bins)
    ]
    return {"confusion": confusion, "reliability": reliability}


def _bins(proba: Floats) -> Tiers:
    bins: Tiers = np.minimum((proba.max(axis=1) * _BINS).astype(np.int64), _BINS - 1)
    return bins


def _calibration_error(truth: Tiers, proba: Floats, families: Sequence[str], seed: int) -> Metric:
    # Per bin the sum of (right - confidence); their sizes over n weigh them (Naeini et al. 2015).
    gap = (proba.argmax(axis=1) == truth) - proba.max(axis=1)
    member = np.eye(_BINS)[_bins(proba)]
    return metrics.clustered(
        [*(member * gap[:, None]).T, np.ones(len(truth))],
        families,
        lambda s: np.abs(s[..., :_BINS]).sum(axis=-1) / s[..., _BINS],
        seed=seed,
    )


def _share(sums: Floats, mask: Floats) -> Floats:
    share: Floats = (sums @ mask.ravel()) / sums.sum(axis=-1)
    return share


def _macro_f1(sums: Floats) -> Floats:
    """A tier that is neither labelled nor predicted counts as 0, as in scikit-learn."""
    table = sums.reshape(*sums.shape[:-1], _TIERS, _TIERS)
    right = np.diagonal(table, axis1=-2, axis2=-1)
    size = table.sum(axis=-1) + table.sum(axis=-2)
    f1 = np.divide(2.0 * right, size, out=np.zeros(right.shape), where=size > 0)
    mean_f1: Floats = f1.mean(axis=-1)
    return mean_f1


def _kappa(sums: Floats) -> Floats:
    """Quadratic-weighted kappa (Cohen 1968); 0 where chance alone would agree fully."""
    table = sums.reshape(*sums.shape[:-1], _TIERS, _TIERS)
    distance = np.subtract.outer(np.arange(_TIERS), np.arange(_TIERS)) ** 2
    total = table.sum(axis=(-1, -2))
    chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    seen = (table * distance).sum(axis=(-1, -2))
    expected = (chance * distance).sum(axis=(-1, -2)) / total
    kappa: Floats = 1 - np.divide(seen, expected, out=np.ones_like(seen), where=expected > 0)
    return kappa
