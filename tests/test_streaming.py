"""`StreamingRouter` against the local server: whole, cut, left early, from the cache."""

import asyncio
import time
from contextlib import aclosing

import pytest

from routerlab import StreamingRouter
from routerlab.errors import InvalidQuery, ProviderError, RouterLabError
from routerlab.lab.display import display_stream, rendered
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.faults import Fault
from routerlab.lab.simulator import Simulator
from routerlab.policies import FixedPolicy
from routerlab.providers import ChatRequest, Deadlines

QUERY = "How do tides work?"
ADAPTERS = ["gpt-6-luna", "claude-haiku-5-5"]


async def collect(router, query=QUERY, system_prompt=None):
    stream = StreamingRouter(router).route_query_stream(query, system_prompt)
    chunks = [chunk async for chunk in stream]
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.metadata is None for chunk in chunks[:-1])
    return "".join(chunk.content for chunk in chunks), chunks[-1].metadata


async def test_every_model_streams_what_it_completes(make_router, catalog):
    for model in catalog.models:
        policy = FixedPolicy(model.id)
        whole = await make_router(policy=policy).complete(QUERY)
        text, metadata = await collect(make_router(policy=policy))
        assert text == whole.text, model.id
        assert metadata.usage == whole.usage
        assert metadata.cost_usd == whole.cost_usd > 0
        assert (metadata.end_state, metadata.model) == ("complete", model.id)
        assert 0 < metadata.ttft_ms <= metadata.total_ms


async def test_cached_answers_stream_too(make_router):
    router = make_router()
    text, first = await collect(router)
    again, second = await collect(router)
    assert again == text
    assert (first.cached, second.cached, second.cost_usd) == (False, True, 0)
    assert second.usage.source == "cache"
    _, third = await collect(router, system_prompt="Be a pirate.")
    assert not third.cached


async def test_completions_and_streams_share_the_cache(make_router):
    router = make_router()
    whole = await router.complete(QUERY)
    text, metadata = await collect(router)
    assert (text, metadata.cached) == (whole.text, True)


@pytest.mark.parametrize("model", ADAPTERS)
@pytest.mark.parametrize(
    "fault", [Fault(cut_after=5), Fault(no_finish=True)], ids=["cut", "no finish reason"]
)
async def test_a_cut_answer_is_kept_told_and_not_cached(make_router, server, model, fault):
    router = make_router(policy=FixedPolicy(model))
    server.script(fault)
    text, metadata = await collect(router)
    assert text
    assert metadata.end_state == "error"
    assert metadata.usage.source == "partial"
    assert metadata.cost_usd > 0
    assert metadata.error
    assert len(metadata.attempts) == 1
    _, after = await collect(router)
    assert (after.cached, after.end_state) == (False, "complete")


@pytest.mark.parametrize("model", ADAPTERS)
async def test_fallback_before_the_first_text(make_router, server, model):
    server.script(*[Fault(status=500)] * 3)
    text, metadata = await collect(make_router(policy=FixedPolicy(model)))
    assert metadata.end_state == "complete"
    assert [attempt.end_state for attempt in metadata.attempts] == ["error", "complete"]
    assert metadata.model != model
    assert text.startswith(f"[simulated {metadata.model}]")


async def test_no_model_left_raises(make_router, server):
    server.script(*[Fault(status=500)] * 30)
    with pytest.raises(ProviderError, match="4 were tried"):
        await collect(make_router(deadlines=Deadlines(retries=0)))


async def test_a_limit_reached_is_truncated_and_not_cached(make_router):
    router = make_router(max_output_tokens=5)
    _, metadata = await collect(router)
    assert metadata.end_state == "truncated"
    _, again = await collect(router)
    assert not again.cached


@pytest.mark.parametrize("model", ADAPTERS)
async def test_leaving_early_hangs_up_and_bills_the_part(make_router, catalog, model):
    with Simulator(catalog, time_scale=0.3, length=lambda _: 400) as server:
        router = make_router(endpoints=ServerEndpoints(server), policy=FixedPolicy(model))
        stream = StreamingRouter(router).route_query_stream(QUERY)
        async with aclosing(stream) as chunks:
            async for _ in chunks:
                if server.counts["generated"] >= 5:
                    break
        left = server.counts["generated"]
        await asyncio.sleep(0.3)
        assert server.counts["generated"] <= left + 5 < 400
        assert router.session.calls == 1
        assert router.session.cost > 0
        assert router.session.in_flight == pytest.approx(0)
        assert not (await router.route_query(QUERY)).cache.hit


async def test_concurrent_streams_do_not_mix(make_router):
    router = make_router(cache=None)
    queries = [f"{QUERY} number {n}" for n in range(40)]
    whole = [(await router.complete(query)).text for query in queries]
    streamed = await asyncio.gather(*(collect(router, query) for query in queries))
    assert [text for text, _ in streamed] == whole


async def test_bad_query_raises_at_the_first_step(make_router):
    with pytest.raises(InvalidQuery):
        await collect(make_router(), " ")


