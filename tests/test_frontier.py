"""Figures of the frontier against definitions, published figures and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerlab.lab import frontier, frontier_words, outcome_reading
from routerlab.lab.frontier import Judged, answered_by, drawn, hull, judge
from routerlab.lab.published import ROUTELLM

RNG = np.random.default_rng(0)


def judged(predicted, scores, strong=1) -> Judged:
    """Model i costs i + 1 a query, known before."""
    scores, predicted = np.asarray(scores, dtype=float), np.asarray(predicted, dtype=float)
    costs = np.tile(np.arange(1.0, scores.shape[1] + 1), (len(scores), 1))
    return Judged(predicted, scores, costs, costs, strong, np.arange(len(scores)))


def pair(n: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two models, and the gain that is to be expected of the second."""
    ease = RNG.random(n)
    scores = np.column_stack([RNG.random(n) < ease, RNG.random(n) < 0.4 + 0.6 * ease])
    return scores.astype(float), 0.4 - 0.4 * ease


def test_random_is_half_and_the_oracle_is_best():
    scores, expected = pair()
    rows = np.column_stack([np.zeros(len(scores)), RNG.random(len(scores))])
    known = np.column_stack([np.zeros(len(scores)), expected])
    found = judge({"random": [judged(rows, scores)], "known": [judged(known, scores)]}, seed=0)
    assert found["random"]["apgr"].value == pytest.approx(0.5, abs=0.05)
    assert found["random"]["cpt50"].value == pytest.approx(0.5, abs=0.08)
    assert found["random"]["cpt80"].value == pytest.approx(0.8, abs=0.08)
    assert 0.6 < found["known"]["apgr"].value < found["oracle"]["apgr"].value
    assert found["known"]["cpt50"].value < found["known"]["cpt80"].value
    assert found["oracle"]["regret"].value == 0
    assert 0 < found["known"]["over_zero"].value < found["oracle"]["over_zero"].value
    for figures in found.values():
        assert all(one.low <= one.value <= one.high for one in figures.values())


def test_apgr_is_the_published_recipe():
    """RouteLLM's evaluate.py: ten even shares of strong calls, trapezoid over the share."""
    scores, expected = pair(2_000)
    known = np.column_stack([np.zeros(len(scores)), expected])
    order = np.argsort(-expected)
    ours = judge({"known": [judged(known, scores)]}, seed=0)["known"]["apgr"].value
    areas = []
    for step in range(11):
        strong = np.zeros(len(scores), dtype=bool)
        strong[order[: len(scores) * step // 10]] = True
        areas.append(np.where(strong, scores[:, 1], scores[:, 0]).mean())
    weak, top = scores.mean(axis=0)
    theirs = (np.trapezoid(areas, dx=0.1) - weak) / (top - weak)
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("rows", ROUTELLM.values(), ids=ROUTELLM)
def test_published_figures_are_in_order(rows):
    assert [row.apgr for row in rows] == sorted((row.apgr for row in rows), reverse=True)
    for row in rows:
        assert 0 < row.cpt50 < row.cpt80 < 1
        assert 0.5 < row.apgr < 1


def test_equal_predictions_share_a_step():
    calls = answered_by(judged(np.zeros((4, 2)), np.eye(2)[[0, 1, 0, 1]]))[:, :, 1]
    assert calls == pytest.approx(np.tile(np.arange(11)[:, None] / 10, (1, 4)))


def test_many_models_are_asked_by_price():
    predicted = np.array([[0.5, 0.52, 0.9], [0.5, 0.8, 0.7]])
    asked = answered_by(judged(predicted, predicted)).argmax(axis=2)
    assert asked[0].tolist() == [0, 0]
    assert asked[-1].tolist() == [2, 1]
    spending = (asked + 1.0).sum(axis=1)
    assert (np.diff(spending) >= 0).all()


def test_a_random_mix_of_many_has_half():
    scores = (RNG.random((4_000, 3)) < [0.4, 0.3, 0.8]).astype(float)
    predicted = np.full(scores.shape, -1e6)
    predicted[:, 0], predicted[:, 2] = 0, RNG.random(len(scores))
    found = judge({"random": [judged(predicted, scores, strong=2)]}, seed=0)["random"]
    assert found["apgr"].value == pytest.approx(0.5, abs=0.05)
    assert found["over_zero"].value == pytest.approx(0, abs=0.02)
    assert (found["gain"].value, found["spending"].value) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_hull_is_above_all_points_and_bends_down(points):
    cost, score = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    xs, ys = hull(cost, score)
    assert set(zip(xs, ys, strict=True)) <= set(points)
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) > 0).all()
    slopes = np.diff(ys) / np.diff(xs)
    assert (np.diff(slopes) <= 1e-12).all()
    assert (np.interp(cost, xs, ys) >= score - 1e-9).all()


def test_more_test_rows_narrow_the_interval():
    scores, expected = pair(6_000)
    known = np.column_stack([np.zeros(len(scores)), expected])
    few, many = (
        judge({"x": [judged(known[:n], scores[:n])]}, seed=0)["x"]["apgr"] for n in (300, 6_000)
    )
    assert few.high - few.low > 2 * (many.high - many.low)
    assert (few.n, many.n) == (300, 6_000)


def test_points_start_cheap_and_end_strong():
    scores, expected = pair(500)
    one = drawn(judged(np.column_stack([np.zeros(500), expected]), scores), seed=0)
    assert one.share[0][[0, -1]] == pytest.approx([0, 1])
    assert one.recovered[0][[0, -1]] == pytest.approx([0, 1])
    assert one.cost[0][[0, -1]] == pytest.approx([1, 2])
    assert one.score[0][[0, -1]] == pytest.approx(scores.mean(axis=0))


def test_domains_add_up():
    scores, expected = pair(900)
    one = judged(np.column_stack([np.zeros(900), expected]), scores)
    names = ["a"] * 400 + ["b"] * 500
    rows = outcome_reading.by_domain([one], names)
    assert {row["domain"]: row["n"] for row in rows} == {"a": 400, "b": 500}
    assert [row["edge"] for row in rows] == sorted(row["edge"] for row in rows)
    calls = sum(row["calls"] * row["n"] for row in rows) / 900
    assert calls == pytest.approx(0.5)


def test_a_baseline_that_wins_is_named():
    metric = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 9}
    better = {**metric, "value": 0.7}
    routers = {name: {"apgr": metric} for name in frontier_words.NAMES}
    (said,) = frontier_words.verdicts(
        {"mmlu": {"labels_1500": {**routers, "tier": {"apgr": better}}}}
    )
    assert "tier policy, untrained beats it with 0.700" in said
    assert "best published 0.603." in said
    (said,) = frontier_words.verdicts({"gsm8k": {"five_fold": routers}})
    assert "(trained on other data)" in said
    assert frontier.STEPS == 10
