"""Shared parts: the real embedding, a real classifier, the local server. No network, no key."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerlab.catalog import load_catalog
from routerlab.classifier import load_classifier
from routerlab.embedding import MiniLMEmbedder
from routerlab.lab.encodings import ensure_encodings
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.simulator import Simulator
from routerlab.lab.training import ensure_classifier
from routerlab.router import LLMRouter

KEYS = [provider.key_env for provider in load_catalog().providers.values()]


@pytest.fixture(autouse=True)
def no_keys_no_budget(monkeypatch):
    """A developer's own keys must never reach a test."""
    for name in [*KEYS, "BUDGET_USD"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def encodings() -> None:
    """tiktoken's files, fetched once into the cache folder as `make data` does."""
    ensure_encodings()


@pytest.fixture(scope="session")
def catalog():
    return load_catalog()


@pytest.fixture(scope="session")
def embedder() -> MiniLMEmbedder:
    made = MiniLMEmbedder()
    made.load()
    return made


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory, embedder) -> Path:
    """A folder with a classifier of the committed data, no cache calibration."""
    folder = tmp_path_factory.mktemp("model")
    ensure_classifier(folder, embedder)
    return folder


@pytest.fixture(scope="session")
def classifier(model_dir, embedder):
    """Loaded once: routers in the tests share it."""
    return load_classifier(embedder.id, model_dir)


@pytest.fixture
def server(catalog) -> Iterator[Simulator]:
    with Simulator(catalog, time_scale=0, length=lambda _: 20) as running:
        yield running


@pytest.fixture
def make_router(server, catalog, embedder, classifier, model_dir):
    """Routers on the local server; keyword arguments override."""

    def make(**options) -> LLMRouter:
        given = {
            "endpoints": ServerEndpoints(server),
            "catalog": catalog,
            "embedder": embedder,
            "classifier": classifier,
            "model_dir": model_dir,
        }
        return LLMRouter(**{**given, **options})

    return make


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment for a child process."""
    return dict(os.environ)
