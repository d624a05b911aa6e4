"""What a benchmark's routers talk to, by mode, and how each arm's router is made.

Does not know: traffic beyond the length of its answers, what is made of the rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from routerlab.billing import Session
from routerlab.cache import MISS, CacheKey, SemanticCache
from routerlab.cache.calibration import open_cache
from routerlab.cache.controller import ThresholdController
from routerlab.cache.verifier import SameAnswerVerifier
from routerlab.catalog import Catalog
from routerlab.classifier import Classifier, load_classifier
from routerlab.embedding import Embedder, MiniLMEmbedder, Vectors
from routerlab.lab.benchmark import Arm, Clock, Routers
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.recordings import RecordingHub
from routerlab.lab.simulator import Simulator
from routerlab.lab.traffic import TENANTS, Request, Tenant
from routerlab.lab.vectors import KeptVectors
from routerlab.providers.endpoints import Endpoints, open_endpoints
from routerlab.router import LLMRouter
from routerlab.types import CacheResult

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
    mode: str,
    traffic: Sequence[Request],
    catalog: Catalog,
    *,
    time_scale: float,
    seed: int,
    words_a_piece: int = 1,
) -> Iterator[Endpoints]:
    """The endpoints of a mode; the simulated ones run as long as the context."""
    if mode != "simulated":
        yield open_endpoints(mode)
        return
    length = answer_lengths(traffic, catalog, seed)
    with Simulator(
        catalog, time_scale=time_scale, seed=seed, length=length, words_a_piece=words_a_piece
    ) as server:
        yield ServerEndpoints(server)


class SemanticOnly(SemanticCache):
    """A cache whose exact layer finds nothing: what the semantic layer does alone."""

    def get(self, key: CacheKey, vector: Vectors | None = None) -> CacheResult:
        """See `SemanticCache`."""
        return MISS if vector is None else super().get(key, vector)

    def peek(self, key: CacheKey) -> CacheResult | None:
        """See `SemanticCache`."""
        return None


def make_cache(
    arm: Arm, threshold: float, verifier: SameAnswerVerifier | None, clock: Callable[[], float]
) -> SemanticCache | None:
    """An arm's empty cache; None for an arm without one."""
    if not arm.cached:
        return None
    kind = SemanticCache if arm.exact else SemanticOnly
    return kind(
        verifier=verifier if arm.semantic else None,
        controller=ThresholdController(threshold if arm.semantic else math.inf),
        ttl_s=arm.ttl_s,
        max_entries=arm.max_entries,
        clock=clock,
    )


@dataclass(frozen=True)
class RouterFactory:
    """Makes an arm's routers; all share the embedding, the classifier and one session's budget."""

    endpoints: Endpoints
    model_dir: Path
    session: Session
    record: bool = False

    @cached_property
    def embedder(self) -> Embedder:
        """The one embedding, loaded once."""
        return MiniLMEmbedder()

    @cached_property
    def kept(self) -> Embedder:
        """The same vectors, each computed once: for arms in which encoding is not measured."""
        return KeptVectors(self.embedder)

    @cached_property
    def classifier(self) -> Classifier:
        """The stored classifier, loaded once."""
        return load_classifier(self.embedder.id, self.model_dir)

    @cached_property
    def calibrated(self) -> SemanticCache:
        """A cache as notebook 03 calibrated it: its threshold and verifier are those of all."""
        return open_cache("memory://", embedder_id=self.embedder.id, model_dir=self.model_dir)

    def cache(self, arm: Arm, clock: Callable[[], float]) -> SemanticCache | None:
        """An arm's empty cache, or none."""
        return make_cache(arm, self.calibrated.threshold, self.calibrated.verifier, clock)

    def __call__(self, arm: Arm, clock: Clock) -> Routers:
        """A router for each tenant, with one empty cache for all of them, or none."""
        cache = self.cache(arm, clock)
        return {tenant.name: self._router(arm, tenant, cache) for tenant in TENANTS}

    def _router(self, arm: Arm, tenant: Tenant, cache: SemanticCache | None) -> LLMRouter:
        router = LLMRouter(
            endpoints=self.endpoints,
            embedder=self.embedder if arm.cached else self.kept,
            classifier=self.classifier,
            model_dir=self.model_dir,
            policy=arm.policy,
            cache=cache,
            tenant=tenant.name,
            session=self.session,
        )
        if self.record:
            router.hub = RecordingHub(router.hub)
        return router