@pytest.mark.parametrize("model", ADAPTERS)
async def test_restart_answers_anew_and_bills_both(make_router, server, model):
    router = make_router(policy=FixedPolicy(model))
    server.script(Fault(cut_after=5))
    stream = StreamingRouter(router).route_query_stream(QUERY, on_interrupt="restart")
    chunks = [chunk async for chunk in stream]
    kinds = [chunk.kind for chunk in chunks]
    assert kinds[0] == "start"
    assert kinds.count("restart") == 1
    assert kinds[-1] == "end"
    metadata = chunks[-1].metadata
    anew = "".join(chunk.content for chunk in chunks[kinds.index("restart") :])
    assert anew.startswith(f"[simulated {metadata.model}]")
    assert metadata.model != model
    assert metadata.end_state == "complete"
    assert [attempt.end_state for attempt in metadata.attempts] == ["error", "complete"]
    assert all(attempt.cost_usd > 0 for attempt in metadata.attempts)
    assert metadata.cost_usd == pytest.approx(sum(a.cost_usd for a in metadata.attempts))
    text, again = await collect(router)
    assert (text, again.cached) == (anew, True)


async def test_restart_that_finds_no_model_ends_in_error(make_router, server):
    server.script(Fault(cut_after=5), *[Fault(status=500)] * 30)
    stream = StreamingRouter(make_router()).route_query_stream(QUERY, on_interrupt="restart")
    chunks = [chunk async for chunk in stream]
    assert [c.kind for c in chunks[-2:]] == ["restart", "end"]
    assert chunks[-1].metadata.end_state == "error"
    assert len(chunks[-1].metadata.attempts) == 4


async def test_an_unknown_wish_is_refused(make_router):
    stream = StreamingRouter(make_router()).route_query_stream(QUERY, on_interrupt="resume")
    with pytest.raises(RouterLabError, match="restart"):
        await anext(stream)


async def test_a_late_first_text_falls_back(make_router, catalog):
    """The slow model's first text is due after its deadline, the quick one's before."""
    with Simulator(catalog, time_scale=1, length=lambda _: 5) as server:
        router = make_router(
            endpoints=ServerEndpoints(server),
            policy=FixedPolicy("gpt-6-astra"),
            deadlines=Deadlines(first_token_s=0.3),
        )
        router.requests = lambda routed: [
            ChatRequest(catalog.model(name), routed.conversation.messages, 100)
            for name in ("gpt-6-astra", "openai/gpt-oss-120b")
        ]
        _, metadata = await collect(router)
    assert metadata.model == "openai/gpt-oss-120b"
    assert [attempt.end_state for attempt in metadata.attempts] == ["error", "complete"]


async def test_the_total_deadline_keeps_the_text(make_router, catalog):
    with Simulator(catalog, time_scale=1, length=lambda _: 2_000) as server:
        router = make_router(
            endpoints=ServerEndpoints(server),
            policy=FixedPolicy("openai/gpt-oss-120b"),
            deadlines=Deadlines(total_s=0.8),
        )
        text, metadata = await collect(router)
        left = server.counts["generated"]
        await asyncio.sleep(0.2)
        assert server.counts["generated"] <= left + 5 < 2_000
    assert text
    assert metadata.end_state == "error"
    assert metadata.usage.source == "partial"


async def test_breaking_out_of_the_loop_hangs_up(make_router, catalog):
    with Simulator(catalog, time_scale=0.3, length=lambda _: 400) as server:
        router = make_router(endpoints=ServerEndpoints(server))
        async for _ in StreamingRouter(router).route_query_stream(QUERY):
            if server.counts["generated"] >= 5:
                break
        left = server.counts["generated"]
        await asyncio.sleep(0.3)
        assert server.counts["generated"] <= left + 5 < 400


async def test_times_between_pieces(make_router, catalog):
    with Simulator(catalog, time_scale=0.5, length=lambda _: 50) as server:
        _, metadata = await collect(make_router(endpoints=ServerEndpoints(server)))
    assert 0 < metadata.inter_token_p50_ms <= metadata.inter_token_p95_ms < metadata.total_ms
    with Simulator(catalog, time_scale=0, length=lambda _: 1) as server:
        router = make_router(endpoints=ServerEndpoints(server), max_output_tokens=1)
        _, metadata = await collect(router)
    assert metadata.inter_token_p50_ms is None


def test_a_plain_script_gets_the_same_chunks(make_router):
    router = make_router()
    chunks = list(StreamingRouter(router).stream(QUERY))
    text = "".join(chunk.content for chunk in chunks)
    assert chunks[-1].metadata.end_state == "complete"
    assert text == asyncio.run(make_router().complete(QUERY)).text
    assert next(iter(StreamingRouter(router).stream(QUERY))).kind == "start"


def test_a_plain_script_that_leaves_hangs_up(make_router, catalog):
    with Simulator(catalog, time_scale=0.3, length=lambda _: 400) as server:
        router = make_router(endpoints=ServerEndpoints(server))
        for _ in StreamingRouter(router).stream(QUERY):
            if server.counts["generated"] >= 5:
                break
        left = server.counts["generated"]
        time.sleep(0.3)
        assert server.counts["generated"] <= left + 5 < 400
        assert router.session.calls == 1


async def test_the_plain_iterator_says_where_it_does_not_work(make_router):
    with pytest.raises(RouterLabError, match="async for"):
        StreamingRouter(make_router()).stream(QUERY)


async def test_a_notebook_shows_it_as_it_comes(make_router, server, monkeypatch):
    drawn = []

    class Handle:
        def update(self, shown):
            drawn.append(shown.data)

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    monkeypatch.setattr("routerlab.lab.display.REDRAW_S", 0.0)
    server.script(Fault(cut_after=5))
    stream = StreamingRouter(make_router()).route_query_stream("a <b> tag?", on_interrupt="restart")
    metadata = await display_stream(stream)
    assert len(drawn) > 5
    assert metadata.model in drawn[-1]
    assert drawn[-1].count("[simulated") == 1
    assert "&lt;b&gt;" in rendered("<b>", None)
