"""The stages of a route, timed: exact cache, encode, semantic cache, classify, policy.

Synchronous and without side effects but for the cache's own counts. Does not know: providers,
answers, the event loop.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from routerlab import billing, tokens
from routerlab.cache import MISS, CacheKey, Scope, SemanticCache
from routerlab.catalog import Catalog
from routerlab.classifier import Classifier
from routerlab.embedding import Embedder, Vectors
from routerlab.errors import CacheFileError, CacheWarning
from routerlab.policies import Policy, PolicyInput
from routerlab.query import Conversation
from routerlab.types import TIERS, CacheResult, CostEstimate, Mode, RouteDecision, TokenCount

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
class _Item:
    conversation: Conversation
    key: CacheKey
    found: CacheResult
    stages: dict[str, float]
    known: PolicyInput | None = None

    @property
    def open(self) -> bool:
        return not self.found.hit


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

    def run(self, conversations: Sequence[Conversation], started: float) -> list[Routed]:
        """Decide for each; shared stages' time is divided evenly. `started`: `perf_counter()`."""
        items = [_Item(c, self._key(c), CACHE_OFF, {}) for c in conversations]
        vectors: dict[str, Vectors] = {}
        if self.cache is not None:
            for item in items:
                with _timed([item], "exact"):
                    item.found = self._cached(item.key)
        open_items = [item for item in items if item.open]
        if open_items:
            with _timed(open_items, "encode"):
                vectors = self._encode(open_items)
            self._look_up_semantically(open_items, vectors)
        open_items = [item for item in open_items if item.open]
        if open_items:
            with _timed(open_items, "classify"):
                self._classify(open_items, vectors)
        return [self._routed(item, vectors, started, len(items)) for item in items]

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

    def _encode(self, items: Sequence[_Item]) -> dict[str, Vectors]:
        texts = sorted({t for i in items for t in (i.key.text, i.conversation.judged_text)})
        return dict(zip(texts, self.embedder.encode(texts), strict=True))

    def _look_up_semantically(self, items: Sequence[_Item], vectors: Mapping[str, Vectors]) -> None:
        if self.cache is None:
            return
        for item in items:
            with _timed([item], "semantic"):
                item.found = self._cached(item.key, vectors[item.key.text])

    def _cached(self, key: CacheKey, vector: Vectors | None = None) -> CacheResult:
        assert self.cache is not None  # asked by who has one
        try:
            return self.cache.get(key, vector)
        except CacheFileError as error:
            # A cache that is out of order costs a call, not the answer.
            warnings.warn(f"answered without the cache: {error}", CacheWarning, stacklevel=2)
            return MISS

    def _classify(self, items: Sequence[_Item], vectors: Mapping[str, Vectors]) -> None:
        judged = [item.conversation.judged_text for item in items]
        rows = self.classifier.predict_proba(judged, np.stack([vectors[text] for text in judged]))
        for item, text, row in zip(items, judged, rows, strict=True):
            probabilities = dict(zip(TIERS, (float(p) for p in row), strict=True))
            item.known = PolicyInput(text, vectors[text], probabilities)

    def _routed(
        self, item: _Item, vectors: Mapping[str, Vectors], started: float, shared_by: int
    ) -> Routed:
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
            route_ms=(time.perf_counter() - started) * 1e3 / shared_by,
            policy=self.policy.id,
            mode=self.mode,
            notes=notes,
        )
        return Routed(decision, conversation, item.key, vectors.get(item.key.text))


@contextmanager
def _timed(items: Sequence[_Item], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    each = (time.perf_counter() - began) * 1e3 / len(items)
    for item in items:
        item.stages[stage] = each
