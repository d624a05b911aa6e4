"""How long the cache takes, beyond the encode: look-ups by size, puts, the verifier's decision.

Entries are unit vectors around random centres, texts are made of training words. Does not know:
whether answers are right.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from tqdm import tqdm

from routerlab.blas import one_thread
from routerlab.cache import CacheKey, Scope, SemanticCache
from routerlab.cache.controller import ThresholdController
from routerlab.cache.verifier import SameAnswerVerifier
from routerlab.embedding import Vectors
from routerlab.lab import metrics
from routerlab.lab.metrics import Metric

REPEATS = 300
_ANSWER = {"tier": "simple", "model": "gpt-6-luna", "provider": "openai"}
_SCOPE = Scope("speed", "", "tier", "", (), "random").hash


def measure(
    verifier: SameAnswerVerifier,
    words: Sequence[str],
    *,
    sizes: Sequence[int] = (10_000, 100_000),
    seed: int,
    progress: bool = True,
) -> dict[str, Metric]:
    """Milliseconds: median of `exact`, `decision` and `semantic_<n>k`, p95 of `put_p95_<n>k`.

    In memory, and `sqlite_exact`, `sqlite_put_p95` at the smallest size in a file. A semantic
    look-up is a hit: nearest of all entries, verified and served.
    """
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(words, k=8)) + f" {n}" for n in range(max(sizes) + REPEATS)]
    vectors = _vectors(len(texts), seed)
    found: dict[str, Metric] = {}
    cache, filled = SemanticCache(verifier=verifier, controller=_always()), 0
    with one_thread():
        for size in sizes:
            for n in tqdm(range(filled, size), desc=f"{size:,} entries", disable=not progress):
                _put(cache, texts[n], vectors[n])
            filled = size
            name = f"{size // 1_000}k"
            chosen = rng.sample(range(size), REPEATS)
            asked = [CacheKey(_SCOPE, f"please {texts[n]}") for n in chosen]
            found[f"semantic_{name}"] = _median(
                [partial(cache.get, k, vectors[n]) for k, n in zip(asked, chosen, strict=True)],
                seed,
            )
        found["exact"] = _exact(cache, texts, seed)
        found["decision"] = _median(
            [partial(verifier.score, f"{t} now", t, 0.9) for t in texts[:REPEATS]],
            seed,
        )
        largest = f"{max(sizes) // 1_000}k"
        found[f"put_p95_{largest}"] = _puts(cache, texts, vectors, max(sizes), seed)
        cache.close()
        found |= _in_a_file(texts, vectors, min(sizes), seed)
    return found


def _in_a_file(texts: Sequence[str], vectors: Vectors, size: int, seed: int) -> dict[str, Metric]:
    with tempfile.TemporaryDirectory() as folder:
        cache = SemanticCache(f"sqlite:///{folder}/cache.db", controller=_always())
        for n in range(size):
            _put(cache, texts[n], vectors[n])
        found = {
            "sqlite_exact": _exact(cache, texts, seed),
            "sqlite_put_p95": _puts(cache, texts, vectors, size, seed),
        }
        cache.close()
    return found


def _exact(cache: SemanticCache, texts: Sequence[str], seed: int) -> Metric:
    keys = [CacheKey(_SCOPE, text) for text in texts[:REPEATS]]
    return _median([partial(cache.get, k) for k in keys], seed)


def _puts(
    cache: SemanticCache, texts: Sequence[str], vectors: Vectors, first: int, seed: int
) -> Metric:
    rows = range(first, first + REPEATS)
    times = _times([partial(_put, cache, texts[n], vectors[n]) for n in rows])
    return metrics.quantile(times, 0.95, seed=seed)


def _put(cache: SemanticCache, text: str, vector: Vectors) -> int | None:
    return cache.put(CacheKey(_SCOPE, text), vector, "an answer", **_ANSWER)


def _median(calls: Sequence[Callable[[], object]], seed: int) -> Metric:
    return metrics.quantile(_times(calls), 0.5, seed=seed)


def _times(calls: Sequence[Callable[[], object]]) -> list[float]:
    found = []
    for call in calls:
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1e3)
    return found


def _always() -> ThresholdController:
    return ThresholdController(0.0)


def _vectors(count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
