"""Serves traffic in process: the real pipeline and cache, the local server's answers without HTTP.

Decisions, cache statuses and costs are those of a run through the SDKs in simulated mode, which a
test holds. What is computed for a text is kept, so that many streams take seconds. Does not know:
what is made of the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from routerlab import billing
from routerlab.blas import one_thread
from routerlab.cache import SemanticCache
from routerlab.cache.verifier import SameAnswerVerifier
from routerlab.catalog import Catalog
from routerlab.classifier import Classifier
from routerlab.embedding import Embedder, Vectors
from routerlab.lab.arena import RouterFactory, answer_lengths, make_cache
from routerlab.lab.benchmark import Arm, Clock, described, group_of
from routerlab.lab.synthesis import written
from routerlab.lab.traffic import TENANTS, Request
from routerlab.pipeline import Pipeline, Routed
from routerlab.query import Conversation, Message
from routerlab.types import Usage

MAX_OUTPUT_TOKENS = 2048
SAME_AS_SERVED = ("predicted_tier", "model", "cache", "false_hit", "output_tokens", "cost_usd")
"""Columns in which a replay and a run through the SDKs agree."""


class KeptTiers:
    """A `Classifier` that asks another one once a text."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._kept: dict[str, NDArray[np.float64]] = {}

    def predict_proba(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float64]:
        """See `Classifier`."""
        for text, vector in zip(texts, vectors, strict=True):
            if text not in self._kept:
                self._kept[text] = self.classifier.predict_proba([text], vector[None])[0]
        return np.stack([self._kept[text] for text in texts])


class KeptScores(SameAnswerVerifier):
    """A verifier that scores a pair of texts once."""

    def score(self, asked: str, stored: str, cosine: float) -> float:
        """See `SameAnswerVerifier`."""
        kept: dict[tuple[str, str], float] = self.__dict__.setdefault("_kept", {})
        if (asked, stored) not in kept:
            kept[asked, stored] = super().score(asked, stored, cosine)
        return kept[asked, stored]


@dataclass
class World:
    """What all replays share: the router's parts, and the answers that each model would give."""

    catalog: Catalog
    embedder: Embedder
    classifier: Classifier
    threshold: float
    verifier: SameAnswerVerifier | None
    seed: int
    _answers: dict[tuple[str, str], tuple[str, int, bool]] = field(default_factory=dict, repr=False)
    _prices: dict[tuple[str, int, int], float] = field(default_factory=dict, repr=False)
    _routes: dict[tuple[str, str, str], Routed] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, factory: RouterFactory, catalog: Catalog, seed: int, *, kept: bool = True) -> World:
        """The parts that the routers of a factory use; `kept`: with what they compute kept.

        `seed`: that of the local server whose answers are given.
        """
        cache = factory.calibrated
        found = cache.verifier
        if not kept:
            parts = factory.embedder, factory.classifier, cache.threshold, found
            return cls(catalog, *parts, seed)
        verifier = found and KeptScores(found.networks, found.rarity, found.embedder_id)
        classifier = KeptTiers(factory.classifier)
        return cls(catalog, factory.kept, classifier, cache.threshold, verifier, seed)

    def encode(self, streams: Sequence[Sequence[Request]]) -> None:
        """Embed all that the streams will ask for, in batches; quick where it is kept on disk."""
        requests = [request for stream in streams for request in stream]
        texts = {text for r in requests for text in (r.judged_text, r.text.strip())}
        ordered = sorted(texts)
        for start in tqdm(range(0, len(ordered), 512), desc="encode", unit="batch"):
            self.embedder.encode(ordered[start : start + 512])

    def route(self, pipeline: Pipeline, conversation: Conversation) -> Routed:
        """The pipeline's decision; without a cache that of a first turn is always the same."""
        if pipeline.cache is not None or conversation.earlier_turns:
            return pipeline.run([conversation], time.perf_counter())[0]
        key = pipeline.policy.id, pipeline.tenant, conversation.text
        if key not in self._routes:
            self._routes[key] = pipeline.run([conversation], time.perf_counter())[0]
        return self._routes[key]

    def answer(self, model: str, query: str, length: Callable[[str], int]) -> tuple[str, int, bool]:
        """Text, output tokens and whether it was cut."""
        key = model, query
        if key not in self._answers:
            spec = self.catalog.model(model)
            self._answers[key] = written(
                spec, query, MAX_OUTPUT_TOKENS, seed=self.seed, length=length
            )
        return self._answers[key]

    def price(self, model: str, given: int, output: int) -> float:
        """USD of a call at the catalog's date, as simulated calls are billed."""
        key = model, given, output
        if key not in self._prices:
            at = billing.price_time(self.catalog)
            spec = self.catalog.model(model)
            self._prices[key] = billing.price(Usage(given, output), spec, self.catalog, at)
        return self._prices[key]


def replay(arm: Arm, traffic: Sequence[Request], world: World) -> pd.DataFrame:
    """Serve the traffic by one arm; a row a request, like `benchmark.run_arm`'s.

    `cpu_ms`: CPU time of this process, all threads, while the request was routed.
    """
    clock, groups = Clock(), group_of(traffic)
    cache = make_cache(arm, world.threshold, world.verifier, clock)
    length = answer_lengths(traffic, world.catalog, world.seed)
    pipelines = {
        tenant.name: Pipeline(
            catalog=world.catalog,
            embedder=world.embedder,
            classifier=world.classifier,
            policy=arm.policy,
            cache=cache,
            tenant=tenant.name,
            max_output_tokens=MAX_OUTPUT_TOKENS,
            mode="simulated",
        )
        for tenant in TENANTS
    }
    said: dict[int, tuple[Message, ...]] = {}
    rows = []
    with one_thread():
        for request in traffic:
            clock.now = request.at_s
            before = said[request.session] if request.earlier else ()
            asked = (*before, Message("user", request.text))
            conversation = Conversation((Message("system", request.tenant.system_prompt), *asked))
            began = time.process_time_ns()
            routed = world.route(pipelines[request.tenant.name], conversation)
            cpu_ms = (time.process_time_ns() - began) / 1e6
            text, output, usd = _answered(routed, world, cache, length)
            said[request.session] = (*asked, Message("assistant", text))
            decision = routed.decision
            rows.append(
                {
                    "arm": arm.name,
                    **described(request, decision, groups),
                    "model": decision.model,
                    "output_tokens": output,
                    "cost_usd": usd,
                    "cpu_ms": cpu_ms,
                }
            )
    return pd.DataFrame(rows)


def _answered(
    routed: Routed, world: World, cache: SemanticCache | None, length: Callable[[str], int]
) -> tuple[str, int, float]:
    decision = routed.decision
    if decision.cache.hit:
        return decision.cache.answer or "", 0, 0.0
    model = decision.model
    text, output, cut = world.answer(model, decision.query, length)
    if cache is not None and routed.vector is not None and not cut:
        cache.put(
            routed.key,
            routed.vector,
            text,
            tier=decision.tier,
            model=model,
            provider=decision.provider,
        )
    # The local server counts the prompt as the router estimates it.
    return text, output, world.price(model, decision.input_tokens.tokens, output)


def differences(served: pd.DataFrame, replayed: pd.DataFrame) -> list[str]:
    """Columns in which rows of one arm through the SDKs differ from those in process."""
    return [
        name
        for name in SAME_AS_SERVED
        if not np.array_equal(served[name].to_numpy(), replayed[name].to_numpy())
    ]
