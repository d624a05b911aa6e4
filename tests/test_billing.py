"""Bills against genai-prices and published ones, estimates with their band, and the budget."""

import datetime as dt
import json
import threading
import time
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routerlab import billing, tokens
from routerlab.attempts import Biller
from routerlab.billing import Session
from routerlab.catalog import DEFAULT_CATALOG, load_catalog
from routerlab.errors import BudgetError, CatalogError, UnknownModel
from routerlab.judge import ask
from routerlab.lab.references import XAI_USAGE
from routerlab.providers import ChatRequest
from routerlab.providers import anthropic_messages as anthropic_adapter
from routerlab.providers import openai_chat as openai_adapter
from routerlab.query import Message
from routerlab.types import Attempt, TokenCount, Usage

CATALOG = load_catalog()
AT = billing.price_time(CATALOG)
MODELS = st.sampled_from(CATALOG.models)
COUNTS = st.integers(0, 1_000_000)


def usd(model_id: str, usage: Usage, at: dt.datetime = AT) -> float:
    return billing.price(usage, CATALOG.model(model_id), CATALOG, at)


def attempt(cost: float, model: str = "gpt-6-luna") -> Attempt:
    return Attempt(model, "openai", "complete", Usage(7, 5, reasoning_tokens=2), cost)


# What a call costs


def test_cached_input_is_billed_as_read_and_as_written():
    """Opus 5.5: 4 plain, 0.2 read, 5 written, 20 output, USD per million."""
    usage = Usage(1_000, 10, cached_input_tokens=600, cache_write_tokens=300)
    expected = (100 * 4 + 600 * 0.2 + 300 * 5 + 10 * 20) / 1e6
    assert usd("claude-opus-5-5", usage) == pytest.approx(expected, rel=1e-12)


def test_anthropic_usage_counts_all_input_and_tells_its_parts():
    from anthropic.types import Usage as Reported

    reported = Reported(
        input_tokens=100,
        output_tokens=10,
        cache_read_input_tokens=600,
        cache_creation_input_tokens=300,
    )
    usage = anthropic_adapter._usage(reported, 10)
    assert usage == Usage(1_000, 10, cached_input_tokens=600, cache_write_tokens=300)


def test_reasoning_is_part_of_output():
    for model in CATALOG.models:
        plain = billing.price(Usage(50, 900), model, CATALOG, AT)
        assert billing.price(Usage(50, 900, reasoning_tokens=800), model, CATALOG, AT) == plain


@pytest.mark.parametrize(
    ("model", "last_plain", "plain", "long"),
    [
        ("grok-4.7", 199_999, (2, 6), (4, 12)),
        ("claude-haiku-5-5", 100_000, (0.1, 0.5), (0.5, 2.5)),
        ("gpt-6.1-sol", 272_000, (2, 10), (4, 15)),
    ],
)
def test_a_long_context_has_its_own_price(model, last_plain, plain, long):
    for tokens_in, (price_in, price_out) in ((last_plain, plain), (last_plain + 1, long)):
        expected = (tokens_in * price_in + 1_000 * price_out) / 1e6
        assert usd(model, Usage(tokens_in, 1_000)) == pytest.approx(expected, rel=1e-12)


def test_the_catalog_has_the_long_context_prices_of_genai_prices():
    for model in CATALOG.models:
        edge = model.long_context.above if model.long_context else 0
        for tokens_in in (1, edge, edge + 1, 200_001, 280_000, 2_000_000):
            bill = billing.price(Usage(tokens_in, 777), model, CATALOG, AT)
            assert model.list_price(tokens_in, 777) == pytest.approx(bill, rel=1e-9), model.id


@pytest.mark.parametrize("wrong", ["above = 0", "usd_per_mtok = [0.01, 0.75]", "above = 'far'"])
def test_a_wrong_long_context_names_the_model(wrong, tmp_path):
    given = "above = 272_000" if wrong.startswith("above") else "usd_per_mtok = [0.2, 0.75]"
    path = tmp_path / "catalog.toml"
    path.write_text(DEFAULT_CATALOG.read_text().replace(given, wrong, 1))
    with pytest.raises(CatalogError, match="gpt-6-luna"):
        load_catalog(path)


def test_dated_prices():
    """Mistral Large 4: 1.36 / 4.18 from 20 October 2026, 0.7 / 2.1 from 29 October."""
    usage = Usage(1_000_000, 100_000)
    before, after = (
        usd("mistral-large-4", usage, dt.datetime(2026, 10, day, 12, tzinfo=dt.UTC))
        for day in (28, 29)
    )
    assert (before, after) == (pytest.approx(1.36 + 0.418), pytest.approx(0.7 + 0.21))


