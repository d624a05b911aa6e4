"""Keeps NumPy's products on one thread while a query is routed, or where bits must not differ.

OpenBLAS wakes its helper threads even for one small product, and they spin for some 25 ms after
it: measured on two cores, that slowed the next encode and the stream that followed by more than
the product took. Does not know: what is computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_lock = threading.Lock()
_limits: list[Any] = []
_users = 0


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _let_this_thread_set() -> None:
    # threadpoolctl heeds only the thread that set OpenBLAS's limit first, and ignores all others
    # silently; here any thread may be the first to come or the last to go.
    for library in _controller().lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


@contextmanager
def one_thread(*, whole: bool = False) -> Iterator[None]:
    """One BLAS thread in this process until the last of all who asked for it is done.

    `whole`: OpenMP's threads too, and in libraries that were loaded since the last look; for long
    work that nothing else in this process goes beside.
    """
    global _users
    with _lock:
        if _users == 0:
            if whole:
                _controller.cache_clear()
            _let_this_thread_set()
            limit = _controller().limit(limits=1, user_api=None if whole else "blas")
            _limits.append(limit)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _let_this_thread_set()
                _limits.pop().restore_original_limits()
