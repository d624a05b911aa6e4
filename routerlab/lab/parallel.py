"""The same work for many items, a process a core: fits and replays that do not wait for each other.

An item's result is the same wherever it was computed, since each has one thread for its products.
Does not know: what is computed. Never where time is what is measured.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from tqdm.auto import tqdm

from routerlab.blas import one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
START_S = 4.0
"""Processes are started where the rest would take longer than this one after the other: about what
they need until scikit-learn is imported. Those that run already take the first item too."""


def each(
    work: Callable[[Item], Result], items: Sequence[Item], *, desc: str, unit: str
) -> list[Result]:
    """`work` of every item, in their order; `work` and items must be picklable.

    A process unpacks `work` once, so what it remembers of one item serves the next. What a process
    raises is raised here. Broken off, the processes end with what they have in hand.
    """
    found: list[Result] = []
    began = time.perf_counter()
    alone = len(items) < 2
    with tqdm(total=len(items), desc=desc, unit=unit, leave=False, disable=alone) as bar:
        for number, item in enumerate(items):
            left = len(items) - number
            # The first item tells how long the others may take.
            each_s = (time.perf_counter() - began) / number if number else 0.0
            long = _pool.cache_info().currsize or each_s * left > START_S
            if left > 1 and long and _cores() > 1:
                break
            found.append(_on_one_thread(work, item))
            bar.update()
        rest = items[len(found) :]
        if rest:
            found += _in_processes(work, rest, bar)
    return found


def _in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], bar: tqdm[None]
) -> list[Result]:
    pool = _pool()
    packed = bytes(ForkingPickler.dumps(work))
    futures = [pool.submit(_in_process, packed, item) for item in items]
    for future in futures:
        future.add_done_callback(lambda _: bar.update())
    try:
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _pool.cache_clear()
        raise


def _on_one_thread(work: Callable[[Item], Result], item: Item) -> Result:
    """Of BLAS and OpenMP alike: a sum by two threads ends in other bits than by one."""
    with one_thread(whole=True):
        return work(item)


def _in_process(packed: bytes, item: Any) -> Any:
    return _on_one_thread(_unpacked(packed), item)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    work: Callable[[Any], Any] = ForkingPickler.loads(packed)
    return work


@lru_cache(maxsize=1)
def _pool() -> ProcessPoolExecutor:
    # Not forked: a copy of a process with running threads may wait for ever.
    context = get_context("spawn")
    return ProcessPoolExecutor(_cores(), mp_context=context, initializer=_alone)


def _alone() -> None:
    """One thread, set before NumPy is imported; an interrupt is for the parent to deal with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
