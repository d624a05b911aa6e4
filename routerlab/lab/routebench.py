"""The speed of routing in one run: `python -m routerlab.lab.routebench`, or `make bench`.

Encode against sentence-transformers' default, what a route takes beside it, exact hits, and load.
What is compared takes turns, so that noise hits both sides alike. Does not know: the report,
whether routes are right.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from routerlab.cache import SemanticCache
from routerlab.cache.controller import ThresholdController
from routerlab.cache.verifier import VERIFIER_FILE, load_verifier
from routerlab.classifier import DEFAULT_MODEL_DIR
from routerlab.embedding import Embedder, MiniLMEmbedder
from routerlab.lab import metrics
from routerlab.lab.metrics import Metric
from routerlab.lab.queries import load_benchmark
from routerlab.router import LLMRouter
from routerlab.types import Attempt, Usage

CALLERS = (1, 8, 64)
TICK_S = 0.001
REST_S = 0.01
"""Between encodes: the threads of the one before may spin that long, on the core of the next."""
TARGETS = {
    "encode_ratio": ("at most", 0.45),
    "encode_ratio_one_thread": ("at most", 0.45),
    "encode_cosine": ("at least", 0.9999),
    "route_beyond_encode_ms": ("at most", 0.5),
    "exact_hit_ms": ("at most", 0.1),
    "throughput_gain": ("at least", 2.5),
    "loop_blocked_ms": ("at most", 20.0),
}
"""What the figures are to hold; `throughput_gain`: throughput at 64 callers over that at 1."""


def measure(
    *,
    model_dir: Path = DEFAULT_MODEL_DIR,
    seed: int = 0,
    queries: int = 100,
    rounds: int = 3,
    progress: bool = True,
) -> dict[str, Any]:
    """The figures of `TARGETS`, and `throughput`, `p50_ms`, `p95_ms`, `p99_ms` by callers.

    Times are milliseconds, throughput is routes a second, all distinct queries that no cache
    answers. `queries`: how many of the benchmark, in a drawn order.
    """
    texts = [query.text for query in load_benchmark()]
    texts = [texts[n] for n in np.random.default_rng(seed).permutation(len(texts))[:queries]]
    embedder = MiniLMEmbedder()
    shown = tqdm(total=3 + rounds * len(CALLERS), desc="routebench", disable=not progress)
    with shown as bar:
        found = _encodes(embedder, texts, seed)
        bar.update(2)
        with _reference_aside():
            found |= asyncio.run(_routes(embedder, texts, model_dir, seed))
            bar.update()
            return found | asyncio.run(_load(embedder, texts, model_dir, rounds, seed, bar))


@contextmanager
def _reference_aside() -> Iterator[None]:
    """With what the reference loaded out of the collector's sight: it is no part of a router.

    To look through it takes Python 300 ms, in which everything waits.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _encodes(embedder: Embedder, texts: Sequence[str], seed: int) -> dict[str, Any]:
    """Median of the ratios of two encodes of the same query, and the least cosine of the two.

    All sides rest before each encode, as a server does between queries.

    `encode_ratio_one_thread` is against the reference on one thread: on cores that others use,
    torch's threads wait for each other at work, which flatters the ratio to its default. Where the
    two ratios lie far apart, the machine was not idle.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer

    from routerlab.weights import model_folder

    reference = SentenceTransformer(str(model_folder()), device="cpu")
    default = torch.get_num_threads()

    def encode(side: int, text: str) -> Any:
        if side == 0:
            return embedder.encode([text])[0]
        torch.set_num_threads(default if side == 1 else 1)
        return reference.encode(text, show_progress_bar=False)

    for side in range(3):
        encode(side, texts[0])
    took = np.zeros((len(texts), 3))
    cosines = []
    try:
        for number, text in enumerate(texts):
            vectors: list[Any] = [None] * 3
            for turn in range(3):
                side = (number + turn) % 3
                time.sleep(REST_S)
                began = time.perf_counter()
                vectors[side] = encode(side, text)
                took[number, side] = (time.perf_counter() - began) * 1e3
            cosines.append(float(vectors[0] @ vectors[1]))
    finally:
        torch.set_num_threads(default)
    own, usual, alone = took.T
    return {
        "encode_ratio": _median(own / usual, seed),
        "encode_ratio_one_thread": _median(own / alone, seed),
        "encode_ms": _median(own, seed),
        "reference_encode_ms": _median(usual, seed),
        "encode_cosine": min(cosines),
    }


async def _routes(
    embedder: Embedder, texts: Sequence[str], model_dir: Path, seed: int
) -> dict[str, Any]:
    """A route through every stage, the verifier's decision among them, less its encode; and hits.

    As the caller waits for it: the change of threads and the event loop count.
    """
    cache = SemanticCache(
        verifier=load_verifier(model_dir / VERIFIER_FILE, embedder.id),
        controller=ThresholdController(2.0),  # looks up and decides, serves nothing
    )
    router = LLMRouter(embedder=embedder, model_dir=model_dir, cache=cache)
    for text in texts:
        routed = await router.route(text)
        model = router.catalog.model(routed.decision.model)
        answered = Attempt(model.id, model.provider, "complete", Usage(1, 1), 0.0)
        router.remember(routed, "an answer", answered)
    beyond, hits = [], []
    for text in texts:
        took, decision = await _timed(router, f"{text} please")
        beyond.append(took - decision.stages_ms["encode"])
        took, decision = await _timed(router, text)
        if decision.cache.status == "exact":  # never so for what depends on the time
            hits.append(took)
    await router.aclose()
    return {"route_beyond_encode_ms": _median(beyond, seed), "exact_hit_ms": _median(hits, seed)}


async def _load(
    embedder: Embedder, texts: Sequence[str], model_dir: Path, rounds: int, seed: int, bar: Any
) -> dict[str, Any]:
    """Routes by so many callers at once, each with its next query when it has its decision."""
    router = LLMRouter(embedder=embedder, model_dir=model_dir, cache=SemanticCache())
    await router.route_query("warm up")
    rates: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    waits: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    blocked: list[float] = []
    for number in range(rounds):
        for callers in CALLERS if number % 2 == 0 else CALLERS[::-1]:
            ticker = asyncio.create_task(_ticks(blocked))
            left = iter(texts)

            async def caller(left: Any = left, waited: list[float] = waits[callers]) -> None:
                waited.extend([(await _timed(router, text))[0] for text in left])

            began = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(callers)))
            rates[callers].append(len(texts) / (time.perf_counter() - began))
            ticker.cancel()
            bar.update()
    await router.aclose()
    gains = [most / one for most, one in zip(rates[CALLERS[-1]], rates[CALLERS[0]], strict=True)]
    by_callers: dict[str, Any] = {
        f"p{percent}_ms": {
            str(n): metrics.quantile(waits[n], percent / 100, seed=seed).as_dict() for n in CALLERS
        }
        for percent in (50, 95, 99)
    }
    return by_callers | {
        "throughput": {str(n): metrics.over_seeds(rates[n]).as_dict() for n in CALLERS},
        "throughput_gain": metrics.over_seeds(gains).as_dict(),
        "loop_blocked_ms": max(blocked, default=0.0),
    }


async def _timed(router: LLMRouter, text: str) -> tuple[float, Any]:
    began = time.perf_counter()
    decision = await router.route_query(text)
    return (time.perf_counter() - began) * 1e3, decision


async def _ticks(blocked: list[float]) -> None:
    """How much later than asked for the event loop comes back (ms), again and again."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK_S)
        blocked.append((time.perf_counter() - began - TICK_S) * 1e3)


