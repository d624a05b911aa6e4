"""The threshold as a controller, on streams of scores whose error rate by score is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from routerlab.cache.controller import (
    HIT_AUDITS,
    LEAST_VERDICTS,
    MOST_SERVED,
    MOST_VERDICTS,
    ThresholdController,
)

LOOK_UPS = 24_000
RATE = 0.01


@dataclass
class Run:
    """By look-up: was it a hit, a false one, audited; the threshold it was decided by."""

    hits: np.ndarray
    false: np.ndarray
    audits: np.ndarray
    thresholds: np.ndarray

    def quarters(self, what: np.ndarray) -> np.ndarray:
        return what.reshape(4, -1).mean(axis=1)


def run(controller, wrong_at, look_ups=LOOK_UPS, seed=0, judge=True) -> Run:
    """Even scores from 0 to 1; `wrong_at(score, time)` is the probability that a hit is wrong."""
    draw = np.random.default_rng(seed)
    scores = draw.random(look_ups)
    time = np.arange(look_ups) / look_ups
    wrong = draw.random(look_ups) < wrong_at(scores, time)
    seen = []
    for score, is_wrong in zip(scores.tolist(), wrong.tolist(), strict=True):
        decision = controller.decide(score, score)
        assert decision.hit == (decision.score >= controller.threshold)
        if judge and decision.audit:
            controller.learn(score, score, not is_wrong, decision.rate)
        seen.append((decision.hit, decision.hit and is_wrong, decision.audit, controller.threshold))
    return Run(*(np.array(column) for column in zip(*seen, strict=True)))


def drifting(score, time):
    """Errors grow towards lower scores, and sixfold from the first look-up to the last."""
    return np.minimum(1, (2 + 10 * time) * (1 - score))


def right(score, time):
    return np.zeros_like(score)


def wrong(score, time):
    return np.ones_like(score)


def test_without_a_judge_the_offline_threshold_stays_and_says_so():
    controller = ThresholdController(0.9, max_false_hit_rate=RATE)
    seen = run(controller, wrong, look_ups=2_000)
    assert controller.threshold == 0.9
    assert not seen.audits.any()
    assert seen.hits.mean() == pytest.approx(0.1, abs=0.02)
    assert controller.describe() == ("threshold 0.900, as calibrated offline: no judge audits it")


def test_a_judge_who_gives_no_verdicts_leaves_it_too():
    controller = ThresholdController(0.9, max_false_hit_rate=RATE, audited=True)
    seen = run(controller, wrong, look_ups=2_000, judge=False)
    assert controller.threshold == 0.9
    assert seen.audits[seen.hits].all()
    assert f"until {LEAST_VERDICTS} verdicts are in" in controller.describe()


def test_until_enough_verdicts_are_in_the_offline_threshold_holds():
    controller = ThresholdController(0.9, max_false_hit_rate=RATE, audited=True)
    for _ in range(LEAST_VERDICTS - 1):
        controller.learn(0.95, 0.95, right=False)
    for _ in range(200):
        assert controller.decide(0.95).hit
    controller.learn(0.95, 0.95, right=False)
    for _ in range(100):
        controller.decide(0.95)
    assert not controller.decide(0.95).hit
    assert "by 300 audits" in controller.describe()


def test_hits_are_audited_at_five_per_cent():
    controller = ThresholdController(0.9, max_false_hit_rate=RATE, audited=True)
    seen = run(controller, right)
    late = np.cumsum(seen.audits) > MOST_VERDICTS  # the first ones are judged more often
    share = seen.audits[seen.hits & late].mean()
    assert late.mean() > 0.2
    assert share == pytest.approx(HIT_AUDITS, abs=0.012)


def test_look_ups_without_a_candidate_are_neither_hits_nor_audited():
    controller = ThresholdController(0.9, audited=True)
    decisions = [controller.decide(None) for _ in range(300)]
    assert not any(decision.hit or decision.audit for decision in decisions)
    for _ in range(LEAST_VERDICTS):
        controller.learn(0.95, 0.95, right=True)
    for _ in range(100):
        controller.decide(None)  # no score to set a threshold by
    assert controller.threshold == 0.9


def test_false_hits_stay_under_the_rate_while_errors_drift():
    runs = []
    for seed in range(3):
        controller = ThresholdController(0.94, max_false_hit_rate=RATE, audited=True, seed=seed)
        runs.append(run(controller, drifting, look_ups=20_000, seed=seed))
    for seen in runs:
        assert seen.false.mean() < RATE
        assert seen.hits.mean() > 0.02  # it is no closed door
    by_quarter = np.array([seen.quarters(seen.false) for seen in runs])
    # It follows a drift with the delay of its window, so a single quarter may pass by a little.
    assert (by_quarter.mean(axis=0) <= RATE).all()
    assert (by_quarter <= 1.3 * RATE).all()


def test_a_frozen_threshold_does_not_hold_it():
    seen = run(ThresholdController(0.94, max_false_hit_rate=RATE), drifting, look_ups=20_000)
    assert seen.quarters(seen.false)[0] < RATE  # it was calibrated well, for its time
    assert seen.false.mean() > RATE
    assert (seen.quarters(seen.false)[2:] > RATE).all()


def test_a_stricter_rate_serves_less():
    shares = []
    for rate in (0.003, 0.01, 0.03):
        controller = ThresholdController(0.95, max_false_hit_rate=rate, audited=True)
        seen = run(controller, lambda score, time: np.minimum(1, 5 * (1 - score)))
        assert seen.false[LOOK_UPS // 2 :].mean() < rate
        shares.append(seen.hits[LOOK_UPS // 2 :].mean())
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("start", [0.99, float("inf")])
def test_it_opens_when_all_verdicts_are_right(start):
    controller = ThresholdController(start, max_false_hit_rate=RATE, audited=True)
    seen = run(controller, right)
    assert seen.quarters(seen.hits).max() > 0.6
    # One hit in twenty audited supports no more in the long run.
    assert seen.hits[-2_000:].mean() > 0.25
    assert seen.quarters(seen.hits)[3] <= MOST_SERVED + 0.02


def test_it_closes_when_verdicts_turn_wrong():
    controller = ThresholdController(0.95, max_false_hit_rate=RATE, audited=True)
    before = run(controller, right, look_ups=12_000)
    after = run(controller, wrong, look_ups=32_000, seed=1)
    assert before.hits[-3_000:].mean() > 0.1
    assert after.hits[-4_000:].mean() < 1.5 * RATE


def test_it_shuts_altogether_where_not_even_the_best_can_be_served():
    controller = ThresholdController(0.9, max_false_hit_rate=0.001, audited=True)
    seen = run(controller, wrong, look_ups=8_000)
    assert controller.threshold == np.inf
    assert not seen.hits[-2_000:].any()
    assert seen.audits[-2_000:].any()  # so that it may open again
    reopened = run(controller, right, look_ups=30_000)
    assert reopened.hits[-3_000:].any()


def test_equal_scores_are_no_trouble():
    controller = ThresholdController(0.9, audited=True)
    for _ in range(1_000):
        decision = controller.decide(0.95)
        if decision.audit:
            controller.learn(0.95, 0.95, right=True)
    assert controller.decide(0.95).hit


def test_runs_are_repeatable():
    runs = []
    for _ in range(2):
        controller = ThresholdController(0.94, audited=True, seed=3)
        runs.append(run(controller, drifting, look_ups=8_000))
    assert np.array_equal(runs[0].thresholds, runs[1].thresholds)
    assert np.array_equal(runs[0].audits, runs[1].audits)


@pytest.mark.parametrize("rate", [0, 1, -0.01, 2, float("nan"), float("inf")])
def test_nonsense_rates_are_refused(rate):
    with pytest.raises(ValueError, match="max_false_hit_rate"):
        ThresholdController(0.9, max_false_hit_rate=rate)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        ThresholdController(float("nan"))


def test_verdicts_weigh_the_cosine_where_the_verifier_says_nothing():
    controller = ThresholdController(0.95, max_false_hit_rate=0.02, audited=True)
    draw = np.random.default_rng(5)
    served = []
    for cosine in draw.uniform(0.6, 1.0, size=LOOK_UPS).tolist():
        score, right_one = draw.random(), bool(draw.random() < (cosine - 0.6) / 0.3)
        decision = controller.decide(score, cosine)
        if decision.audit:
            controller.learn(score, cosine, right_one, decision.rate)
        served.append((decision.hit, cosine, decision.hit and not right_one))
    late = np.array(served[LOOK_UPS // 2 :])
    assert late[:, 2].mean() < 0.02
    assert late[late[:, 0] == 1, 1].min() > 0.8
    assert late[:, 0].mean() > 0.15