REPLIES = {
    "openai": ("chat", "gpt-6.1-sol", 300, 0),
    "xai": ("chat", "grok-4.7", 0, 300),
    "mistral": ("default", "mistral-large-4", 0, 0),
    "groq": ("default", "openai/gpt-oss-120b", 300, 0),
}


@pytest.mark.parametrize("provider", REPLIES)
def test_bills_agree_with_genai_prices_own_reading_of_the_reply(provider):
    from genai_prices import calc_price, extract_usage
    from openai.types import CompletionUsage

    flavor, model, inside, outside = REPLIES[provider]
    raw = {
        "prompt_tokens": 2_000,
        "completion_tokens": 100 + inside,
        "total_tokens": 2_100 + inside + outside,
        "prompt_tokens_details": {"cached_tokens": 500},
        "completion_tokens_details": {"reasoning_tokens": inside + outside},
    }
    vendor = CATALOG.providers[provider].price_provider
    reply = {"model": model, "usage": raw}
    theirs = extract_usage(reply, provider_id=vendor, api_flavor=flavor).usage
    bill = calc_price(theirs, model, provider_id=vendor, genai_request_timestamp=AT).total_price
    usage = openai_adapter._usage(CompletionUsage.model_validate(raw))
    assert usage.output_tokens == 400 if inside + outside else 100
    assert usd(model, usage) == pytest.approx(float(bill), rel=1e-12)


def test_the_published_xai_bill_needs_reasoning_and_the_cache():
    from openai.types import CompletionUsage

    usage = openai_adapter._usage(CompletionUsage.model_validate(XAI_USAGE))
    model = replace(CATALOG.model("grok-4.7"), id="grok-4.3")
    assert billing.price(usage, model, CATALOG, AT) == 0.0232856
    visible = replace(usage, output_tokens=XAI_USAGE["completion_tokens"])
    assert billing.price(visible, model, CATALOG, AT) < 0.0232856 * 0.75
    uncached = replace(usage, cached_input_tokens=0)
    assert billing.price(uncached, model, CATALOG, AT) > 0.0232856


def test_parts_beyond_the_whole_still_give_a_bill():
    slip = Usage(100, 10, cached_input_tokens=80, cache_write_tokens=90)
    right = Usage(100, 10, cached_input_tokens=80, cache_write_tokens=20)
    assert usd("claude-opus-5-5", slip) == usd("claude-opus-5-5", right) > 0


@pytest.mark.parametrize("part", ["model", "vendor"])
def test_a_model_without_a_price_says_what_to_do_before_the_call(part):
    model, catalog = CATALOG.model("gpt-6-luna"), CATALOG
    if part == "model":
        model = replace(model, id="nobody-lists-this")
    else:
        spec = replace(catalog.providers["openai"], price_provider="nobody")
        catalog = replace(catalog, providers={**catalog.providers, "openai": spec})
    session = Session(1.0)
    biller = Biller(catalog, session, "simulated")
    with pytest.raises(UnknownModel, match=r"genai-prices.*price_provider"):
        biller.reserve(ChatRequest(model, (Message("user", "hello"),), 100))
    assert session.in_flight == 0


def test_a_provider_without_a_price_list_has_the_catalogs_prices():
    spec = replace(CATALOG.providers["openai"], price_provider=None)
    catalog = replace(CATALOG, providers={**CATALOG.providers, "openai": spec})
    model = CATALOG.model("gpt-6-luna")
    assert billing.price(Usage(300_000, 1_000), model, catalog, AT) == pytest.approx(0.06075)


# Estimates


@given(model=MODELS, tokens_in=COUNTS, expected=COUNTS, most=COUNTS)
def test_an_estimate_lies_in_its_band(model, tokens_in, expected, most):
    count = tokens.scale(tokens_in, model)
    cost = billing.estimate(count, expected, model, most)
    assert 0 <= cost.low <= cost.usd <= cost.high


@settings(deadline=None)
@given(model=MODELS, data=st.data(), most=COUNTS)
def test_no_bill_is_above_the_most(model, data, most):
    high = data.draw(COUNTS)
    tokens_in = data.draw(st.integers(0, high))
    read = data.draw(st.integers(0, tokens_in))
    written = data.draw(st.integers(0, tokens_in - read))
    usage = Usage(
        tokens_in,
        data.draw(st.integers(0, most)),
        cached_input_tokens=read,
        cache_write_tokens=written,
    )
    bound = billing.most(TokenCount(0, 0, high, "rough"), most, model, CATALOG, AT)
    assert billing.price(usage, model, CATALOG, AT) <= bound


