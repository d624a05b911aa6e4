"""Single flight: shared streams, slow readers, readers who leave; tasks and threads.

And the breaker's states.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from routerlab import StreamingRouter
from routerlab.breaker import CircuitBreaker
from routerlab.errors import ProviderError, RouterLabError
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


class Source:
    """Numbers from 0, each when `steps` is released; counts how often it was opened and closed."""

    def __init__(self, items=3):
        self.items, self.opened, self.closed = items, 0, 0
        self.steps = threading.Semaphore(0)

    async def __call__(self):
        self.opened += 1
        try:
            for number in range(self.items):
                while not self.steps.acquire(blocking=False):  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
                yield number
        finally:
            self.closed += 1


def in_thread(pool, coroutine):
    """Run a coroutine in an event loop of its own."""
    return pool.submit(asyncio.run, coroutine)


def until(condition, seconds=5.0):
    """Wait in a plain thread."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


@pytest.fixture
def pool():
    made = ThreadPoolExecutor(8)
    yield made
    made.shutdown(wait=False)  # a test that fails must not hang


def readers_of(flights) -> int:
    return sum(flight.readers for flight in list(flights._by_key.values()))


async def read_all(flights, source, leave_after=None):
    seen = []
    async with aclosing(flights.join("key", source)) as items:
        async for item in items:
            seen.append(item)
            if len(seen) == leave_after:
                break
    return seen


def test_two_threads_share_a_flight(pool):
    flights, source = Flights(), Source()
    first = in_thread(pool, read_all(flights, source))
    until(lambda: source.opened)
    second = in_thread(pool, read_all(flights, source))
    until(lambda: readers_of(flights) == 2)
    source.steps.release(3)
    assert first.result(5) == [(0, False), (1, False), (2, False)]
    assert second.result(5) == [(0, True), (1, True), (2, True)]
    assert (source.opened, source.closed) == (1, 1)
    assert not flights._by_key


@pytest.mark.parametrize("leaver", ["opener", "joiner"])
def test_a_reader_who_leaves_in_one_thread_ends_it_for_no_other(pool, leaver):
    flights, source = Flights(), Source(items=5)
    stay = threading.Event()

    async def leave():
        seen = await read_all(flights, source, leave_after=1)
        await asyncio.to_thread(stay.wait)  # its thread lives on, and so does its loop
        return seen

    order = [leave(), read_all(flights, source)]
    first, second = order if leaver == "opener" else order[::-1]
    one = in_thread(pool, first)
    until(lambda: source.opened)
    two = in_thread(pool, second)
    until(lambda: readers_of(flights) == 2)
    source.steps.release(1)
    until(lambda: readers_of(flights) == 1)
    source.steps.release(4)
    leaving, staying = (one, two) if leaver == "opener" else (two, one)
    assert [item for item, _ in staying.result(5)] == [0, 1, 2, 3, 4]
    stay.set()
    assert [item for item, _ in leaving.result(5)] == [0]
    assert (source.opened, source.closed) == (1, 1)
    assert not flights._by_key


def test_when_the_last_reader_leaves_from_another_thread_the_source_is_closed(pool):
    flights, source = Flights(), Source()
    stay = threading.Event()

    async def open_and_leave():
        await read_all(flights, source, leave_after=1)
        await asyncio.to_thread(stay.wait)

    first = in_thread(pool, open_and_leave())
    until(lambda: source.opened)
    second = in_thread(pool, read_all(flights, source, leave_after=2))
    until(lambda: readers_of(flights) == 2)
    source.steps.release(2)
    second.result(5)
    until(lambda: source.closed)
    stay.set()
    first.result(5)
    assert not flights._by_key


@pytest.mark.parametrize("kindly", [True, False])
def test_a_loop_that_closes_in_mid_flight_is_told_to_the_other_thread(pool, kindly):
    """`asyncio.run` cancels what is left over; a loop that is simply closed never runs again."""
    flights, source = Flights(), Source()
    leave = threading.Event()

    async def open_and_go():
        async with aclosing(flights.join("key", source)) as items:
            await anext(items)
            await asyncio.to_thread(leave.wait)

    def own_loop():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(open_and_go())
        loop.close()
        for flight in list(flights._by_key.values()):
            flight.task._log_destroy_pending = False

    first = in_thread(pool, open_and_go()) if kindly else pool.submit(own_loop)
    until(lambda: source.opened)
    source.steps.release(1)
    second = in_thread(pool, read_all(flights, source))
    until(lambda: readers_of(flights) == 2)
    leave.set()
    with pytest.raises(RouterLabError, match="ask again"):
        second.result(5)
    first.result(5)
    assert not flights._by_key
    source.steps.release(3)
    assert in_thread(pool, read_all(flights, source)).result(5)[0] == (0, False)  # and again


