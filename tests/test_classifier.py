"""The stored classifier: what it accepts, what it refuses, how it compares."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from routerlab.classifier import CARD_FILE, DEFAULT_MODEL_DIR, MODEL_FILE, load_classifier
from routerlab.embedding import MiniLMEmbedder
from routerlab.errors import ClassifierError
from routerlab.lab.queries import load_benchmark, load_training
from routerlab.lab.training import baselines, features, fit, length_features, majority
from routerlab.types import TIERS


def test_probabilities(model_dir, embedder):
    proba = load_classifier(embedder.id, model_dir).predict_proba(embedder.encode(["hi", "bye"]))
    assert proba.shape == (2, len(TIERS))
    assert np.allclose(proba.sum(axis=1), 1)


def test_committed_classifier_fits_the_committed_data():
    load_classifier(MiniLMEmbedder().id, DEFAULT_MODEL_DIR)


def test_training_is_deterministic(embedder):
    rows = [row for row in load_training() if row.id[-1] in "05"]
    train = features(rows, embedder)
    first, second = (fit(train, seed=3).coef_ for _ in range(2))
    assert np.array_equal(first, second)


def test_beats_majority_and_length_on_the_benchmark(model_dir, embedder):
    train, test = (features(rows, embedder) for rows in (load_training(), load_benchmark()))
    model = load_classifier(embedder.id, model_dir).estimator
    own = (model.predict(test.vectors) == test.tiers).mean()
    length_only = baselines(seed=0)["length_only"].fit(train.texts, train.tiers)
    assert own > (length_only.predict(test.texts) == test.tiers).mean()
    assert own > (majority(test.tiers) == test.tiers).mean()


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
