"""Every fault of the wire, at every provider, through `StreamingRouter`: how the answer ends.

Does not know: how a fault is made (`faults`), the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from routerlab.catalog import Catalog, ModelSpec
from routerlab.classifier import load_classifier
from routerlab.embedding import Embedder
from routerlab.errors import ProviderError
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.faults import Fault
from routerlab.lab.simulator import Simulator
from routerlab.policies import FixedPolicy
from routerlab.providers import Deadlines
from routerlab.router import LLMRouter
from routerlab.streaming import StreamingRouter

TRIES = 2
"""Of an SDK before it gives up on a model: a fault that must last is scripted so often."""
PIECES = ("Grüße ", "aus ", "Zürich: ", "日本 ", "🙂 ", "und ", "dann ", "Ende.")
DEADLINES = Deadlines(first_token_s=1.0, read_s=1.5, total_s=10.0, retries=TRIES - 1)
STALL_S = 3.0

COMPLETE = "complete"
BY_FALLBACK = "complete, by the next model"
KEPT = "error, text kept, part billed"
TOLD = "raised, nothing billed"


@dataclass(frozen=True)
class Case:
    """Faults of the next requests, how the stream must end, and how many pieces must be kept."""

    faults: tuple[Fault, ...]
    expected: str
    kept: int = len(PIECES)


CASES: Mapping[str, Case] = {
    "none": Case((), COMPLETE),
    "429 with retry-after": Case((Fault(status=429, retry_after_s=0.01),), COMPLETE),
    "429 that lasts": Case((Fault(status=429, retry_after_s=0.01),) * TRIES, BY_FALLBACK),
    "500": Case((Fault(status=500),) * TRIES, BY_FALLBACK),
    "529": Case((Fault(status=529),) * TRIES, BY_FALLBACK),
    "connection refused": Case((Fault(refused=True),) * TRIES, BY_FALLBACK),
    "stall before the first token": Case((Fault(stall_s=STALL_S),), BY_FALLBACK),
    "stall after the first token": Case((Fault(stall_s=STALL_S, stall_after=3),), KEPT, 3),
    "cut mid-stream": Case((Fault(cut_after=3),), KEPT, 3),
    "clean end without finish reason": Case((Fault(no_finish=True),), KEPT),
    "malformed event": Case((Fault(malformed_after=3),), KEPT, 3),
    "in-band error": Case((Fault(error_after=3),), KEPT, 3),
    "packets of one byte": Case((Fault(packets=1),), COMPLETE),
    "model unknown": Case((Fault(status=404),), TOLD, 0),
    "key refused": Case((Fault(status=401),), TOLD, 0),
}


@dataclass(frozen=True)
class Outcome:
    """How one stream ended at one provider. `right`: as expected, with all text that was sent."""

    fault: str
    provider: str
    outcome: str
    right: bool


def one_model_each(catalog: Catalog) -> list[ModelSpec]:
    """The first model of each provider."""
    first: dict[str, ModelSpec] = {}
    for model in catalog.models:
        first.setdefault(model.provider, model)
    return list(first.values())


async def fault_matrix(catalog: Catalog, embedder: Embedder, model_dir: Path) -> list[Outcome]:
    """An outcome for each fault and provider; takes some seconds of waiting for deadlines."""
    models, classifier = one_model_each(catalog), load_classifier(embedder.id, model_dir)
    with tqdm(total=len(CASES) * len(models), desc="faults", unit="stream") as bar:

        def router_for(model: ModelSpec, server: Simulator) -> LLMRouter:
            return LLMRouter(
                endpoints=ServerEndpoints(server),
                catalog=catalog,
                embedder=embedder,
                classifier=classifier,
                model_dir=model_dir,
                policy=FixedPolicy(model.id),
                deadlines=DEADLINES,
            )

        async def at(model: ModelSpec) -> list[Outcome]:
            found = []
            with Simulator(catalog, time_scale=0, pieces=lambda _: PIECES) as server:
                # Importing an SDK takes longer than the deadlines; it is no fault of the wire.
                await router_for(model, server).complete("warm up")
                for name in CASES:
                    router = router_for(model, server)
                    found.append(await _run(name, model, router, server))
                    server.faults.clear()
                    await router.aclose()
                    bar.update()
            return found

        return [one for found in await asyncio.gather(*map(at, models)) for one in found]


async def _run(name: str, model: ModelSpec, router: LLMRouter, server: Simulator) -> Outcome:
    case, text = CASES[name], ""
    server.script(*case.faults)
    try:
        async with aclosing(StreamingRouter(router).route_query_stream(name)) as chunks:
            async for chunk in chunks:
                text += chunk.content
    except ProviderError:
        outcome = TOLD if router.session.cost == 0 else "raised, but billed"
        right = outcome == case.expected and len(text) == case.kept
        return Outcome(name, model.provider, outcome, right)
    end = chunk.metadata
    assert end is not None  # the last chunk has it
    outcome = f"{end.end_state}, {len(text)} characters, {end.usage.source}"
    if end.end_state == "complete" and end.usage.source == "provider":
        outcome = COMPLETE if end.model == model.id else BY_FALLBACK
    elif end.end_state == "error" and end.usage.source == "partial" and end.cost_usd > 0:
        outcome = KEPT
    kept = text == "".join(PIECES[: case.kept])
    cached = (await router.route_query(name)).cache.hit
    right = outcome == case.expected and kept and cached == (end.end_state == "complete")
    return Outcome(name, model.provider, outcome, right)


def by_fault(outcomes: list[Outcome]) -> dict[str, str]:
    """The outcome of each fault, at all providers; where they differ, each one's."""
    told = {}
    for name in CASES:
        here = [one for one in outcomes if one.fault == name]
        kinds = {one.outcome for one in here}
        told[name] = (
            kinds.pop()
            if len(kinds) == 1
            else "; ".join(f"{one.provider}: {one.outcome}" for one in here)
        )
    return told
