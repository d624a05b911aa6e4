"""The stages of a route, timed: exact cache, encode, semantic cache, classify, policy.

Synchronous and without side effects but for the cache's own counts. Does not know: providers,
answers, the event loop.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from routerlab import billing, tokens
from routerlab.blas import one_thread
from routerlab.cache import MISS, CacheKey, Scope, SemanticCache
from routerlab.catalog import Catalog
from routerlab.classifier import Classifier
from routerlab.embedding import Embedder, Vectors
from routerlab.errors import CacheFileError, CacheWarning, UnknownModel
from routerlab.policies import Policy, PolicyInput
from routerlab.query import Conversation
from routerlab.types import TIERS, CacheResult, CostEstimate, Mode, RouteDecision, TokenCount, Usage

CACHE_OFF = CacheResult(status="off")
_ROUGH_NOTE = "token counts go by characters: run `make data` for the tokenizer files"


@dataclass(frozen=True)
class Routed:
    """A decision with what answering it needs: the conversation, its cache key and its vector."""

    decision: RouteDecision
    conversation: Conversation
    key: CacheKey
    vector: Vectors | None


@dataclass
class Asked:
    """A query on its way; `started` is `perf_counter()` seconds, `failed` what ended its way."""

    conversation: Conversation
    key: CacheKey
    started: float
    found: CacheResult = CACHE_OFF
    stages: dict[str, float] = field(default_factory=dict)
    vector: Vectors | None = None
    judged: Vectors | None = None
    known: PolicyInput | None = None
    failed: Exception | None = None

    @property
    def open(self) -> bool:
        """Whether there is more to find out: neither answered from the cache nor failed."""
        return not self.found.hit and self.failed is None


@dataclass(frozen=True)
class Pipeline:
    """Everything that a decision rests on."""

    catalog: Catalog
    embedder: Embedder
    classifier: Classifier
    policy: Policy
    cache: SemanticCache | None
    tenant: str
    max_output_tokens: int
    mode: Mode

    def ask(self, conversation: Conversation, started: float) -> Asked:
        """Begin a route with its exact look-up. `started`: `perf_counter()`."""
        asked = Asked(conversation, self._key(conversation), started)
        if self.cache is not None:
            with _timed([asked], "exact"):
                asked.found = self._cached(asked.key)
        return asked

    def finish(self, asked: Sequence[Asked], shared_by: int = 1) -> list[Routed | Exception]:
        """Decide for each; shared stages' time is divided evenly. What one raises is its own.

        `shared_by`: how many asked with one call, so that each took its part of the time alone.
        """
        with one_thread():
            self._each_or_alone("encode", self._encode, asked)
            if self.cache is not None:
                for one in asked:
                    self._each_or_alone("semantic", self._look_up_semantically, [one])
            self._each_or_alone("classify", self._classify, asked)
            return [self._decided(one, shared_by) for one in asked]

    def run(self, conversations: Sequence[Conversation], started: float) -> list[Routed]:
        """Both in one, for who asks in bulk; the first failure is raised."""
        decided = self.finish(
            [self.ask(conversation, started) for conversation in conversations],
            shared_by=len(conversations),
        )
        routed = []
        for one in decided:
            if isinstance(one, Exception):
                raise one
            routed.append(one)
        return routed

    def _each_or_alone(
        self, stage: str, work: Callable[[Sequence[Asked]], None], asked: Sequence[Asked]
    ) -> None:
        """A stage for all that are open; where it fails, again for one at a time."""
        rest = [one for one in asked if one.open]
        if not rest:
            return
        try:
            with _timed(rest, stage):
                work(rest)
        except Exception as error:
            if len(rest) == 1:
                rest[0].failed = error
                return
            for one in rest:
                self._each_or_alone(stage, work, [one])

    def warm_up(self) -> None:
        """Load what is loaded on first use, so that no query waits for it."""
        self.classifier.predict_proba(["warm up"], self.embedder.encode(["warm up"]))
        tokens.count_answer("warm up", self.catalog.models[0])
        with suppress(UnknownModel):  # told when that model is called
            at = billing.price_time(self.catalog)
            billing.price(Usage(1, 1), self.catalog.models[0], self.catalog, at)

    def _key(self, conversation: Conversation) -> CacheKey:
        scope = Scope(
            tenant=self.tenant,
            system_prompt=conversation.system_prompt,
            policy=self.policy.id,
            parameters=f"mode={self.mode} max_output_tokens={self.max_output_tokens}",
            earlier_turns=conversation.earlier_turns,
            embedder_id=self.embedder.id,
        )
        return CacheKey.of(scope, conversation.text)

    def _encode(self, asked: Sequence[Asked]) -> None:
        pairs = [(one.key.text, one.conversation.judged_text) for one in asked]
        texts = sorted({text for pair in pairs for text in pair})
        vectors = dict(zip(texts, self.embedder.encode(texts), strict=True))
        for one, (text, judged) in zip(asked, pairs, strict=True):
            one.vector, one.judged = vectors[text], vectors[judged]

    def _look_up_semantically(self, asked: Sequence[Asked]) -> None:
        for one in asked:
            one.found = self._cached(one.key, one.vector)

    def _cached(self, key: CacheKey, vector: Vectors | None = None) -> CacheResult:
        assert self.cache is not None  # asked by who has one
        try:
            return self.cache.get(key, vector)
        except CacheFileError as error:
            # A cache that is out of order costs a call, not the answer.
            warnings.warn(f"answered without the cache: {error}", CacheWarning, stacklevel=2)
            return MISS

    def _classify(self, asked: Sequence[Asked]) -> None:
        texts = [one.conversation.judged_text for one in asked]
        vectors = [one.judged for one in asked if one.judged is not None]
        rows = self.classifier.predict_proba(texts, np.stack(vectors)).tolist()
        for one, text, vector, row in zip(asked, texts, vectors, rows, strict=True):
            one.known = PolicyInput(text, vector, dict(zip(TIERS, row, strict=True)))

    def _decided(self, asked: Asked, shared_by: int) -> Routed | Exception:
        if asked.failed is not None:
            return asked.failed
        try:
            return self.decide(asked, shared_by)
        except Exception as error:
            return error

    def decide(self, item: Asked, shared_by: int = 1) -> Routed:
        """The decision on a query whose tier or whose answer is known."""
        conversation, found, known = item.conversation, item.found, item.known
        notes = conversation.notes
        if known is None:
            # Only the cache leaves a query unclassified, and its entries carry all three.
            tier, model, provider = found.tier, found.model, found.provider
            assert tier is not None
            assert model is not None
            assert provider is not None
            fallbacks: tuple[str, ...] = ()
            count, expected, cost = TokenCount(0, 0, 0, "exact"), 0, CostEstimate(0.0, 0.0, 0.0)
        else:
            with _timed([item], "policy"):
                choice = self.policy.choose(known, self.catalog)
                first = choice.models[0]
                count = tokens.count_messages(conversation.messages, first)
                expected = self.catalog.expected_output(first, choice.tier)
                cost = billing.estimate(count, expected, first, self.max_output_tokens)
            tier, model, provider = choice.tier, first.id, first.provider
            fallbacks = tuple(fallback.id for fallback in choice.models[1:])
            if count.kind == "rough" and not tokens.encoding_is_there():
                notes = (*notes, _ROUGH_NOTE)
        decision = RouteDecision(
            query=conversation.text,
            tier=tier,
            probabilities=known.probabilities if known else {},
            model=model,
            provider=provider,
            fallbacks=fallbacks,
            input_tokens=count,
            expected_output_tokens=expected,
            cost=cost,
            cache=found,
            stages_ms=item.stages,
            route_ms=(time.perf_counter() - item.started) * 1e3 / shared_by,
            policy=self.policy.id,
            mode=self.mode,
            notes=notes,
        )
        return Routed(decision, conversation, item.key, item.vector)


@contextmanager
def _timed(items: Sequence[Asked], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    each = (time.perf_counter() - began) * 1e3 / len(items)
    for item in items:
        item.stages[stage] = each
