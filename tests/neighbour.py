"""Another process at the same cache file: run as a script, spoken to in lines of JSON.

With `--kill` it is a nursery instead: it forks writers and kills each one in the middle.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


class Neighbour:
    """A child process that does to a cache what it is told."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, *arguments: object) -> object:
        """What the method `do` of `_Cache` returned there."""
        self._process.stdin.write(f"{json.dumps([do, *arguments])}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class _Cache:
    def open(self, path: str, max_entries: int) -> None:
        from routerlab.cache import SemanticCache

        self.cache = SemanticCache(f"sqlite:///{path}", threshold=0.9, max_entries=max_entries)

    def put(self, text: str, answer: str, *place: float) -> int:
        from entries import PUT, key, unit

        return self.cache.put(key(text), unit(*place), answer, **PUT)

    def exact(self, text: str) -> str | None:
        from entries import key

        return self.cache.get(key(text)).answer

    def near(self, *place: float) -> str | None:
        from entries import key, unit

        return self.cache.get(key("a text nobody stored"), unit(*place)).answer

    def forget(self, entry_id: int) -> bool:
        return self.cache.forget(entry_id)

    def entries(self) -> int:
        return self.cache.stats().entries

    def close(self) -> None:
        self.cache.close()


def write_until_killed(path: Path, acknowledge: int, first: int) -> None:
    """Store answers for ever: new texts, and at every third step a new answer to the same one."""
    from entries import PUT, key, unit

    from routerlab.cache import SemanticCache

    cache = SemanticCache(f"sqlite:///{path}")
    for number in range(first, first + 1_000_000):
        text = "the same text" if number % 3 == 0 else f"text {number}"
        entry_id = cache.put(key(text), unit(1, number), f"answer {number} " * 40, **PUT)
        os.write(acknowledge, f"{number} {entry_id}\n".encode())


def kill_writers(path: Path, rounds: int) -> list[int]:
    """Kill a writer a round; the numbers that it acknowledged are all that is returned."""
    import entries  # noqa: F401  (imported before the fork, so that a round is short)

    import routerlab.cache.sqlite  # noqa: F401

    draw, acknowledged, next_number = random.Random(0), [], 0
    for _ in range(rounds):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            write_until_killed(path, tell, next_number)
        os.close(tell)
        said = os.read(told, 1 << 16)
        time.sleep(draw.uniform(0, 0.008))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(told, 1 << 16):
            said += more
        os.close(told)
        numbers = [int(line.split()[0]) for line in said.decode().splitlines()]
        _check(path, numbers)
        acknowledged += numbers
        next_number = numbers[-1] + 2  # the one after the last may have been stored too
    return acknowledged


def _check(path: Path, numbers: list[int]) -> None:
    from entries import key, unit

    from routerlab.cache import SemanticCache

    cache = SemanticCache(f"sqlite:///{path}", threshold=0.9999)
    for number in numbers:
        if number % 3:
            assert cache.get(key(f"text {number}")).answer == f"answer {number} " * 40
    kept = cache.get(key("the same text"))
    replaced = [number for number in numbers if number % 3 == 0]
    if replaced:
        assert int(kept.answer.split()[1]) >= replaced[-1]
    assert cache.get(key("asked"), unit(1, numbers[-1])).hit
    cache.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kill"]:
        sys.stdout.write(json.dumps(kill_writers(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        told_cache = _Cache()
        for line in sys.stdin:
            method, *given = json.loads(line)
            sys.stdout.write(f"{json.dumps(getattr(told_cache, method)(*given))}\n")
            sys.stdout.flush()
