"""The complexity classifier as the router uses it: texts and vectors in, tier probabilities out.

Kept as an npz file with a card beside it; both hashes are checked before anything is loaded, and no
pickle is read. Does not know: how it was trained (`lab.training`), what a tier costs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routerlab.embedding import Vectors
from routerlab.errors import ClassifierError
from routerlab.files import (
    BROKEN_ARCHIVE,
    DATA_DIR,
    RESULTS_DIR,
    sha256_file,
    write_atomically,
    write_json,
)
from routerlab.tiermodel import TierModel
from routerlab.types import TIERS

DEFAULT_MODEL_DIR = RESULTS_DIR / "model"
TRAINING_FILE = DATA_DIR / "training_queries.jsonl"
MODEL_FILE = "classifier.npz"
CARD_FILE = "classifier.json"
_RETRAIN = "retrain with `make reproduce` (or run notebooks/02_train_classifier.ipynb)"


class Classifier(Protocol):
    """Texts and their unit vectors, shape (n, d), to tier probabilities, columns as in `TIERS`."""

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """Probabilities of shape (n, 4); each row sums to one."""


@dataclass(frozen=True)
class ModelCard:
    """What a stored classifier was made from; `model_sha256` is of the npz file."""

    embedder_id: str
    training_sha256: str
    model_sha256: str
    training_rows: int
    seed: int
    estimator: str
    priors: dict[str, float]
    sklearn_version: str


class StoredClassifier:
    """A fitted model with its card."""

    def __init__(self, model: TierModel, card: ModelCard) -> None:
        self.model = model
        self.card = card

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """Probabilities of shape (n, 4), columns in the order of `TIERS`."""
        return self.model.predict_proba(texts, vectors)


def save_classifier(
    model: TierModel, folder: Path, *, embedder_id: str, training_file: Path, rows: int, seed: int
) -> ModelCard:
    """Store a fitted model and its card, each whole."""
    import sklearn

    model_file = folder / MODEL_FILE
    model.save(model_file)
    card = ModelCard(
        embedder_id=embedder_id,
        training_sha256=sha256_file(training_file),
        model_sha256=sha256_file(model_file),
        training_rows=rows,
        seed=seed,
        estimator=model.estimator,
        priors=dict(zip(TIERS, model.priors, strict=True)),
        sklearn_version=sklearn.__version__,
    )
    write_json(folder / CARD_FILE, asdict(card))
    return card


def copy_classifier(source: Path, folder: Path) -> None:
    """Put a stored classifier into another folder, the card last."""
    for name in (MODEL_FILE, CARD_FILE):
        write_atomically(folder / name, partial(shutil.copyfile, source / name))


def load_classifier(
    embedder_id: str, folder: Path = DEFAULT_MODEL_DIR, training_file: Path = TRAINING_FILE
) -> StoredClassifier:
    """Load a stored classifier; `ClassifierError` where it is missing, altered or stale."""
    try:
        card = ModelCard(**json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
        actual = sha256_file(folder / MODEL_FILE)
    except OSError as error:
        raise ClassifierError(f"no trained classifier in {folder}: {_RETRAIN}") from error
    except (ValueError, TypeError) as error:
        raise ClassifierError(f"{folder / CARD_FILE} is not a model card: {_RETRAIN}") from error
    if actual != card.model_sha256:
        raise ClassifierError(f"{folder / MODEL_FILE} is not what its card says: {_RETRAIN}")
    if card.embedder_id != embedder_id:
        raise ClassifierError(
            f"the classifier was trained on {card.embedder_id}, this is {embedder_id}: {_RETRAIN}"
        )
    if training_file.exists() and sha256_file(training_file) != card.training_sha256:
        raise ClassifierError(f"{training_file} changed since the training: {_RETRAIN}")
    try:
        model = TierModel.load(folder / MODEL_FILE)
    except BROKEN_ARCHIVE as error:
        raise ClassifierError(f"{folder / MODEL_FILE} cannot be loaded: {_RETRAIN}") from error
    return StoredClassifier(model, card)
