"""Single flight: readers who ask for the same at the same time share one stream.

A slow reader holds nobody up, one who leaves ends it for nobody; when the last one leaves, the
stream is closed. Does not know: what the items are, how the stream comes about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Flight(Generic[Item]):
    """One stream, read by a task of its own into a list that every reader walks at their pace."""

    def __init__(self, source: AsyncGenerator[Item]) -> None:
        self.readers = 0
        self.items: list[Item] = []
        self.grown = asyncio.Event()
        self.task = asyncio.create_task(self._read(source))

    async def _read(self, source: AsyncGenerator[Item]) -> None:
        try:
            async with aclosing(source) as items:
                async for item in items:
                    self.items.append(item)
                    self.grown.set()
        finally:
            self.grown.set()

    async def close(self) -> None:
        self.task.cancel()
        # Its outcome was given to the readers, or nobody is left to hear of it.
        await asyncio.gather(self.task, return_exceptions=True)


class Flights(Generic[Item]):
    """Flights by key; a key is in the air from its first reader to its last item.

    Belongs to one event loop at a time: flights of another loop are never joined.
    """

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, Hashable], _Flight[Item]] = {}

    async def join(
        self, key: Hashable, source: Callable[[], AsyncGenerator[Item]]
    ) -> AsyncGenerator[tuple[Item, bool]]:
        """The items of the flight of that key, opened from `source` where none is in the air.

        Each with whether this reader joined a flight that another one opened. What the source
        raises, every reader gets.
        """
        place = id(asyncio.get_running_loop()), key
        flight, joined = self._by_key.get(place), True
        if flight is None or flight.task.done():
            flight, joined = _Flight(source()), False
            self._by_key[place] = flight
        flight.readers += 1
        try:
            seen = 0
            while True:
                while seen < len(flight.items):
                    yield flight.items[seen], joined
                    seen += 1
                if flight.task.done():
                    await flight.task
                    return
                flight.grown.clear()
                if seen == len(flight.items) and not flight.task.done():
                    await flight.grown.wait()
        finally:
            flight.readers -= 1
            if flight.readers == 0:
                if self._by_key.get(place) is flight:
                    del self._by_key[place]
                await flight.close()
