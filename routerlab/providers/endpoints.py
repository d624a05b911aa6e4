"""Who answers a provider's calls: the provider itself (live), or a stand-in that a plug-in offers.

Other modes register under the entry-point group `routerlab.endpoints`; the lab offers `simulated`
and `replayed`. Does not know: SDKs, or anything of the lab.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol, cast

from routerlab.catalog import ProviderSpec
from routerlab.errors import MissingKey, ModeError
from routerlab.types import Mode

GROUP = "routerlab.endpoints"


@dataclass(frozen=True)
class Connection:
    """Where to call and with which key; the key never shows in a representation."""

    base_url: str
    api_key: str = field(repr=False)


class Endpoints(Protocol):
    """Connections by provider, all of one mode."""

    @property
    def mode(self) -> Mode:
        """What kind of answers come from here."""

    def connect(self, provider: ProviderSpec) -> Connection:
        """Where this provider is called; may start a local server on the first call."""


class LiveEndpoints:
    """The providers themselves, with keys from the environment, read at call time."""

    mode: Mode = "live"

    def connect(self, provider: ProviderSpec) -> Connection:
        """The provider's own address; `MissingKey` names the variable and the alternatives."""
        key = os.environ.get(provider.key_env, "").strip()
        if not key:
            raise MissingKey(
                f"no key for {provider.name}: set {provider.key_env}, remove its models from "
                "data/catalog.toml, or use mode='simulated', which needs no key",
                provider=provider.id,
                model="",
                retryable=True,
            )
        return Connection(provider.base_url, key)


def open_endpoints(mode: str) -> Endpoints:
    """The endpoints of a mode; `ModeError` for one that nobody offers."""
    if mode == "live":
        return LiveEndpoints()
    offers = entry_points(group=GROUP)
    for offer in offers:
        if offer.name == mode:
            return cast("Endpoints", offer.load()())
    if mode in ("simulated", "replayed"):
        raise ModeError(
            f"mode {mode!r} is offered by the installed routerlab: run `make test` once, or "
            "`pip install --no-deps -e .` in this environment"
        )
    raise ModeError(f"unknown mode {mode!r}: use one of simulated, replayed, live")
