"""Batches of concurrent callers: who shares one, who waits, whose failure and whose leaving."""

import asyncio
import threading
import time

import numpy as np
import pytest

from routerlab.batching import Batcher
from routerlab.errors import RouterLabError
from routerlab.lab.queries import load_benchmark


class Work:
    """Doubles numbers, held up until `go`; odd ones fail. Keeps the batches that it was given."""

    def __init__(self):
        self.batches = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.begun.set()
        assert self.go.wait(10)
        return [ValueError(item) if item % 2 else 2 * item for item in items]


@pytest.fixture
def work():
    return Work()


async def held(batcher, work, *items):
    """Tasks of which the first is at work alone and the others wait for it."""
    first = asyncio.create_task(batcher.ask(0))
    await asyncio.to_thread(work.begun.wait, 10)
    others = [asyncio.create_task(batcher.ask(item)) for item in items]
    await asyncio.sleep(0)
    return [first, *others]


async def test_who_comes_meanwhile_shares_the_next_batch(work):
    tasks = await held(Batcher(work, most=3), work, 2, 4, 6, 8)
    work.go.set()
    assert await asyncio.gather(*tasks) == [0, 4, 8, 12, 16]
    assert work.batches == [[0], [2, 4, 6], [8]]


async def test_a_failure_is_its_own(work):
    tasks = await held(Batcher(work), work, 1, 2)
    work.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], str(found[1]), found[2]) == (0, "1", 4)


async def test_who_leaves_disturbs_nobody(work):
    tasks = await held(Batcher(work), work, 2, 4)
    for gone in tasks[:2]:  # one at work, one waiting
        gone.cancel()
    await asyncio.sleep(0)
    work.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert work.batches == [[0], [4]]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
async def test_broken_work_fails_its_batch_and_not_the_next(error):
    outcomes = [error, None]

    def work(items):
        if raised := outcomes.pop(0):
            raise raised
        return items

    batcher = Batcher(work)
    with pytest.raises((ValueError, RouterLabError), match=r"broken|ask again"):
        await batcher.ask(1)
    assert await batcher.ask(2) == 2


def test_across_threads_and_event_loops(work):
    batcher, found = Batcher(work), []

    def caller(item):
        found.append(asyncio.run(batcher.ask(item)))

    threads = [threading.Thread(target=caller, args=(2 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    work.begun.wait(10)
    work.go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [4 * n for n in range(8)]
    assert sum(map(len, work.batches)) == 8


def test_a_loop_that_is_closed_meanwhile_disturbs_nobody(work):
    batcher = Batcher(work)

    async def impatient():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.ask(2), 0.01)

    asyncio.run(impatient())
    work.go.set()
    assert asyncio.run(batcher.ask(4)) == 8


async def test_decisions_are_those_of_one_by_one(make_router):
    queries = [query.text for query in load_benchmark()][::4]
    router = make_router()
    together = await asyncio.gather(*map(router.route, queries))
    alone = [await router.route(query) for query in queries]
    for one, other in zip(together, alone, strict=True):
        a, b = one.decision, other.decision
        assert (a.query, a.tier, a.model, a.fallbacks) == (b.query, b.tier, b.model, b.fallbacks)
        assert a.input_tokens == b.input_tokens
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
        # Padding moves the last bits.
        assert float(one.vector @ other.vector) >= 0.99999


async def test_one_query_of_a_batch_fails_alone(make_router, embedder):
    class Picky:
        id, dimension = embedder.id, embedder.dimension

        def encode(self, texts):
            if any("bad" in text for text in texts):
                raise ValueError("no vector for that")
            return embedder.encode(texts)

    router = make_router(embedder=Picky())
    found = await asyncio.gather(
        *map(router.route_query, ["good one", "a bad one", "good two"]), return_exceptions=True
    )
    assert isinstance(found[1], ValueError)
    assert [found[0].query, found[2].query] == ["good one", "good two"]
    with pytest.raises(ValueError, match="no vector"):
        await router.route_many(["good one", "a bad one"])


async def test_an_exact_hit_waits_for_no_encode(make_router, embedder):
    class Slow:
        id, dimension = embedder.id, embedder.dimension
        begun, go = threading.Event(), threading.Event()

        def encode(self, texts):
            if "wait" in texts:
                self.begun.set()
                assert self.go.wait(10)
            return np.tile(embedder.encode(["any"]), (len(texts), 1))

    slow = Slow()
    router = make_router(embedder=slow)
    await router.complete("known")
    waiting = asyncio.create_task(router.route_query("wait"))
    await asyncio.to_thread(slow.begun.wait, 10)
    began = time.perf_counter()
    assert (await router.route_query("known")).cache.status == "exact"
    assert not waiting.done()
    assert time.perf_counter() - began < 5
    slow.go.set()
    await waiting
