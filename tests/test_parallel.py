import os

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


@pytest.fixture
def at_once(monkeypatch):
    """Processes are started after the first item, on one core too."""
    monkeypatch.setattr(parallel, "START_S", -1.0)
    monkeypatch.setattr(parallel, "_cores", lambda: 2)


def test_processes_give_the_same_bits_in_the_same_order(at_once):
    seeds = list(range(5))
    found = each(product, seeds, desc="products", unit="product")
    again = [parallel._on_one_thread(product, seed) for seed in seeds]
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_only_what_takes_long_leaves_the_process(at_once, monkeypatch):
    assert len(set(each(where, range(6), desc="places", unit="place")) - {os.getpid()}) > 0
    monkeypatch.setattr(parallel, "START_S", 60.0)
    assert set(each(where, range(6), desc="places", unit="place")) == {os.getpid()}


def test_what_a_process_raises_is_raised_and_the_next_work_is_done(at_once):
    with pytest.raises(ValueError, match="number 0"):
        each(refused, range(3), desc="refused", unit="one")
    with pytest.raises(ValueError, match="number 1"):
        parallel._in_processes(refused, [1, 2], _Bar())
    assert each(abs, [-1, -2, -3], desc="again", unit="one") == [1, 2, 3]


class _Bar:
    def update(self):
        pass
