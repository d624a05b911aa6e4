"""`LLMRouter`: which model should answer this query, and when need none answer at all?

Wires the parts together and answers whole. Does not know streaming: `StreamingRouter` builds on
`route`, `requests`, `remember` and the public attributes.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from routerlab.attempts import Biller, all_failed, total_usage
from routerlab.batching import MOST as BATCH
from routerlab.batching import Batcher
from routerlab.billing import Session, budget_for
from routerlab.breaker import CircuitBreaker
from routerlab.cache import Judge, SemanticCache
from routerlab.cache.calibration import DEFAULT_MAX_FALSE_HIT_RATE, open_cache
from routerlab.catalog import Catalog, load_catalog
from routerlab.classifier import DEFAULT_MODEL_DIR, Classifier, load_classifier
from routerlab.embedding import Embedder, MiniLMEmbedder
from routerlab.errors import CacheFileError, CacheWarning, MissingKey, ProviderError, RouterLabError
from routerlab.flight import Flights
from routerlab.judge import Auditor, cheapest_judge
from routerlab.pipeline import Asked, Pipeline, Routed
from routerlab.policies import Policy, TierPolicy
from routerlab.providers import Answer, ChatRequest, Deadlines, Endpoints, ProviderHub
from routerlab.providers.endpoints import open_endpoints
from routerlab.query import Conversation, Query
from routerlab.types import Attempt, Completion, EndState, RouteDecision


class LLMRouter:
    """Routes queries among the catalog's models, answers repeats from its cache.

    With no argument it routes offline, and answers come from the local simulated providers.
    `mode`: `simulated`, `replayed` or `live`; live needs keys and a budget in USD (`budget_usd`
    or BUDGET_USD). `endpoints` takes the place of the mode's own. `cache`: a `SemanticCache`, a
    URL (`memory://`, `sqlite:///file`, `qdrant://host`), or None for no cache. Of all look-ups
    `max_false_hit_rate` may be answered wrongly from it: the threshold holds that as it was
    calibrated; with a `judge` (an object, or "model" for a cheap model of the catalog, paid from
    the budget) it follows a running, audited bound. Answers are shared within a `tenant`.
    `model_dir`: where classifier and cache calibration lie. Routers that are given one `session`
    share its budget.
    """

    def __init__(
        self,
        *,
        mode: str = "simulated",
        endpoints: Endpoints | None = None,
        budget_usd: float | None = None,
        catalog: Catalog | None = None,
        embedder: Embedder | None = None,
        classifier: Classifier | None = None,
        model_dir: Path = DEFAULT_MODEL_DIR,
        policy: Policy | None = None,
        cache: SemanticCache | str | None = "memory://",
        max_false_hit_rate: float = DEFAULT_MAX_FALSE_HIT_RATE,
        judge: Judge | Literal["model"] | None = None,
        tenant: str = "default",
        max_output_tokens: int = 2048,
        deadlines: Deadlines | None = None,
        session: Session | None = None,
    ) -> None:
        self.catalog = catalog or load_catalog()
        self.embedder = embedder or MiniLMEmbedder()
        self.policy = policy or TierPolicy()
        self.endpoints = endpoints or open_endpoints(mode)
        self.mode = self.endpoints.mode
        self.session = session or Session(budget_for(self.mode, budget_usd))
        self.biller = Biller(self.catalog, self.session, self.mode)
        self.deadlines = deadlines or Deadlines()
        self.hub = ProviderHub(self.catalog, self.endpoints, self.deadlines)
        self.breaker = CircuitBreaker()
        self.tenant = tenant
        self.max_output_tokens = max_output_tokens
        if judge == "model":
            judge = cheapest_judge(self.hub, self.biller, self.catalog)
        self.judge = judge
        if isinstance(cache, str):
            cache = open_cache(
                cache,
                embedder_id=self.embedder.id,
                model_dir=model_dir,
                max_false_hit_rate=max_false_hit_rate,
                audited=judge is not None,
            )
        self.cache = cache
        self._classifier = classifier
        self._model_dir = model_dir
        self._flights: Flights[Completion] = Flights()
        self._batches = Batcher[Asked, Routed](lambda asked: self.pipeline.finish(asked))
        self._auditor = Auditor(judge, cache) if judge and cache else None

    @cached_property
    def pipeline(self) -> Pipeline:
        """The stages, everything loaded; made on the first route, so that none waits later.

        `ClassifierError` or `EmbeddingError` where a model file is missing, altered or stale.
        """
        pipeline = Pipeline(
            catalog=self.catalog,
            embedder=self.embedder,
            classifier=self._classifier or load_classifier(self.embedder.id, self._model_dir),
            policy=self.policy,
            cache=self.cache,
            tenant=self.tenant,
            max_output_tokens=self.max_output_tokens,
            mode=self.mode,
        )
        pipeline.warm_up()
        return pipeline

    async def route_query(self, query: Query, system_prompt: str | None = None) -> RouteDecision:
        """Decide where a query should go; calls no model. `InvalidQuery` for what is not text."""
        return (await self.route(query, system_prompt)).decision

    async def route(self, query: Query, system_prompt: str | None = None) -> Routed:
        """`route_query`, with what an answer needs beside the decision."""
        started = time.perf_counter()
        conversation = Conversation.from_query(query, system_prompt)
        asked = (await self._ask([conversation], started))[0]
        return await self._batches.ask(asked) if asked.open else self.pipeline.decide(asked)

    async def route_many(
        self, queries: Sequence[Query], system_prompt: str | None = None
    ) -> list[RouteDecision]:
        """Decide for many queries with one encode; the same decisions as one by one.

        The time of shared stages is divided evenly among the queries.
        """
        started = time.perf_counter()
        conversations = [Conversation.from_query(query, system_prompt) for query in queries]
        if not conversations:
            return []
        asked = await self._ask(conversations, started)
        routed = await asyncio.to_thread(self.pipeline.finish, asked, len(asked))
        if failed := [one for one in routed if isinstance(one, Exception)]:
            raise failed[0]
        return [one.decision for one in routed if isinstance(one, Routed)]

    async def complete(self, query: Query, system_prompt: str | None = None) -> Completion:
        """Answer a query: from the cache, else by the chosen model or its fallbacks.

        Equal queries at the same time, of any task or thread, share one call and its bill.
        `ProviderError` where no model answered; every attempt's cost is in `cost_usd`.
        """
        started = time.perf_counter()
        routed = await self.route(query, system_prompt)
        self.audit(routed)
        if routed.decision.cache.hit:
            return self._completion(routed.decision, started)
        # Without a cache each is meant to be asked: a key that nothing else equals.
        key = routed.key if self.cache is not None else object()
        flying = self._flights.join(key, lambda: self._answered(routed, started))
        async with aclosing(flying):
            async for completion, joined in flying:
                if not joined:
                    return completion
                # The bill is the first asker's; decision and time are one's own.
                return replace(
                    completion,
                    cost_usd=0.0,
                    attempts=(),
                    decision=routed.decision,
                    total_ms=(time.perf_counter() - started) * 1e3,
                    shared=True,
                )
        raise RouterLabError("a call ended without an answer: please report this")

    async def _answered(self, routed: Routed, started: float) -> AsyncGenerator[Completion]:
        late = self.late_hit(routed)
        if late is not None:
            yield self._completion(late, started)
            return
        attempts: list[Attempt] = []
        answer = await self._answer(routed, attempts)
        if answer.end_state == "complete":
            self.remember(routed, answer.text, attempts[-1])
        yield self._completion(routed.decision, started, answer, attempts)

    def _completion(
        self,
        decision: RouteDecision,
        started: float,
        answer: Answer | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> Completion:
        told = attempts[-1] if attempts else decision
        return Completion(
            text=answer.text if answer else decision.cache.answer or "",
            model=told.model,
            provider=told.provider,
            usage=total_usage(attempts),
            cost_usd=sum(attempt.cost_usd for attempt in attempts),
            total_ms=(time.perf_counter() - started) * 1e3,
            end_state=answer.end_state if answer else "complete",
            cached=decision.cache.hit,
            mode=self.mode,
            decision=decision,
            attempts=tuple(attempts),
        )

    def late_hit(self, routed: Routed) -> RouteDecision | None:
        """The decision of a query whose answer was stored between its look-up and its turn."""
        found = self.cache.peek(routed.key) if self.cache is not None else None
        return replace(routed.decision, cache=found) if found is not None else None

    def requests(self, routed: Routed) -> list[ChatRequest]:
        """The calls to try for a query, in order; providers that keep failing come last."""
        names = [routed.decision.model, *routed.decision.fallbacks]
        models = [self.catalog.model(name) for name in names]
        models.sort(key=lambda model: self.breaker.is_open(model.provider))
        messages = routed.conversation.messages
        return [ChatRequest(model, messages, self.max_output_tokens) for model in models]

    def note_outcome(
        self, request: ChatRequest, end_state: EndState, error: ProviderError | None
    ) -> None:
        """Tell the circuit breaker how a call ended; a missing key or a bad request is no fault."""
        if end_state in ("complete", "truncated"):
            self.breaker.record(request.model.provider, ok=True)
        elif error is not None and error.retryable and not isinstance(error, MissingKey):
            self.breaker.record(request.model.provider, ok=False)

    def remember(self, routed: Routed, text: str, answered: Attempt) -> None:
        """Put a complete answer into the cache; a cache out of order is warned of, not raised."""
        if self.cache is None or routed.vector is None or not text:
            return
        tier, model, provider = routed.decision.tier, answered.model, answered.provider
        try:
            self.cache.put(
                routed.key, routed.vector, text, tier=tier, model=model, provider=provider
            )
        except CacheFileError as error:
            warnings.warn(f"an answer was not cached: {error}", CacheWarning, stacklevel=2)

    def audit(self, routed: Routed) -> None:
        """Let the judge look, in the background, at a decision that the cache wants audited."""
        asked = routed.decision.cache.audit
        if self._auditor is not None and asked is not None:
            self._auditor.look(asked)

    async def aclose(self) -> None:
        """Wait for audits, then close connections and cache; a judge that raises keeps neither."""
        if self._auditor is not None:
            await self._auditor.aclose()
        await self.hub.close()
        if self.cache is not None:
            self.cache.close()

    async def _ask(self, conversations: Sequence[Conversation], started: float) -> list[Asked]:
        def ask() -> list[Asked]:
            return [self.pipeline.ask(conversation, started) for conversation in conversations]

        # Loading takes seconds, a distant cache a journey: neither may hold up the event loop. For
        # a few queries, a near one answers in less time than a thread takes to wake.
        distant = self.cache is not None and self.cache.distant
        slow = "pipeline" not in self.__dict__ or distant or len(conversations) > BATCH
        return await asyncio.to_thread(ask) if slow else ask()

    async def _answer(self, routed: Routed, attempts: list[Attempt]) -> Answer:
        errors: list[ProviderError] = []
        for request in self.requests(routed):
            reserved = self.biller.reserve(request)
            answer: Answer | None = None
            end_state: EndState = "cancelled"
            try:
                async with asyncio.timeout(self.deadlines.total_s):
                    answer = await self.hub.provider(request.model).complete(request)
                end_state = answer.end_state
                return answer
            except (ProviderError, TimeoutError) as error:
                end_state = "error"
                errors.append(self.hub.failure(request, error))
                if not errors[-1].retryable:
                    raise errors[-1] from None
            finally:
                failed = errors[-1] if end_state == "error" else None
                attempts.append(
                    self.biller.settle(
                        request,
                        reserved,
                        end_state,
                        answer.usage if answer else None,
                        answer.text if answer else "",
                        str(failed) if failed else None,
                    )
                )
                self.note_outcome(request, end_state, failed)
        raise all_failed(errors)
