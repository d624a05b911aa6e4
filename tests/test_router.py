"""`LLMRouter` against the local server, through the real SDKs."""

import asyncio

import pytest

from routerlab import LLMRouter, RouteDecision
from routerlab.cache import SemanticCache
from routerlab.errors import (
    BudgetError,
    InvalidQuery,
    MissingKey,
    ModeError,
    ProviderError,
    UnknownModel,
)
from routerlab.lab.endpoints import ReplayedEndpoints, ServerEndpoints
from routerlab.lab.faults import Fault
from routerlab.lab.recordings import RecordingHub
from routerlab.lab.simulator import Simulator
from routerlab.policies import FixedPolicy, RandomPolicy, always_cheapest, always_strongest
from routerlab.types import TIERS

EASY = "What is the capital of Peru?"


async def test_out_of_the_box():
    """No argument, no key, no network: committed model, packaged weights, local server."""
    router = LLMRouter()
    decision = await router.route_query(EASY)
    assert isinstance(decision, RouteDecision)
    assert (decision.mode, decision.cache.status) == ("simulated", "miss")
    answer = await router.complete(EASY)
    assert (answer.end_state, answer.mode, answer.cached) == ("complete", "simulated", False)
    assert answer.text.startswith("[simulated")
    assert (await router.complete(EASY)).cached
    await router.aclose()


async def test_decision_tells_all(make_router, catalog):
    decision = await make_router().route_query(EASY, system_prompt="Be brief.")
    assert decision.tier in TIERS
    assert sum(decision.probabilities.values()) == pytest.approx(1)
    assert decision.tier == max(decision.probabilities, key=decision.probabilities.get)
    assert catalog.model(decision.model).provider == decision.provider
    assert catalog.model(decision.model).tier == decision.tier
    for name in decision.fallbacks:
        assert TIERS.index(catalog.model(name).tier) >= TIERS.index(decision.tier)
    assert decision.cost.low <= decision.cost.usd <= decision.cost.high
    assert set(decision.stages_ms) == {"exact", "encode", "semantic", "classify", "policy"}
    assert decision.route_ms >= max(decision.stages_ms.values())
    text, page = str(decision), decision._repr_html_()
    for shown in (decision.tier, decision.model, decision.policy, decision.mode):
        assert shown in text
        assert shown in page


async def test_html_is_escaped(make_router):
    page = (
        await make_router().route_query("<script>alert(1)</script> what is this?")
    )._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_many_as_one_by_one(make_router):
    queries = [
        EASY,
        "Prove that there are infinitely many primes.",
        "write a haiku about rust",
        EASY,
        [
            {"role": "user", "content": "Design a chat app."},
            {"role": "user", "content": "and why?"},
        ],
    ]
    router = make_router()
    together = await router.route_many(queries)
    alone = [await router.route_query(query) for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert (one.query, one.tier, one.model, one.fallbacks) == (
            other.query,
            other.tier,
            other.model,
            other.fallbacks,
        )
        assert one.input_tokens == other.input_tokens
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert await router.route_many([]) == []


async def test_system_prompt_does_not_move_the_tier(make_router):
    router = make_router()
    plain = await router.route_query(EASY)
    for prompt in ("You are a world expert in theorem proving.", "Answer in French. " * 50):
        assert (await router.route_query(EASY, prompt)).probabilities == plain.probabilities


@pytest.mark.parametrize(
    ("first", "follow_up", "tier"),
    [
        ("Prove that the square root of 2 is irrational.", "and of 3?", "reasoning"),
        ("What is the capital of Peru?", "and of Chile?", "simple"),
    ],
)
async def test_follow_up_takes_the_turn_it_continues(make_router, first, follow_up, tier):
    turns = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": "…"},
        {"role": "user", "content": follow_up},
    ]
    router = make_router()
    assert (await router.route_query(turns)).tier == tier
    # The text alone would not tell the two follow-ups apart.
    assert (await router.route_query(turns)).query == follow_up


async def test_answers_are_cached_within_their_scope(make_router):
    router = make_router()
    first = await router.complete(EASY)
    again = await router.complete(EASY)
    prompted = await router.complete(EASY, "Be brief.")
    assert (first.cached, again.cached, prompted.cached) == (False, True, False)
    assert (again.text, again.cost_usd, again.model) == (first.text, 0, first.model)
    assert again.decision.cache.status == "exact"
    assert again.usage.source == "cache"
    assert "nothing" in str(again.decision)
    assert router.session.cost == first.cost_usd + prompted.cost_usd


async def test_no_cache(make_router):
    router = make_router(cache=None)
    assert (await router.complete(EASY)).decision.cache.status == "off"
    assert not (await router.complete(EASY)).cached


async def test_a_cache_of_ones_own(make_router, tmp_path):
    cache = SemanticCache(f"sqlite:///{tmp_path}/c.db", threshold=0.8)
    await make_router(cache=cache).complete("How do I boil an egg?")
    decision = await make_router(cache=cache).route_query("How do I boil an egg, please?")
    assert decision.cache.status == "semantic"
    assert decision.cache.score >= decision.cache.threshold == 0.8


@pytest.mark.parametrize("query", ["", "  ", b"x", 5, "\ud800"])
async def test_bad_queries_reach_no_server(make_router, server, query):
    router = make_router()
    with pytest.raises(InvalidQuery):
        await router.complete(query)
    assert server.log == []


async def test_a_very_long_query_is_routed_and_says_how(make_router):
    decision = await make_router().route_query("word " * 40_000)
    assert decision.input_tokens.tokens > 30_000
    assert "200,000 characters" in str(decision)


