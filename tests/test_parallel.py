import os
from functools import partial

import numpy as np
import pytest

from routerlab.lab import parallel
from routerlab.lab.parallel import each


def product(seed):
    rows = np.random.default_rng(seed).normal(size=(300, 300))
    return rows @ rows


def where(_):
    return os.getpid()


def refused(number):
    raise ValueError(f"number {number}")


def counted(kept, _):
    kept.append(os.getpid())
    return len(kept)


@pytest.fixture
def at_once(monkeypatch):
    """Processes are started after the first item, on one core too."""
    _stopped()
    monkeypatch.setattr(parallel, "START_S", 0.0)
    monkeypatch.setattr(parallel, "_cores", lambda: 2)


def test_processes_give_the_same_bits_in_the_same_order(at_once):
    seeds = list(range(5))
    found = each(product, seeds, desc="products", unit="product")
    again = [parallel._on_one_thread(product, seed) for seed in seeds]
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_only_what_takes_long_starts_processes(at_once, monkeypatch):
    monkeypatch.setattr(parallel, "START_S", 60.0)
    assert set(each(where, range(6), desc="places", unit="place")) == {os.getpid()}
    monkeypatch.setattr(parallel, "START_S", 0.0)
    places = each(where, range(6), desc="places", unit="place")
    assert places[0] == os.getpid()
    assert os.getpid() not in places[1:]
    monkeypatch.setattr(parallel, "START_S", 60.0)
    # Those that run already take all.
    assert os.getpid() not in each(where, range(6), desc="places", unit="place")


def test_a_process_remembers_what_it_worked_on(at_once):
    each(where, range(3), desc="places", unit="place")
    numbers = each(partial(counted, []), range(8), desc="counts", unit="count")
    assert max(numbers) >= 4  # by two processes, each with a list of its own


def test_what_a_process_raises_is_raised_and_the_next_work_is_done(at_once):
    with pytest.raises(ValueError, match="number 0"):
        each(refused, range(3), desc="refused", unit="one")
    with pytest.raises(ValueError, match="number 1"):
        parallel._in_processes(refused, [1, 2], _Bar())
    assert each(abs, [-1, -2, -3], desc="again", unit="one") == [1, 2, 3]


def _stopped():
    if parallel._pool.cache_info().currsize:
        parallel._pool().shutdown()
    parallel._pool.cache_clear()


class _Bar:
    def update(self):
        pass
