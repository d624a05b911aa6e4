"""The stored classifier: what it accepts, what it refuses, how it compares."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from routerlab.classifier import CARD_FILE, DEFAULT_MODEL_DIR, MODEL_FILE, load_classifier
from routerlab.cues import CUES, ask_of, cues
from routerlab.embedding import MiniLMEmbedder
from routerlab.errors import ClassifierError
from routerlab.files import sha256_file
from routerlab.lab.baselines import guesses, length_features
from routerlab.lab.fitting import (
    CUE_WEIGHT,
    Recipe,
    features,
    fit_linear,
    fit_on,
    fit_raw,
    gather,
    subset,
)
from routerlab.lab.queries import load_benchmark, load_training, undisputed
from routerlab.lab.training import TRAFFIC_PRIORS, Tuning, calibrated, folds, reweighted, tune
from routerlab.lab.vectors import KeptVectors
from routerlab.policies import cheapest_mistake
from routerlab.query import CLASSIFIED_CHARS
from routerlab.tiermodel import FLOOR, NEIGHBOURS, SHARPNESS, TierModel
from routerlab.types import TIERS


def test_probabilities(model_dir, embedder):
    proba = load_classifier(embedder.id, model_dir).predict_proba(
        ["hi", "bye"], embedder.encode(["hi", "bye"])
    )
    assert proba.shape == (2, len(TIERS))
    assert np.allclose(proba.sum(axis=1), 1)


def test_committed_classifier_fits_the_committed_data():
    load_classifier(MiniLMEmbedder().id, DEFAULT_MODEL_DIR)


@pytest.fixture(scope="module")
def some(embedder):
    """A tenth of the training queries, of every brief."""
    return features(undisputed(load_training())[::10], embedder)


@pytest.fixture(scope="module")
def test_set(embedder):
    return features(load_benchmark(), embedder)


def test_training_is_deterministic(some):
    first, second = (fit_raw(some, Recipe(seed=3)) for _ in range(2))
    assert np.array_equal(first.words.coefficients, second.words.coefficients)
    assert np.array_equal(first.neighbours, second.neighbours)


def test_the_temperature_is_that_of_the_most_overconfident_brief(some):
    tuned = tune(some, seed=0)
    assert set(tuned.temperatures) == set(some.briefs)
    assert tuned.temperature == max(tuned.temperatures.values())
    assert tuned.losses[tuned.strength] == min(tuned.losses.values())
    deployed = calibrated(fit_raw(some, Recipe(tuned.strength)), tuned)
    assert deployed.temperature == tuned.temperature
    assert deployed.priors == TRAFFIC_PRIORS


def test_no_family_or_brief_straddles_a_fold(some):
    for groups in (some.families, some.briefs):
        for train, held_out in folds(groups):
            assert not {groups[i] for i in train} & {groups[i] for i in held_out}


def test_beats_the_baselines_on_the_benchmark(model_dir, embedder, test_set):
    train = features(undisputed(load_training())[::3], KeptVectors(embedder))
    proba = load_classifier(embedder.id, model_dir).predict_proba(test_set.texts, test_set.vectors)
    own = (proba.argmax(axis=1) == test_set.tiers).mean()
    for name, guessed in guesses(train, {"test": test_set}, seed=0)["test"].items():
        assert own > (guessed == test_set.tiers).mean(), name


def test_own_inference_agrees_with_scikit_learn(some, embedder):
    """The quick sums give what the fitted parts give through their own methods."""
    recipe, seen = Recipe(seed=3), gather(some, 3)
    linear, model = fit_linear(seen, some.tiers, recipe), fit_on(seen, some, recipe)
    model = calibrated(model, Tuning(recipe.strength, 1.3, {}, {}))
    texts = [query.text for query in load_benchmark()] + ["", "zzzz qqqq", "a " * 3_000]
    vectors = embedder.encode(texts)
    clipped = [text[:CLASSIFIED_CHARS] for text in texts]
    design = np.hstack(
        [
            vectors,
            seen.words.transform(clipped).toarray(),
            seen.ask_words.transform([ask_of(text) for text in clipped]).toarray(),
            seen.scaler.transform(cues(clipped)) * CUE_WEIGHT,
        ]
    )
    near = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine", algorithm="brute")
    smaller = (vectors - model.centre) @ model.projection
    distance, rows = near.fit(model.neighbours.astype(np.float32)).kneighbors(smaller)
    weight = np.exp(-SHARPNESS * distance)
    votes = np.stack(
        [np.where(model.neighbour_tiers[rows] == tier, weight, 0).sum(axis=1) for tier in range(4)]
    ).T
    votes = votes / weight.sum(axis=1, keepdims=True) + FLOOR
    votes /= votes.sum(axis=1, keepdims=True)
    pooled = linear.predict_proba(design) ** (1 - model.vote) * votes**model.vote
    expected = reweighted(pooled, model.temperature, model.priors, model.shares)
    # Vectors and neighbours are float32, and of equally near ones either may vote.
    assert np.allclose(model.predict_proba(texts, vectors), expected, atol=1e-3)


def test_a_query_is_classified_alike_alone_and_among_others(model_dir, embedder, test_set):
    model = load_classifier(embedder.id, model_dir).model
    together = model.predict_proba(test_set.texts, test_set.vectors)
    alone = [
        model.predict_proba([text], vector[None])[0]
        for text, vector in zip(test_set.texts, test_set.vectors, strict=True)
    ]
    assert np.allclose(together, alone, atol=1e-4)


def test_dearer_under_routing_only_moves_tiers_up():
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    for row in rows:
        proba = dict(zip(TIERS, row, strict=True))
        chosen = [TIERS.index(cheapest_mistake(proba, cost)) for cost in (0.2, 1, 2, 5, 50)]
        assert chosen == sorted(chosen)
        assert chosen[1] == row.argmax()


ROLES = [
    ("You are a world-class professor of mathematics.", "What is the capital of Peru?"),
    ("You are a helpful assistant.", "Prove that there are infinitely many primes."),
    ("Act as a senior architect of distributed systems.", "Fix the typo: I hav a dog."),
]


@pytest.mark.parametrize(("role", "query"), ROLES)
async def test_a_role_does_not_move_the_tier(make_router, role, query):
    """Neither as a system prompt nor as the query's own opening."""
    router = make_router()
    plain = await router.route_query(query)
    prompted = await router.route_query(query, system_prompt=role)
    opened = await router.route_query(f"{role} {query}")
    # An encode of one text and of two differ in the last bits of a float32.
    assert prompted.probabilities == pytest.approx(plain.probabilities, abs=1e-4)
    assert opened.probabilities == pytest.approx(plain.probabilities, abs=1e-4)


