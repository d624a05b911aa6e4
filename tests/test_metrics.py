"""Figures with intervals, against scikit-learn, SciPy and known distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score, f1_score

from routerlab.lab import metrics, scoring


def test_mean_and_its_interval_cover():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = rng.normal(1.0, 2.0, size=80)
        metric = metrics.mean(values, [str(i) for i in range(80)], seed=seed)
        assert metric.value == pytest.approx(values.mean())
        covered += metric.low <= 1.0 <= metric.high
    assert 180 <= covered <= 200


def test_clusters_widen_the_interval():
    values = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    apart = metrics.mean(values, [str(i) for i in range(200)], seed=0)
    together = metrics.mean(values, [str(i // 10) for i in range(200)], seed=0)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_saving_is_paired():
    metric = metrics.saving([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], ["a", "b", "c"], seed=0)
    assert (metric.value, metric.low, metric.high) == pytest.approx((0.5, 0.5, 0.5))


def test_same_seed_same_interval():
    values = np.random.default_rng(2).normal(size=50)
    clusters = [str(i % 7) for i in range(50)]
    assert metrics.total(values, clusters, seed=5) == metrics.total(values, clusters, seed=5)


def test_share_is_clopper_pearson():
    metric = metrics.share(3, 100)
    exact = stats.binomtest(3, 100).proportion_ci(0.95, method="exact")
    assert (metric.low, metric.high) == (exact.low, exact.high)
    assert metrics.upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert metrics.upper_bound(0, 0) == 1.0


def test_quantile():
    metric = metrics.quantile(np.arange(1001), 0.95, seed=0)
    assert metric.value == 950
    assert metric.low < 950 < metric.high


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_scores_are_scikit_learns(pairs):
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = scoring.score(truth, predicted, [str(i) for i in range(len(truth))], seed=0)
    f1 = f1_score(truth, predicted, labels=range(4), average="macro", zero_division=0)
    assert found["macro_f1"]["value"] == pytest.approx(f1)
    assert found["accuracy"]["value"] == pytest.approx((truth == predicted).mean())
    assert found["under_routing"]["value"] == pytest.approx((predicted < truth).mean())
    assert found["over_routing"]["value"] == pytest.approx((predicted > truth).mean())
    if len({*truth, *predicted}) > 1:
        kappa = cohen_kappa_score(truth, predicted, labels=range(4), weights="quadratic")
        assert found["qwk"]["value"] == pytest.approx(kappa)


def test_calibration_error_by_hand():
    """Two at 0.95, one right; two at 0.65, both right: (2 * 0.45 + 2 * 0.35) / 4."""
    proba = np.array(
        [[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0, 0.65, 0.35, 0], [0, 0.65, 0.35, 0]]
    )
    truth = np.array([0, 1, 1, 1])
    found = scoring.score(truth, proba.argmax(axis=1), list("abcd"), seed=0, proba=proba)
    assert found["ece"]["value"] == pytest.approx(0.4)
    bins = scoring.details(truth, proba)["reliability"]
    assert [(one["n"], one["accuracy"]) for one in bins] == [(2, 1.0), (2, 0.5)]


def test_nothing_is_not_measured():
    for measure in (metrics.mean, metrics.total):
        with pytest.raises(ValueError, match="nothing to measure"):
            measure([], [], seed=0)
    with pytest.raises(ValueError, match="nothing to measure"):
        metrics.quantile([], 0.5, seed=0)
    with pytest.raises(ValueError, match="nothing to measure"):
        metrics.share(0, 0)


def test_runs_over_seeds_have_students_interval():
    found = metrics.over_seeds([1.0, 2.0, 3.0])
    assert (found.value, found.n) == (2.0, 3)
    half = 4.302652729911275 / np.sqrt(3)  # the 97.5 % point of Student's t with 2 degrees
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert metrics.over_seeds([0.5]).low == 0.5
