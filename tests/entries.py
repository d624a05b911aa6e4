"""Keys, unit vectors and fields of cache entries, for tests of the cache."""

import numpy as np

from routerlab.cache import CacheKey, Scope
from routerlab.cache.stores import Entry

PUT = {"tier": "simple", "model": "gpt-6-luna", "provider": "openai"}
DIMENSION = 8


def scope(**changes) -> Scope:
    plain = {
        "tenant": "a",
        "system_prompt": "",
        "policy": "tier",
        "parameters": "",
        "earlier_turns": (),
        "embedder_id": "e",
    }
    return Scope(**{**plain, **changes})


def key(text: str, **changes) -> CacheKey:
    return CacheKey.of(scope(**changes), text)


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def entry(text: str, vector: np.ndarray, answer: str = "a", scope: str = "s") -> Entry:
    return Entry(0, scope, text, answer, **PUT, created=0.0, vector=vector)
