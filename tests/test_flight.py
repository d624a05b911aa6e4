"""Single flight: shared streams, slow readers, readers who leave; and the breaker's states."""

import asyncio
from contextlib import aclosing

import pytest

from routerlab import StreamingRouter
from routerlab.breaker import CircuitBreaker
from routerlab.errors import ProviderError
from routerlab.flight import Flights
from routerlab.lab.endpoints import ServerEndpoints
from routerlab.lab.simulator import Fault, Simulator
from routerlab.policies import FixedPolicy

QUERY = "How do tides work?"


async def read(router, query=QUERY, pause=0.0, leave_after=None):
    """Text and metadata; a slow reader pauses at each chunk, one who leaves has no metadata."""
    text, metadata, seen = "", None, 0
    async with aclosing(router.route_query_stream(query)) as chunks:
        async for chunk in chunks:
            text, metadata, seen = text + chunk.content, chunk.metadata, seen + 1
            if leave_after is not None and seen >= leave_after:
                break
            if pause:
                await asyncio.sleep(pause)
    return text, metadata


@pytest.fixture
def slow_server(catalog):
    with Simulator(catalog, time_scale=0.1, length=lambda _: 200) as running:
        yield running


async def test_equal_queries_share_one_stream_and_one_bill(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    answers = await asyncio.gather(*(read(router) for _ in range(20)))
    assert len({text for text, _ in answers}) == 1
    assert len(slow_server.log) == 1
    assert sorted(metadata.shared for _, metadata in answers) == [False] + [True] * 19
    total = sum(metadata.cost_usd for _, metadata in answers)
    assert total == pytest.approx(router.router.session.cost)
    assert (await read(router))[1].cached


async def test_other_queries_do_not_share(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    await asyncio.gather(read(router, "one thing"), read(router, "another thing"))
    assert len(slow_server.log) == 2


async def test_without_a_cache_each_is_asked(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server), cache=None))
    await asyncio.gather(read(router), read(router))
    assert len(slow_server.log) == 2


async def test_a_slow_and_a_leaving_reader_do_not_hold_up_or_end_it(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    slow = asyncio.create_task(read(router, pause=0.01))
    leaving = asyncio.create_task(read(router, leave_after=2))
    text, metadata = await read(router)
    assert metadata.end_state == "complete"
    assert not slow.done()
    assert len((await leaving)[0]) < len(text)
    assert (await slow)[0] == text
    assert len(slow_server.log) == 1


async def test_the_opener_may_leave_too(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    opened, joined = asyncio.Event(), asyncio.Event()

    async def open_and_leave():
        async with aclosing(router.route_query_stream(QUERY)) as chunks:
            async for _ in chunks:
                opened.set()
                await joined.wait()
                break

    async def join():
        await opened.wait()
        async with aclosing(router.route_query_stream(QUERY)) as chunks:
            async for chunk in chunks:
                joined.set()
                metadata = chunk.metadata
        return metadata

    _, metadata = await asyncio.gather(open_and_leave(), join())
    assert metadata.end_state == "complete"
    assert metadata.shared
    assert router.router.session.calls == len(slow_server.log) == 1


async def test_when_the_last_reader_leaves_the_server_stops(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    await asyncio.gather(read(router, leave_after=3), read(router, leave_after=5))
    left = slow_server.counts["generated"]
    await asyncio.sleep(0.2)
    assert slow_server.counts["generated"] <= left + 5 < 200
    assert router.router.session.calls == 1
    assert not (await router.router.route_query(QUERY)).cache.hit


async def test_a_failure_reaches_every_reader(make_router, slow_server):
    slow_server.script(*[Fault(status=400)] * 5)
    endpoints = ServerEndpoints(slow_server)
    router = StreamingRouter(make_router(endpoints=endpoints, policy=FixedPolicy("gpt-6-luna")))
    outcomes = await asyncio.gather(*(read(router) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, ProviderError) for outcome in outcomes)


async def test_a_cancelled_reader_does_not_cancel_the_others(make_router, slow_server):
    router = StreamingRouter(make_router(endpoints=ServerEndpoints(slow_server)))
    doomed = asyncio.create_task(read(router))
    other = asyncio.create_task(read(router))
    await asyncio.sleep(0.1)
    doomed.cancel()
    assert (await other)[1].end_state == "complete"
    with pytest.raises(asyncio.CancelledError):
        await doomed


async def test_flights_leave_nothing_behind():
    async def source():
        for number in range(3):
            yield number

    flights = Flights()
    seen = [item async for item in flights.join("key", source)]
    assert seen == [(0, False), (1, False), (2, False)]
    assert not flights._by_key


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_breaker_opens_cools_down_and_closes():
    clock = Clock()
    breaker = CircuitBreaker(threshold=3, cool_down_s=10, clock=clock)
    for _ in range(2):
        breaker.record("a", ok=False)
    assert not breaker.is_open("a")
    breaker.record("a", ok=False)
    assert breaker.is_open("a")
    assert not breaker.is_open("b")
    clock.now = 10
    assert not breaker.is_open("a")
    breaker.record("a", ok=False)
    assert breaker.is_open("a")
    clock.now = 20
    breaker.record("a", ok=True)
    breaker.record("a", ok=False)
    assert not breaker.is_open("a")


async def test_a_provider_that_keeps_failing_is_asked_last(make_router, server):
    router = make_router(policy=FixedPolicy("gpt-6-luna"), cache=None)
    router.breaker = CircuitBreaker(threshold=2)
    for number in range(2):
        server.script(*[Fault(status=500)] * 3)  # the SDK's own three tries
        await read(StreamingRouter(router), f"{QUERY} {number}")
    server.log.clear()
    _, metadata = await read(StreamingRouter(router), "a third query")
    assert metadata.provider != "openai"
    assert [served.provider for served in server.log] == [metadata.provider]