async def test_a_follow_up_is_judged_with_the_turns_before_it(make_router):
    router = make_router()
    first = "Prove that there are infinitely many primes."
    turns = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": "Suppose there were finitely many."},
        {"role": "user", "content": "and then?"},
    ]
    assert (await router.route_query(first)).tier == "reasoning"
    assert (await router.route_query(turns)).tier == "reasoning"
    assert (await router.route_query("and then?")).tier != "reasoning"


@pytest.mark.parametrize(
    ("text", "has", "has_not"),
    [
        ("Please write a haiku", "write", "yes_no"),
        ("Is it legal to fish here?", "yes_no", "write"),
        ("How many moons has Mars?", "how_many", "how_to"),
        ("Fix this: I is here", "edit", "prove"),
        ("Learn C++ or C#?", "code", "page"),
        ("word " * 40 + "prove it", "prove", "prove_early"),
        ("x" * 1_500 + " prove it", "lower_case", "prove"),
    ],
)
def test_cues_see_what_they_name(text, has, has_not):
    (row,) = cues([text])
    found = dict(zip(CUES, row, strict=True))
    assert found[has] == 1
    assert found[has_not] == 0


def test_cues_have_a_column_each_even_for_no_text():
    assert cues([]).shape == (0, len(CUES))
    assert cues(["", "Why?"]).shape == (2, len(CUES))