async def test_simulated_bills_lie_in_the_band(make_router):
    router = make_router(cache=None)
    for model in CATALOG.models:
        messages = (Message("user", f"How do bridges carry their load, {model.id}?"),)
        request = ChatRequest(model, messages, 200)
        await ask(router.hub, router.biller, request)
        cost = router.session.attempts[-1].attempt.cost_usd
        band = billing.estimate(tokens.count_messages(messages, model), 100, model, 200)
        assert band.low < cost < band.high, model.id
    assert router.session.calls == len(CATALOG.models)
    assert router.session.in_flight == 0.0
    await router.aclose()


# The budget


@settings(deadline=None, max_examples=200)
@given(
    budget=st.floats(0.001, 1.0),
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 50), st.floats(1e-9, 0.3), st.floats(0, 1)),
        max_size=60,
    ),
)
def test_no_interleaving_takes_the_cost_past_the_budget(budget, steps):
    """Begin or end calls in any order; each costs some share of what it reserved."""
    session, open_calls, spent = Session(budget), [], Fraction(0)

    def end(place: int) -> Fraction:
        reserved, cost = open_calls.pop(place % len(open_calls))
        session.settle(reserved, attempt(cost))
        return Fraction(cost)

    for begins, place, most, share in steps:
        if begins or not open_calls:
            held = sum((Fraction(reserved) for reserved, _ in open_calls), Fraction(0))
            fits = spent + held + Fraction(most) <= Fraction(budget)
            try:
                session.reserve(most)
            except BudgetError:
                assert not fits
            else:
                assert fits
                open_calls.append((most, min(most, most * share)))
        else:
            spent += end(place)
        assert session.cost <= budget
    while open_calls:
        spent += end(0)
    assert session.cost == float(spent) <= budget
    assert session.in_flight == 0.0


class Yielding(Fraction):
    """Gives way to other threads in the middle of every sum, so that a missing lock shows."""

    def __add__(self, other):
        time.sleep(1e-4)
        return Yielding(Fraction(self) + other)

    def __sub__(self, other):
        time.sleep(1e-4)
        return Yielding(Fraction(self) - other)


def test_threads_share_a_budget(monkeypatch):
    monkeypatch.setattr(billing, "Fraction", Yielding)
    session, budget = Session(0.1), 0.1
    refused = []

    def work() -> None:
        for _ in range(10):
            held = 0
            for _ in range(3):
                try:
                    session.reserve(0.003)
                    held += 1
                except BudgetError:
                    refused.append(1)
            for _ in range(held):
                session.settle(0.003, attempt(0.001))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.calls + len(refused) == 240
    assert session.cost == float(session.calls * Fraction(0.001)) <= budget
    assert session.cost > 0.05
    assert session.in_flight == 0.0
    assert sum(Fraction(e.attempt.cost_usd) for e in session.attempts) == Fraction(session._cost)


def test_a_bill_above_its_reservation_is_entered_and_closes_the_budget():
    session = Session(1.0)
    session.reserve(0.4)
    session.settle(0.4, attempt(1.2))
    assert (session.cost, session.in_flight) == (1.2, 0.0)
    with pytest.raises(BudgetError, match=r"\$1\.200000 of the budget of \$1\.00 is spent"):
        session.reserve(0.0)


def test_the_ledger_keeps_what_was_billed():
    session = Session(keep=2)
    for cost in (0.1, 0.2, 0.3):
        session.reserve(cost)
        session.settle(cost, attempt(cost))
    assert (session.calls, session.cost) == (3, pytest.approx(0.6))
    rows = billing.ledger_rows(session)
    assert [row["cost_usd"] for row in rows] == [0.2, 0.3]
    assert rows[0]["time"] <= rows[1]["time"] <= dt.datetime.now(dt.UTC)
    del rows[0]["time"]
    assert rows[0] == {
        "provider": "openai",
        "model": "gpt-6-luna",
        "end_state": "complete",
        "input_tokens": 7,
        "output_tokens": 5,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 2,
        "source": "provider",
        "cost_usd": 0.2,
        "error": None,
    }
    assert json.dumps(rows[0])
    assert billing.ledger_rows(Session(keep=0)) == []


def test_a_session_may_keep_no_ledger():
    session = Session(keep=0)
    session.settle(0.0, attempt(0.5))
    assert (session.calls, session.cost, session.attempts) == (1, 0.5, ())
