"""Concurrent callers share a batch: those who come while one is at work wait for the next.

A lone caller waits for nobody. Callers may be tasks of any event loop in any thread. Does not
know: what is worked on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from routerlab.errors import RouterLabError

Asked = TypeVar("Asked")
Given = TypeVar("Given")

MOST = 64
"""Items a batch: more would let the first of them wait longer and save little."""


class Batcher(Generic[Asked, Given]):
    """Works on what its callers ask, in batches of at most `most`, in one thread of its own.

    `work` gives for each item its result or the exception that its caller gets. What `work` itself
    raises, every caller of that batch gets. Thread-safe.
    """

    def __init__(
        self, work: Callable[[Sequence[Asked]], Sequence[Given | Exception]], most: int = MOST
    ) -> None:
        if most < 1:
            raise ValueError(f"a batch has at least 1 item, got {most}")
        self.most = most
        self._work = work
        self._waiting: deque[tuple[Asked, Future[Given]]] = deque()
        self._lock = threading.Lock()
        self._busy = False
        # Its own, and not an event loop's: a loop that ends waits for its threads, and this one may
        # be at work for another.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="routerlab-batch")

    async def ask(self, item: Asked) -> Given:
        """The result of an item. A caller that is cancelled while it waits drops out alone."""
        future: Future[Given] = Future()
        with self._lock:
            self._waiting.append((item, future))
            idle, self._busy = not self._busy, True
        if idle:
            self._thread.submit(self._drain)
        return await asyncio.wrap_future(future)

    def _drain(self) -> None:
        while batch := self._next():
            # Taken now: from here on a caller that leaves disturbs nobody.
            taken = [(i, future) for i, future in batch if future.set_running_or_notify_cancel()]
            if not taken:
                continue
            try:
                results = self._work([item for item, _ in taken])
            except BaseException as error:
                # The thread must outlive whatever is raised, or all who come later wait for good.
                results = [error if isinstance(error, Exception) else _stopped(error)] * len(taken)
            for (_, future), result in zip(taken, results, strict=True):
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next(self) -> list[tuple[Asked, Future[Given]]]:
        with self._lock:
            count = min(self.most, len(self._waiting))
            self._busy = count > 0
            return [self._waiting.popleft() for _ in range(count)]


def _stopped(error: BaseException) -> RouterLabError:
    return RouterLabError(f"the batch was stopped by {error!r}: ask again")