def test_the_ask_is_the_ends_of_a_long_text():
    words = [str(number) for number in range(100)]
    assert ask_of("a\n b") == "a b"
    ask = ask_of(" ".join(words)).split()
    assert ask[:25] == words[:25]
    assert ask[-15:] == words[-15:]
    assert len(ask) == 41


def test_length_features_have_two_columns():
    assert length_features(["a b", "c"]).shape == (2, 2)


@pytest.fixture
def copy(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    return tmp_path / "model"


def test_missing_model_says_how_to_train(tmp_path, embedder):
    with pytest.raises(ClassifierError, match="make reproduce"):
        load_classifier(embedder.id, tmp_path)


def test_altered_model_is_refused(copy, embedder):
    path = copy / MODEL_FILE
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ClassifierError, match="not what its card says"):
        load_classifier(embedder.id, copy)


def test_truncated_card_is_refused(copy, embedder):
    (copy / CARD_FILE).write_text("{")
    with pytest.raises(ClassifierError, match="not a model card"):
        load_classifier(embedder.id, copy)


def test_other_embedding_is_refused(copy):
    with pytest.raises(ClassifierError, match="trained on"):
        load_classifier("another-embedding", copy)


def test_changed_training_data_is_refused(copy, embedder, tmp_path):
    changed = tmp_path / "training.jsonl"
    changed.write_text("{}")
    with pytest.raises(ClassifierError, match="retrain"):
        load_classifier(embedder.id, copy, changed)


def test_a_stored_model_is_the_one_that_was_fitted(some, tmp_path):
    model = calibrated(fit_raw(some, Recipe(seed=3)), Tuning(3.0, 1.3, {}, {}))
    model.save(tmp_path / MODEL_FILE)
    again = TierModel.load(tmp_path / MODEL_FILE)
    texts, vectors = some.texts[:50], some.vectors[:50]
    assert np.array_equal(again.predict_proba(texts, vectors), model.predict_proba(texts, vectors))
    assert again.estimator == model.estimator


def test_training_without_a_tier_is_refused(some):
    easy = subset(some, np.flatnonzero(some.tiers < 3))
    with pytest.raises(ClassifierError, match="all four tiers"):
        fit_raw(easy, Recipe())


@pytest.mark.parametrize("kind", ["a pickle", "no npz", "a part missing"])
def test_a_file_that_cannot_be_loaded_is_refused(copy, embedder, kind):
    """Even with a right hash; above all, no pickle is read."""
    path = copy / MODEL_FILE
    with np.load(path) as kept:
        parts = dict(kept)
    if kind == "a pickle":
        parts["estimator"] = np.array([{"an": "object"}], dtype=object)
    if kind == "a part missing":
        del parts["words.idf"]
    np.savez(path, **parts)
    if kind == "no npz":
        path.write_bytes(b"text")
    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text(json.dumps({**card, "model_sha256": sha256_file(path)}))
    with pytest.raises(ClassifierError, match="cannot be loaded"):
        load_classifier(embedder.id, copy)


def test_classifying_needs_neither_scikit_learn_nor_torch(model_dir, embedder):
    """They take seconds to import, which the first query would wait for."""
    asked = (
        "import sys; from pathlib import Path; from routerlab.classifier import load_classifier; "
        "import numpy as np; hi = ['hi'], np.ones((1, 384), dtype=np.float32); "
        f"load_classifier({embedder.id!r}, Path({str(model_dir)!r})).predict_proba(*hi); "
        "print({'sklearn', 'torch', 'scipy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
