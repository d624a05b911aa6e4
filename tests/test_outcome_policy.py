"""The model and policy that learn from outcomes: inference, storage, seam, settings."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from routerlab.errors import ClassifierError, UnknownModel
from routerlab.lab import outcome_learning, outcome_settings
from routerlab.lab.outcome_learning import Evidence, fit
from routerlab.lab.outcomes import PAIR, Outcomes
from routerlab.outcome_model import OutcomeModel, tree_inputs, wording
from routerlab.outcome_policy import OutcomePolicy
from routerlab.policies import PolicyInput
from routerlab.surface import SURFACE, surface
from routerlab.types import TIERS

MODELS = ("small", "large")
SERVED = {"small": "gpt-6-luna", "large": "gpt-6.1-sol"}
EASY = [f"What is {a} plus {b}?" for a in range(12) for b in range(12)]
HARD = [
    f"Prove step by step, without a computer, that {a} divides n^{a} - n for every n\nif {a} is "
    f"prime; then find all {b} exceptions where it is not.\nStatement: {a + b}?"
    for a in range(12)
    for b in range(12)
]


@pytest.fixture(scope="module")
def evidence(embedder):
    texts = [*EASY, *HARD]
    return Evidence.of(texts, embedder.encode(texts))


@pytest.fixture(scope="module")
def scores():
    """The small model does the easy ones alone, the large one nearly all."""
    hard = np.arange(len(EASY) + len(HARD)) >= len(EASY)
    noise = np.random.default_rng(0).random(len(hard)) < 0.1
    return np.column_stack([hard == noise, ~noise]).astype(float)


@pytest.fixture(scope="module")
def model(evidence, scores, embedder):
    return fit(evidence, scores, MODELS, embedder.id, 0)


def known(text: str, embedder) -> PolicyInput:
    return PolicyInput(text, embedder.encode([text])[0], dict.fromkeys(TIERS, 0.25))


def test_surface_is_finite_and_named():
    rows = surface(["", " \n ", "a", "Why?\nx = 3", "日本語 “quoted” text" * 2_000])
    assert rows.shape == (5, len(SURFACE))
    assert np.isfinite(rows).all()
    assert surface([]).shape == (0, len(SURFACE))
    by_name = dict(zip(SURFACE, rows[3], strict=True))
    assert by_name["lines"] == pytest.approx(np.log1p(2))
    assert by_name["numbers"] == pytest.approx(np.log1p(1))


def test_trees_are_scikit_learns(evidence, scores, model):
    forest = ExtraTreesRegressor(
        outcome_learning.TREES, min_samples_leaf=outcome_learning.LEAF, max_features=0.3,
        random_state=0,
    )  # fmt: skip
    inputs = tree_inputs(evidence.vectors, evidence.worded, model.centre, model.projection)
    expected = forest.fit(inputs, scores).predict(inputs)
    ours = model._of_trees(evidence.vectors, evidence.worded)
    assert ours == pytest.approx(expected, abs=1e-6)


def test_it_learns_who_can_do_what(model, evidence):
    predicted = model.predict(evidence.texts, evidence.vectors)
    assert predicted.shape == (len(evidence.texts), 2)
    gain = predicted[:, 1] - predicted[:, 0]
    assert gain[: len(EASY)].max() < gain[len(EASY) :].min()
    assert ((predicted > 0) & (predicted < 1)).all()


def test_one_by_one_is_all_at_once(model, evidence):
    some = evidence.take(np.array([0, 150, 287]))
    whole = model.predict(some.texts, some.vectors)
    for row, text in enumerate(some.texts):
        alone = model.predict([text], some.vectors[row][None])
        assert alone[0] == pytest.approx(whole[row])


def test_it_is_kept_and_found_again(model, evidence, embedder, tmp_path):
    path = tmp_path / "outcomes.npz"
    model.save(path)
    again = OutcomeModel.load(path, embedder.id)
    assert again.digest == model.digest
    assert (again.predict_from(evidence.vectors, evidence.worded) == model.predict_from(
        evidence.vectors, evidence.worded)).all()  # fmt: skip
    with pytest.raises(ClassifierError, match="was learned on"):
        OutcomeModel.load(path, "another")
    with pytest.raises(ClassifierError, match="05_cost"):
        OutcomeModel.load(tmp_path / "none.npz", embedder.id)
    whole = path.read_bytes()
    for broken in (b"broken", whole[: len(whole) // 2], whole[:200] + b"?" * 99 + whole[299:]):
        path.write_bytes(broken)
        with pytest.raises(ClassifierError, match="05_cost"):
            OutcomeModel.load(path, embedder.id)


def test_the_policy_weighs_score_against_price(model, catalog, embedder):
    easy, hard = known(EASY[5], embedder), known(HARD[5], embedder)
    for price, expected in ((0.0, "gpt-6.1-sol"), (1e6, "gpt-6-luna")):
        chosen = OutcomePolicy(model, SERVED, price).choose(hard, catalog)
        assert chosen.models[0].id == expected
        assert {one.id for one in chosen.models} == set(SERVED.values())
    middle = OutcomePolicy(model, SERVED, 20.0)
    assert middle.choose(easy, catalog).models[0].id == "gpt-6-luna"
    assert middle.choose(hard, catalog).models[0].id == "gpt-6.1-sol"


def test_what_does_not_fit_is_refused(model, catalog, embedder):
    with pytest.raises(ValueError, match="large"):
        OutcomePolicy(model, {"small": "gpt-6-luna"}, 1.0)
    with pytest.raises(ValueError, match="0 or more"):
        OutcomePolicy(model, SERVED, float("nan"))
    lost = OutcomePolicy(model, {**SERVED, "large": "nothing"}, 1.0)
    with pytest.raises(UnknownModel):
        lost.choose(known("hi", embedder), catalog)


def test_the_id_tells_policies_apart(model):
    policy = OutcomePolicy(model, SERVED, 1.0)
    others = [
        replace(policy, score_per_usd=2.0),
        replace(policy, served_by={**SERVED, "large": "gpt-6-astra"}),
        replace(policy, model=replace(model, intercept=model.intercept + 1)),
    ]
    assert len({policy.id, *(other.id for other in others)}) == 4


async def test_the_router_takes_it(model, make_router):
    policy = OutcomePolicy(model, SERVED, 20.0)
    router = make_router(policy=policy)
    easy, hard = await router.route_many([EASY[7], HARD[7]])
    assert (easy.model, hard.model) == ("gpt-6-luna", "gpt-6.1-sol")
    assert hard.fallbacks == ("gpt-6-luna",)
    assert hard.policy == policy.id
    answer = await router.complete(HARD[7])
    assert answer.model == "gpt-6.1-sol"


def outcomes_of(evidence, scores, held_out=None) -> Outcomes:
    n = len(scores)
    costs = np.tile([1.0, 10.0], (n, 1)) / 1e3
    domains = tuple("easy" if row < len(EASY) else "hard" for row in range(n))
    none = np.zeros(n, dtype=bool) if held_out is None else held_out
    return Outcomes("made up", tuple(evidence.texts), domains, PAIR, scores, costs, costs, none)


def test_settings_keep_training_and_test_apart(evidence, scores):
    made = outcomes_of(evidence, scores)
    found = outcome_settings.settings_of(made, 2, 0)
    assert list(found) == ["five_fold", "leave_one_domain_out"]
    for setting, draws in found.items():
        for draw in draws:
            tested = np.concatenate([test for _, test in draw])
            assert sorted(tested) == list(range(len(made)))
            for train, test in draw:
                assert not set(train) & set(test)
                if setting == "leave_one_domain_out":
                    inside = {made.domains[row] for row in test}
                    assert not inside & {made.domains[row] for row in train}
    held_out = np.arange(len(made)) % 3 == 0
    (own,) = outcome_settings.settings_of(outcomes_of(evidence, scores, held_out), 2, 0)[
        "source_split"
    ]
    assert set(own[0][1]) == set(np.flatnonzero(held_out))


def test_every_router_is_run_on_the_same_rows(evidence, scores):
    made = outcomes_of(evidence, scores)
    tiers = (np.arange(len(made)) >= len(EASY)).astype(float)
    prepared = outcome_settings.Prepared(made, evidence, tiers)
    draws = outcome_settings.settings_of(made, 1, 0)["five_fold"]
    judged = outcome_settings.run(prepared, draws, 0)
    assert set(judged) == {"random", "length_only", "tfidf", "learned", "tier"}
    rows = {tuple(one[0].rows) for one in judged.values()}
    assert len(rows) == 1
    pair = {"one": prepared, "other": prepared}
    third = replace(prepared, outcomes=replace(made, models=("a", "b")))
    elsewhere = outcome_settings.run_elsewhere({**pair, "third": third}, 0)
    assert set(elsewhere) == set(pair)
    assert all(one[0].predicted.shape == (len(made), 2) for one in elsewhere["one"].values())


def test_wording_reads_a_long_text_in_part():
    assert (wording(["word " * 5_000]) == wording(["word " * 9_000])).all()
