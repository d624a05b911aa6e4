"""The stored classifier: what it accepts, what it refuses, how it compares."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from routerlab.classifier import CARD_FILE, DEFAULT_MODEL_DIR, MODEL_FILE, load_classifier
from routerlab.cues import cues
from routerlab.embedding import MiniLMEmbedder
from routerlab.errors import ClassifierError
from routerlab.lab import training
from routerlab.lab.baselines import keywords, learners, length_features, majority
from routerlab.lab.queries import load_benchmark, load_training
from routerlab.lab.training import features, fit
from routerlab.policies import cheapest_mistake
from routerlab.query import CLASSIFIED_CHARS
from routerlab.tiermodel import (
    CUE_WEIGHT,
    EMBEDDING_WEIGHT,
    FLOOR,
    NEIGHBOURS,
    SHARPNESS,
)
from routerlab.types import TIERS


def test_probabilities(model_dir, embedder):
    proba = load_classifier(embedder.id, model_dir).predict_proba(
        ["hi", "bye"], embedder.encode(["hi", "bye"])
    )
    assert proba.shape == (2, len(TIERS))
    assert np.allclose(proba.sum(axis=1), 1)


def test_committed_classifier_fits_the_committed_data():
    load_classifier(MiniLMEmbedder().id, DEFAULT_MODEL_DIR)


def test_training_is_deterministic(embedder):
    rows = [row for row in load_training() if row.id[-1] in "05"]
    train = features(rows, embedder)
    first, second = (fit(train, seed=3).linear.coef_ for _ in range(2))
    assert np.array_equal(first, second)


def test_beats_simple_baselines_on_the_benchmark(model_dir, embedder):
    train, test = (features(rows, embedder) for rows in (load_training(), load_benchmark()))
    proba = load_classifier(embedder.id, model_dir).predict_proba(test.texts, test.vectors)
    own = (proba.argmax(axis=1) == test.tiers).mean()
    length_only = learners(seed=0)["length_only"].fit(train.texts, train.tiers)
    assert own > (length_only.predict(test.texts) == test.tiers).mean()
    assert own > (majority(test.tiers) == test.tiers).mean()
    assert own > (keywords(test.texts) == test.tiers).mean()


def test_own_inference_agrees_with_scikit_learn(model_dir, embedder):
    """The quick sums give what the fitted parts give through their own methods."""
    model = load_classifier(embedder.id, model_dir).model
    texts = [query.text for query in load_benchmark()] + ["", "zzzz qqqq", "a " * 3_000]
    vectors = embedder.encode(texts)
    clipped = [text[:CLASSIFIED_CHARS] for text in texts]
    design = np.hstack(
        [
            vectors * EMBEDDING_WEIGHT,
            model.words.transform(clipped).toarray(),
            model.scaler.transform(cues(clipped)) * CUE_WEIGHT,
        ]
    )
    near = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine")
    distance, rows = near.fit(model.neighbours.astype(np.float32)).kneighbors(vectors)
    weight = np.exp(-SHARPNESS * distance)
    votes = np.stack(
        [np.where(model.neighbour_tiers[rows] == tier, weight, 0).sum(axis=1) for tier in range(4)]
    ).T
    votes = votes / weight.sum(axis=1, keepdims=True) + FLOOR
    votes /= votes.sum(axis=1, keepdims=True)
    average = (1 - model.vote) * model.linear.predict_proba(design) + model.vote * votes
    expected = training.reweighted(average, model.temperature, model.priors, model.shares)
    assert np.allclose(model.predict_proba(texts, vectors), expected, atol=1e-5)


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
    assert plain.probabilities == prompted.probabilities == opened.probabilities


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


def test_untrusted_types_are_refused(copy, embedder):
    """A skops file that names a type outside scikit-learn is not loaded, even with a right hash."""
    path = copy / MODEL_FILE
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["__class__"], schema["__module__"] = "Popen", "subprocess"
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    from routerlab.files import sha256_file

    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text(json.dumps({**card, "model_sha256": sha256_file(path)}))
    with pytest.raises(ClassifierError, match="cannot be loaded"):
        load_classifier(embedder.id, copy)
