"""The modes that the lab offers to the router: `simulated` and `replayed`, both by a local server.

Registered as entry points, so that the serving floor need not know the lab. Does not know: how the
server makes its answers.
"""

from __future__ import annotations

import atexit
import threading
from pathlib import Path
from typing import Protocol

from routerlab.catalog import ProviderSpec
from routerlab.errors import ModeError
from routerlab.lab.recordings import RECORDINGS_DIR
from routerlab.lab.simulator import Simulator
from routerlab.providers import Connection
from routerlab.types import Mode


class Server(Protocol):
    """A simulator that runs, here or in another process."""

    @property
    def url(self) -> str:
        """Where it listens."""

    @property
    def api_key(self) -> str:
        """What it takes as a key."""

    @property
    def mode(self) -> Mode:
        """What kind of answers come from it."""


class ServerEndpoints:
    """Connections to a server that runs already."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def mode(self) -> Mode:
        """The server's."""
        return self._server.mode

    def connect(self, provider: ProviderSpec) -> Connection:
        """The provider's place on the server."""
        # Anthropic's SDK adds /v1 by itself.
        version = "" if provider.adapter == "anthropic" else "/v1"
        return Connection(f"{self._server.url}/{provider.id}{version}", self._server.api_key)


class SimulatedEndpoints:
    """Synthetic answers from a server that starts on the first call and ends with the process."""

    mode: Mode = "simulated"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: Simulator | None = None

    def _start(self) -> Simulator:
        return Simulator().start()

    def connect(self, provider: ProviderSpec) -> Connection:
        """The provider's place on the server, which is started if it is not running."""
        with self._lock:
            if self._server is None:
                self._server = self._start()
                atexit.register(self._server.stop)
        return ServerEndpoints(self._server).connect(provider)


class ReplayedEndpoints(SimulatedEndpoints):
    """Recorded answers with their recorded timing; a request without a recording is refused."""

    mode: Mode = "replayed"

    def __init__(self, folder: Path = RECORDINGS_DIR) -> None:
        super().__init__()
        if not any(folder.glob("*.json")):
            raise ModeError(
                f"no recordings in {folder}: make some with `make record BUDGET_USD=…` (needs "
                "keys), or use the simulated mode"
            )
        self._folder = folder

    def _start(self) -> Simulator:
        return Simulator(recordings=self._folder).start()
