"""The local server in a process of its own, for timings: in one process it would share the lock.

Run as a module it serves until its standard input closes. Does not know: what is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from routerlab.errors import ModeError
from routerlab.lab.simulator import Simulator
from routerlab.types import Mode


@dataclass(frozen=True)
class RemoteServer:
    """Where such a server is, as `ServerEndpoints` wants to know it."""

    url: str
    api_key: str = field(repr=False)
    mode: Mode = "simulated"


@contextmanager
def server_process(*, words: int, seed: int) -> Iterator[RemoteServer]:
    """A server without delays whose answers have that many words, as long as the context."""
    command = [sys.executable, "-m", __name__, "--words", str(words), "--seed", str(seed)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ModeError("the local server's process ended before it served: see its error")
        try:
            yield RemoteServer(**json.loads(line))
        finally:
            process.stdin.close()


def main() -> None:
    """Serve, say where, and wait for the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m routerlab.lab.serverprocess")
    parser.add_argument("--words", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    with Simulator(time_scale=0, seed=asked.seed, length=lambda _: asked.words) as server:
        sys.stdout.write(json.dumps({"url": server.url, "api_key": server.api_key}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
