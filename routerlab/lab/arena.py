"""What a benchmark's routers talk to, by mode, and how each arm's router is made.

Does not know: traffic beyond the length of its answers, what is made of the rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from routerlab.billing import Session
from routerlab.catalog import Catalog
from routerlab.classifier import Classifier, load_classifier
from routerlab.embedding import Embedder, MiniLMEmbedder
from routerlab.lab.benchmark import Arm
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.recordings import RecordingHub
from routerlab.lab.simulator import Simulator
from routerlab.lab.traffic import Request
from routerlab.providers.endpoints import Endpoints, open_endpoints
from routerlab.router import LLMRouter

TOKENS_A_WORD = 1.15
"""o200k_base tokens of a word of the synthetic prose, punctuation included."""


def answer_lengths(traffic: Sequence[Request], catalog: Catalog, seed: int) -> Callable[[str], int]:
    """Words of a synthetic answer by query: its label's expected tokens, give or take a third.

    An assumption about answers, the same for every policy.
    """
    tiers = {request.text: request.tier for request in traffic}

    def words(query: str) -> int:
        tier = tiers.get(query, "medium")
        spread = random.Random(f"{seed}:words:{query}").lognormvariate(0, 0.3)
        return max(5, round(catalog.expected_output_tokens[tier] / TOKENS_A_WORD * spread))

    return words


@contextmanager
def endpoints_for(
    mode: str, traffic: Sequence[Request], catalog: Catalog, *, time_scale: float, seed: int
) -> Iterator[Endpoints]:
    """The endpoints of a mode; the simulated ones run as long as the context."""
    if mode != "simulated":
        yield open_endpoints(mode)
        return
    length = answer_lengths(traffic, catalog, seed)
    with Simulator(catalog, time_scale=time_scale, seed=seed, length=length) as server:
        yield ServerEndpoints(server)


@dataclass(frozen=True)
class RouterFactory:
    """Makes an arm's router; all share the embedding, the classifier and one session's budget."""

    endpoints: Endpoints
    model_dir: Path
    session: Session
    record: bool = False

    @cached_property
    def embedder(self) -> Embedder:
        """The one embedding, loaded once."""
        return MiniLMEmbedder()

    @cached_property
    def classifier(self) -> Classifier:
        """The stored classifier, loaded once."""
        return load_classifier(self.embedder.id, self.model_dir)

    def __call__(self, arm: Arm) -> LLMRouter:
        """A router with an empty cache of its own, or none."""
        router = LLMRouter(
            endpoints=self.endpoints,
            embedder=self.embedder,
            classifier=self.classifier,
            model_dir=self.model_dir,
            policy=arm.policy,
            cache="memory://" if arm.cached else None,
            session=self.session,
        )
        if self.record:
            router.hub = RecordingHub(router.hub)
        return router
