"""A circuit breaker per provider: one that keeps failing is asked last until it has cooled down.

Does not know: what a call is, why it failed, what else could be asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Circuit:
    failures: int = 0
    opened_at: float | None = None


@dataclass
class CircuitBreaker:
    """Opens a provider's circuit after `threshold` failures in a row, for `cool_down_s` seconds.

    After that one call may try again: a success closes the circuit, a failure opens it anew.
    `clock` gives seconds. Thread-safe.
    """

    threshold: int = 5
    cool_down_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _circuits: dict[str, _Circuit] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def is_open(self, provider: str) -> bool:
        """Whether the provider should be passed over for now."""
        with self._lock:
            circuit = self._circuits.get(provider)
            if circuit is None or circuit.opened_at is None:
                return False
            return self.clock() - circuit.opened_at < self.cool_down_s

    def record(self, provider: str, *, ok: bool) -> None:
        """Count how a call to the provider went."""
        with self._lock:
            if ok:
                self._circuits.pop(provider, None)
                return
            circuit = self._circuits.setdefault(provider, _Circuit())
            circuit.failures += 1
            if circuit.failures >= self.threshold:
                circuit.opened_at = self.clock()
