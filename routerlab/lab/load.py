"""Many streams at once on one event loop: is any lost, mixed up with another, or left in memory?

Does not know: the report.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import psutil
from tqdm.auto import trange

from routerlab.catalog import Catalog
from routerlab.embedding import Embedder
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.simulator import Simulator
from routerlab.lab.synthesis import synthesize
from routerlab.lab.vectors import KeptVectors
from routerlab.policies import FixedPolicy
from routerlab.router import LLMRouter
from routerlab.streaming import StreamingRouter

MODEL = "gpt-6-luna"
WORDS = 20
WARM_ROUNDS = 3
"""Rounds before memory is first read: pools and allocators have grown by then."""


@dataclass(frozen=True)
class Load:
    """`streams` were opened at once: `lost` did not complete, `mixed` have a text not their own.

    `growth_mb`: resident memory after the last of `rounds` over that after the warm ones.
    """

    streams: int
    rounds: int
    lost: int
    mixed: int
    growth_mb: float


async def concurrent_streams(
    catalog: Catalog, embedder: Embedder, model_dir: Path, *, streams: int, rounds: int, seed: int
) -> Load:
    """Open that many streams at once, in rounds, each with a query of its own.

    The queries are embedded before, all in one go: here the streams are on trial.
    """
    lost = mixed = 0
    warm = process = 0.0
    model = catalog.model(MODEL)
    with Simulator(catalog, time_scale=0, seed=seed, length=lambda _: WORDS) as server:
        kept = KeptVectors(embedder)
        kept.encode([_query(number, k) for number in range(rounds) for k in range(streams)])
        router = LLMRouter(
            endpoints=ServerEndpoints(server),
            catalog=catalog,
            embedder=kept,
            model_dir=model_dir,
            policy=FixedPolicy(MODEL),
            cache=None,
        )

        async def one(query: str) -> tuple[str, str]:
            text, end = "", ""
            stream = StreamingRouter(router).route_query_stream(query)
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    text += chunk.content
                    end = chunk.metadata.end_state if chunk.metadata else end
            return text, end

        for number in trange(rounds, desc="concurrent streams", unit="round"):
            queries = [_query(number, k) for k in range(streams)]
            for query, (text, end) in zip(
                queries, await asyncio.gather(*map(one, queries)), strict=True
            ):
                messages = [{"role": "user", "content": query}]
                own = synthesize(
                    model, messages, router.max_output_tokens, seed=seed, length=server.length
                )
                lost += end != "complete"
                mixed += text != own.text
            if number in (min(WARM_ROUNDS, rounds) - 1, rounds - 1):
                gc.collect()
                process = psutil.Process().memory_info().rss / 2**20
                warm = warm or process
        await router.aclose()
    return Load(streams, rounds, lost, mixed, process - warm)


def _query(number: int, k: int) -> str:
    return f"stream {number}.{k}"
