"""Single flight: who asks for the same at the same time shares one call, across tasks and threads.

A slow reader holds nobody up, one who leaves ends it for nobody; when the last one leaves, the
call is closed. Does not know: what the items are, how they come about.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

from routerlab.errors import RouterLabError

Item = TypeVar("Item")
_LOOK_AFTER_S = 0.5
"""Seconds after which a reader looks whether the other thread's event loop is still there."""


class _Flight(Generic[Item]):
    """One source, read by a task of its own into a list that every reader walks at their pace.

    The task runs on the event loop of the first reader; readers may be on others.
    """

    def __init__(self, source: AsyncGenerator[Item]) -> None:
        self.readers = 0
        self.items: list[Item] = []
        self.ended = False
        self.error: BaseException | None = None
        self.loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self.task = self.loop.create_task(self._read(source))

    async def _read(self, source: AsyncGenerator[Item]) -> None:
        try:
            async with aclosing(source) as items:
                async for item in items:
                    self.items.append(item)
                    self._wake()
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        for event, loop in list(self._waiting.items()):
            if loop is self.loop:
                event.set()
            else:
                with suppress(RuntimeError):  # that loop is closed, so nobody waits there
                    loop.call_soon_threadsafe(event.set)

    async def read(self) -> AsyncGenerator[Item]:
        """Every item from the first on; then what the source raised, if it did."""
        grown = asyncio.Event()
        self._waiting[grown] = asyncio.get_running_loop()
        try:
            seen = 0
            while True:
                while seen < len(self.items):
                    yield self.items[seen]
                    seen += 1
                grown.clear()
                ended = self.ended  # looked at first: another thread adds its last item before
                if seen < len(self.items):
                    continue
                if ended:
                    break
                await self._growth(grown)
        finally:
            del self._waiting[grown]
        if isinstance(self.error, Exception):
            raise self.error
        if self.error is not None:
            raise RouterLabError("the call that this one shared was cancelled: ask again")

    async def _growth(self, grown: asyncio.Event) -> None:
        """Wait for more; a loop that was closed without an end for its tasks is the end."""
        if self.loop is asyncio.get_running_loop():
            await grown.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AFTER_S):
                await grown.wait()
        if self.loop.is_closed() and not self.ended:
            self.error, self.ended = asyncio.CancelledError(), True

    async def close(self) -> None:
        if self.loop is not asyncio.get_running_loop():
            with suppress(RuntimeError):  # closed: its tasks are cancelled already
                self.loop.call_soon_threadsafe(self.task.cancel)
            return
        self.task.cancel()
        # Its outcome was given to the readers, or nobody is left to hear of it.
        await asyncio.gather(self.task, return_exceptions=True)


class Flights(Generic[Item]):
    """Flights by key; a key is in the air from its first reader to its last item. Thread-safe."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, _Flight[Item]] = {}
        self._lock = threading.Lock()

    async def join(
        self, key: Hashable, source: Callable[[], AsyncGenerator[Item]]
    ) -> AsyncGenerator[tuple[Item, bool]]:
        """The items of the flight of that key, opened from `source` where none is in the air.

        Each with whether this reader joined a flight that another one opened. What the source
        raises, every reader gets. `RouterLabError` for a reader whose flight was cancelled with the
        event loop of another thread.
        """
        with self._lock:
            flight = self._by_key.get(key)
            joined = flight is not None and not flight.ended and not flight.loop.is_closed()
            if flight is None or not joined:
                flight = self._by_key[key] = _Flight(source())
            flight.readers += 1
        try:
            async with aclosing(flight.read()) as items:
                async for item in items:
                    yield item, joined
        finally:
            with self._lock:
                flight.readers -= 1
                last = flight.readers == 0
                if last and self._by_key.get(key) is flight:
                    del self._by_key[key]
            if last:
                await flight.close()