async def test_every_model_answers_and_is_billed(make_router, catalog):
    router = make_router(cache=None)
    for model in catalog.models:
        router = make_router(policy=FixedPolicy(model.id))
        answer = await router.complete(EASY)
        assert (answer.model, answer.end_state) == (model.id, "complete")
        assert answer.usage.source == "provider"
        assert answer.cost_usd == pytest.approx(
            model.list_price(answer.usage.input_tokens, answer.usage.output_tokens)
        )
        # A reasoning model's hidden tokens are billed as output, whatever field they come in.
        assert answer.usage.output_tokens > (30 if model.tier == "reasoning" else 20)


async def test_unknown_model_is_named(make_router):
    with pytest.raises(UnknownModel, match="gpt-2"):
        await make_router(policy=FixedPolicy("gpt-2")).route_query(EASY)


async def test_baseline_policies(make_router, catalog):
    assert always_strongest(catalog).model_id == "gpt-6-astra"
    assert catalog.model(always_cheapest(catalog).model_id).tier == "simple"
    router = make_router(policy=RandomPolicy(seed=1))
    drawn = [(await router.route_query(f"{EASY} {n}")).model for n in range(30)]
    assert len(set(drawn)) > 5
    assert drawn == [(await router.route_query(f"{EASY} {n}")).model for n in range(30)]


async def test_overload_is_retried_by_the_sdk(make_router, server):
    server.script(Fault(status=429, retry_after_s=0.01), Fault(status=500))
    answer = await make_router().complete(EASY)
    assert len(answer.attempts) == 1
    assert [served.status for served in server.log] == [429, 500, 200]


async def test_fallback_to_another_provider(make_router, server):
    server.script(*[Fault(status=500)] * 3)
    answer = await make_router().complete(EASY)
    first, second = answer.attempts
    assert (first.end_state, first.cost_usd, second.end_state) == ("error", 0, "complete")
    assert first.provider != second.provider
    assert answer.model == second.model != answer.decision.model
    assert "HTTP 500" in first.error


async def test_all_models_failing_names_each(make_router, server):
    server.script(*[Fault(status=500)] * 30)
    router = make_router()
    with pytest.raises(ProviderError, match="4 were tried") as caught:
        await router.complete(EASY)
    assert caught.value.retryable
    assert not (await router.route_query(EASY)).cache.hit
    assert router.session.in_flight == pytest.approx(0)


async def test_a_wrong_key_is_said_without_the_key(make_router, server):
    router = make_router()
    secret = server.api_key
    await router.route_query(EASY)
    connect = router.endpoints.connect
    wrong = "sk-very-secret-and-wrong"

    class Wrong:
        mode = "simulated"

        def connect(self, provider):
            return type(connect(provider))(connect(provider).base_url, wrong)

    router.hub.endpoints = Wrong()
    with pytest.raises(ProviderError, match="401") as caught:
        await router.complete(EASY)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert wrong not in shown
    assert secret not in shown
    assert wrong not in repr(Wrong().connect(router.catalog.providers["openai"]))
    assert "OPENAI_API_KEY" in shown


async def test_live_needs_a_budget_and_keys(monkeypatch, model_dir):
    with pytest.raises(BudgetError, match="BUDGET_USD"):
        LLMRouter(mode="live")
    for bad in ("much", "-1", "nan"):
        monkeypatch.setenv("BUDGET_USD", bad)
        with pytest.raises(BudgetError):
            LLMRouter(mode="live")
    monkeypatch.setenv("BUDGET_USD", "1")
    router = LLMRouter(mode="live", model_dir=model_dir)
    assert (await router.route_query(EASY)).mode == "live"
    with pytest.raises(MissingKey, match="API_KEY") as caught:
        await router.complete(EASY)
    assert "simulated" in str(caught.value)


def test_unknown_mode_names_the_modes():
    with pytest.raises(ModeError, match="simulated, replayed, live"):
        LLMRouter(mode="dream")


async def test_budget_counts_what_is_in_flight(make_router, server):
    router = make_router(cache=None, budget_usd=0.004)
    queries = [f"{EASY} ({n})" for n in range(30)]
    answers = await asyncio.gather(*map(router.complete, queries), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BudgetError)]
    assert refused
    assert len(refused) < len(answers)
    assert not [a for a in answers if isinstance(a, Exception) and a not in refused]
    assert router.session.cost <= 0.004
    assert router.session.in_flight == pytest.approx(0)
    assert "budget" in str(refused[0])


async def test_total_deadline(make_router, catalog):
    from routerlab.providers import Deadlines

    with Simulator(catalog, time_scale=50) as slow:
        router = make_router(
            endpoints=ServerEndpoints(slow), deadlines=Deadlines(total_s=0.05), cache=None
        )
        with pytest.raises(ProviderError, match="in time"):
            await router.complete(EASY)


async def test_recorded_answers_replay_and_nothing_else_does(make_router, catalog, tmp_path):
    router = make_router(cache=None)
    router.hub = RecordingHub(router.hub, tmp_path)
    recorded = await router.complete(EASY)
    with Simulator(catalog, recordings=tmp_path) as replay:
        router = make_router(endpoints=ServerEndpoints(replay), cache=None)
        replayed = await router.complete(EASY)
        assert (replayed.text, replayed.usage) == (recorded.text, recorded.usage)
        assert (replayed.mode, recorded.mode) == ("replayed", "simulated")
        with pytest.raises(ProviderError, match="make record"):
            await router.complete("never recorded")


def test_replay_without_recordings_says_how_to_make_some(tmp_path):
    with pytest.raises(ModeError, match="make record"):
        ReplayedEndpoints(tmp_path)