def _median(values: ArrayLike, seed: int) -> dict[str, float | int]:
    return metrics.quantile(values, 0.5, seed=seed).as_dict()


def against_targets(found: dict[str, Any]) -> list[str]:
    """A line for each target: the figure, its interval, what it is to hold, and whether it does."""
    lines = []
    for name, (bound, target) in TARGETS.items():
        figure = found[name]
        known = Metric(**figure) if isinstance(figure, dict) else Metric(figure, figure, figure, 1)
        held = known.value <= target if bound == "at most" else known.value >= target
        shown = f"{known.value:.4g}" + (
            f" ({known.low:.4g} to {known.high:.4g})" if known.n > 1 else ""
        )
        lines.append(f"{name:<24}{shown:<32}{bound} {target:<8}{'held' if held else 'MISSED'}")
    return lines


def main() -> None:
    """Measure and print; `--json` prints the whole dictionary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model-dir", type=Path, default=DEFAULT_MODEL_DIR)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    asked = parser.parse_args()
    found = measure(model_dir=asked.model_dir)
    if asked.json:
        print(json.dumps(found, indent=2))  # noqa: T201
        return
    for line in against_targets(found):
        print(line)  # noqa: T201
    for n, rate in found["throughput"].items():
        print(f"{n:>3} callers: {rate['value']:.0f} routes/s")  # noqa: T201


if __name__ == "__main__":
    main()