def test_what_a_source_raises_reaches_readers_in_all_threads(pool):
    ready = threading.Event()

    async def source():
        yield 1
        await asyncio.to_thread(ready.wait)
        raise ValueError("broken")

    flights = Flights()
    readers = [in_thread(pool, read_all(flights, source)) for _ in range(3)]
    until(lambda: readers_of(flights) == 3)
    ready.set()
    for reader in readers:
        with pytest.raises(ValueError, match="broken"):
            reader.result(5)


async def test_an_item_that_comes_with_the_end_is_not_lost():
    """The source's thread may add the last item and end between a reader's two looks."""

    async def source():
        await asyncio.sleep(60)
        yield

    flights = Flights()
    reader = flights.join("key", source)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0.01)
    flight = flights._by_key["key"]

    class Late(list):
        """Just after a reader saw that there is nothing new, there is, and it is the last."""

        looks = 0

        def __len__(self):
            seen = super().__len__()
            self.looks += 1
            if self.looks == 2:
                self.append("the last")
                flight.ended = True
                flight._wake()
            return seen

    flight.items = Late()
    flight._wake()
    assert await waiting == ("the last", False)
    await reader.aclose()


def test_many_threads_lose_no_item(pool):
    async def source():
        for number in range(200):
            yield number
            if number % 10 == 0:
                await asyncio.sleep(0)

    for turn in range(20):
        flights = Flights()
        readers = [in_thread(pool, read_all(flights, source)) for _ in range(4)]
        for reader in readers:
            assert [item for item, _ in reader.result(10)] == list(range(200)), turn


def across_threads(pool, router, ask, threads=4, tasks=25):
    """What `ask()` gave to each of many tasks, of several threads, all at once."""
    barrier = threading.Barrier(threads)

    async def one_thread():
        barrier.wait()
        answers = await asyncio.gather(*(ask() for _ in range(tasks)))
        await router.hub.close()
        return answers

    started = [in_thread(pool, one_thread()) for _ in range(threads)]
    return [answer for thread in started for answer in thread.result(30)]


def test_a_hundred_duplicates_across_threads_make_one_call(pool, make_router, slow_server):
    router = make_router(endpoints=ServerEndpoints(slow_server))
    answers = across_threads(pool, router, lambda: router.complete(QUERY))
    assert len(answers) == 100
    assert len({answer.text for answer in answers}) == 1
    assert len(slow_server.log) == router.session.calls == 1
    [billed] = [answer for answer in answers if answer.cost_usd]
    assert billed.cost_usd == router.session.cost
    assert not billed.shared
    assert all(answer.shared or answer.cached for answer in answers if answer is not billed)
    assert sum(answer.shared for answer in answers) > 50
    assert router.session.in_flight == 0


def test_a_hundred_duplicate_streams_across_threads_make_one_call(pool, make_router, slow_server):
    router = make_router(endpoints=ServerEndpoints(slow_server))
    streaming = StreamingRouter(router)
    answers = across_threads(pool, router, lambda: read(streaming))
    assert len(answers) == 100
    assert len({text for text, _ in answers}) == 1
    assert len(slow_server.log) == router.session.calls == 1
    told = [metadata for _, metadata in answers]
    assert all(metadata.end_state == "complete" for metadata in told)
    [billed] = [metadata for metadata in told if metadata.cost_usd]
    assert billed.cost_usd == router.session.cost
    assert all(metadata.shared or metadata.cached for metadata in told if metadata is not billed)
    assert sum(metadata.shared for metadata in told) > 50


def test_a_failure_reaches_every_thread(pool, make_router, slow_server):
    slow_server.script(*[Fault(status=400)] * 100)
    router = make_router(endpoints=ServerEndpoints(slow_server), policy=FixedPolicy("gpt-6-luna"))

    async def ask():
        try:
            return await router.complete(QUERY)
        except ProviderError as error:
            return error

    outcomes = across_threads(pool, router, ask, threads=2, tasks=10)
    assert all(isinstance(outcome, ProviderError) for outcome in outcomes)
    assert router.session.in_flight == 0


def test_a_script_that_pauses_between_chunks_holds_nobody_up(pool, make_router, slow_server):
    """`stream` reads only while its caller waits: nobody else may depend on that."""
    router = make_router(endpoints=ServerEndpoints(slow_server))
    streaming = StreamingRouter(router)
    chunks = streaming.stream(QUERY)
    first = next(chunks)
    text, metadata = in_thread(pool, read(streaming)).result(10)
    assert metadata.end_state == "complete"
    assert first.content + "".join(chunk.content for chunk in chunks) == text


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
