"""What an LLM is asked in live mode: to write queries, to label them; and what is said before."""

import asyncio
import json

import pytest

from routerlab.errors import BudgetError, DataError, MissingKey, ModeError
from routerlab.lab.asking import model_at_hand
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.generation import estimate_generation, generate_benchmark
from routerlab.lab.labelling import estimate_labelling, label
from routerlab.lab.live import confirm_budget
from routerlab.lab.simulator import Simulator
from routerlab.providers.endpoints import LiveEndpoints


class Writer(Simulator):
    """A server whose models answer with the JSON that `made` gives for a request's body."""

    def __init__(self, catalog, made):
        super().__init__(catalog, time_scale=0)
        self.made = made

    def _reply(self, model, body):
        reply = super()._reply(model, body)
        assert body["response_format"]["type"] == "json_schema"
        text = json.dumps(self.made(body))
        answer = type(reply.answer)(**{**vars(reply.answer), "pieces": (text,)})
        return type(reply)(answer, reply.due_ms[:1])


def test_generation_asks_for_every_tier(catalog, make_router):
    def made(body):
        asked = body["messages"][-1]["content"][:60]
        return {"queries": [{"text": f"{asked} {n}", "domain": "d"} for n in range(25)]}

    with Writer(catalog, made) as server:
        router = make_router(endpoints=ServerEndpoints(server), cache=None)
        queries = asyncio.run(generate_benchmark(router, "gpt-6-astra"))
    assert len({query.text for query in queries}) == 100
    assert router.session.calls == 4
    estimate = estimate_generation(catalog, "gpt-6-astra")
    assert 0.3 < estimate.usd < 0.9
    assert estimate.low < estimate.usd < estimate.high


def test_generation_refuses_what_was_not_asked_for(catalog, make_router):
    with Writer(catalog, lambda body: {"queries": [{"text": "one", "domain": "d"}]}) as server:
        router = make_router(endpoints=ServerEndpoints(server), cache=None)
        with pytest.raises(DataError, match="got 1"):
            asyncio.run(generate_benchmark(router, "gpt-6-astra"))


def test_live_says_what_it_needs_before_it_spends(monkeypatch, capsys):
    with pytest.raises(ModeError, match="OPENAI_API_KEY"):
        confirm_budget(5)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with pytest.raises(BudgetError, match="BUDGET_USD"):
        confirm_budget(5)
    monkeypatch.setenv("BUDGET_USD", "0.000001")
    with pytest.raises(BudgetError, match="raise"):
        confirm_budget(5)
    monkeypatch.setenv("BUDGET_USD", "100")
    assert 0 < confirm_budget(5) < 100
    shown = capsys.readouterr().err
    assert "estimated $" in shown
    assert "sk-test" not in shown


def by_length(body):
    """A labeller that reads nothing but how long the query is."""
    query = body["messages"][-1]["content"].split("<query>\n")[1].split("\n</query>")[0]
    return {"tier": "simple" if len(query) < 10 else "complex"}


async def test_labels_come_back_in_the_order_of_the_queries(catalog, make_router):
    texts = ["hi", "Design a railway for an island.", "bye", "Plan a festival of a week."] * 5
    with Writer(catalog, by_length) as server:
        router = make_router(endpoints=ServerEndpoints(server), cache=None)
        labels = await label(router, "gpt-6.1-terra", texts)
    assert labels == ["simple", "complex"] * 10
    assert router.session.calls == len(texts)
    assert router.session.in_flight == pytest.approx(0, abs=1e-12)
    assert estimate_labelling(catalog, "gpt-6.1-terra", texts).usd > 0


async def test_a_label_that_is_no_tier_is_refused(catalog, make_router):
    with Writer(catalog, lambda body: {"tier": "easy"}) as server:
        router = make_router(endpoints=ServerEndpoints(server), cache=None)
        with pytest.raises(DataError, match="run again"):
            await label(router, "gpt-6.1-terra", ["hi"])


async def test_labelling_stops_at_the_budget(catalog, make_router):
    with Writer(catalog, by_length) as server:
        endpoints = ServerEndpoints(server)
        router = make_router(endpoints=endpoints, cache=None, budget_usd=0.02)
        with pytest.raises(BudgetError, match="budget"):
            await label(router, "gpt-6.1-terra", ["hi"] * 40)
    assert router.session.cost <= 0.02
    assert len(server.log) < 40


def test_the_model_asked_is_one_that_has_a_key(catalog, monkeypatch):
    live = LiveEndpoints()
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        model_at_hand("gpt-6-astra", catalog, live)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    assert model_at_hand("gpt-6-astra", catalog, live) == "claude-fable-5-2"
    assert model_at_hand("gpt-6.1-terra", catalog, live) == "claude-sonnet-5-5"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert model_at_hand("gpt-6-astra", catalog, live) == "gpt-6-astra"
