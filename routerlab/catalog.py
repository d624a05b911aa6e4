"""The catalog: providers, models, their tiers, prices on a date and token counters, read from TOML.

Does not know: API keys, SDKs, or what a call really costs (see `billing`).
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from routerlab.errors import CatalogError, RouterLabError, UnknownModel
from routerlab.files import DATA_DIR
from routerlab.types import TIERS, Tier, as_tier

DEFAULT_CATALOG = DATA_DIR / "catalog.toml"
VERSION = 1


@dataclass(frozen=True)
class TokenCounter:
    """How o200k_base counts turn into a model's own: times `factor`, between `low` and `high`."""

    kind: Literal["exact", "calibrated", "rough"]
    factor: float
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "calibrated", "rough"):
            raise CatalogError(f"counter kind {self.kind!r} is not exact, calibrated or rough")
        if not 0 < self.low <= self.factor <= self.high:
            raise CatalogError(f"need 0 < low <= factor <= high, got {self}")


@dataclass(frozen=True)
class ProviderSpec:
    """One provider: which adapter speaks to it, where, and its quirks.

    `stream_usage`: `ask` sends `stream_options`, `sent` means that usage comes unasked.
    `price_provider` is its name in genai-prices; without one the catalog's prices hold.
    """

    id: str
    name: str
    adapter: Literal["openai", "anthropic"]
    base_url: str
    key_env: str
    limit_parameter: str
    stream_usage: Literal["ask", "sent"]
    price_provider: str | None = None

    def __post_init__(self) -> None:
        if self.adapter not in ("openai", "anthropic"):
            raise CatalogError(f"provider {self.id}: adapter {self.adapter!r} is unknown")
        if self.stream_usage not in ("ask", "sent"):
            raise CatalogError(f"provider {self.id}: stream_usage must be 'ask' or 'sent'")
        if not self.base_url.startswith(("https://", "http://")):
            raise CatalogError(f"provider {self.id}: base_url must start with https:// or http://")


@dataclass(frozen=True)
class LongContext:
    """USD per million tokens, for the whole call, where its input has more than `above` tokens."""

    above: int
    input_usd_per_mtok: float
    output_usd_per_mtok: float


@dataclass(frozen=True)
class ModelSpec:
    """One model. Prices in USD per million tokens.

    `ttft_ms`, `tokens_per_s` and `hidden_reasoning` (billed tokens beside each shown one) are
    assumptions.
    """

    id: str
    provider: str
    tier: Tier
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    counter: TokenCounter
    ttft_ms: float
    tokens_per_s: float
    hidden_reasoning: float = 0.0
    long_context: LongContext | None = None

    def list_price(self, input_tokens: int, output_tokens: int) -> float:
        """USD for that many tokens at the catalog's prices, none of the input cached."""
        long = self.long_context
        rates = long if long is not None and input_tokens > long.above else self
        return (
            input_tokens * rates.input_usd_per_mtok + output_tokens * rates.output_usd_per_mtok
        ) / 1e6


@dataclass(frozen=True)
class Catalog:
    """All providers and models, checked; models keep the order of the file."""

    price_date: dt.date
    providers: Mapping[str, ProviderSpec]
    models: tuple[ModelSpec, ...]
    expected_output_tokens: Mapping[Tier, int]

    @cached_property
    def _by_id(self) -> dict[str, ModelSpec]:
        return {model.id: model for model in self.models}

    @cached_property
    def _by_tier(self) -> dict[Tier, tuple[ModelSpec, ...]]:
        ranked = sorted(self.models, key=self.cost_of)
        return {tier: tuple(m for m in ranked if m.tier == tier) for tier in TIERS}

    def model(self, model_id: str) -> ModelSpec:
        """The model of that id; `UnknownModel` names those that exist."""
        if model_id not in self._by_id:
            raise UnknownModel(f"unknown model {model_id!r}: the catalog has {list(self._by_id)}")
        return self._by_id[model_id]

    def provider_of(self, model_id: str) -> ProviderSpec:
        """The provider that serves a model."""
        return self.providers[self.model(model_id).provider]

    def expected_output(self, model: ModelSpec, tier: Tier) -> int:
        """Billable output tokens to expect of a model for a query of that tier."""
        visible = self.expected_output_tokens[tier] * model.counter.factor
        return round(visible * (1 + model.hidden_reasoning))

    def cost_of(self, model: ModelSpec) -> float:
        """USD of a typical answer of the model's own tier to a 100-token prompt: for ranking."""
        return model.list_price(100, self.expected_output(model, model.tier))

    def of_tier(self, tier: str) -> tuple[ModelSpec, ...]:
        """Models that serve a tier, cheapest first; `UnknownTier` for a wrong name."""
        return self._by_tier[as_tier(tier)]


def load_catalog(path: Path | str = DEFAULT_CATALOG) -> Catalog:
    """Read and check a catalog; `CatalogError` names the file and what is wrong in it."""
    try:
        with Path(path).open("rb") as stream:
            return _parse(tomllib.load(stream))
    except OSError as error:
        raise CatalogError(f"cannot read the catalog {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RouterLabError) as error:
        what = f"{error} is missing" if type(error) is KeyError else str(error)
        raise CatalogError(f"{path} is malformed: {what}. Compare it with data/catalog.toml") from (
            error
        )


_Record = TypeVar("_Record", TokenCounter, ProviderSpec)


def _record(cls: type[_Record], what: str, fields: Mapping[str, Any], **known: Any) -> _Record:
    try:
        return cls(**fields, **known)
    except TypeError as error:
        raise CatalogError(f"{what}: {str(error).replace('__init__() ', '')}") from error


def _parse(raw: dict[str, Any]) -> Catalog:
    if raw.get("version") != VERSION:
        raise CatalogError(f"version is {raw.get('version')!r}, this code reads {VERSION}")
    counters = {
        name: _record(TokenCounter, f"counters.{name}", fields)
        for name, fields in raw["counters"].items()
    }
    providers = {
        name: _record(ProviderSpec, f"providers.{name}", fields, id=name)
        for name, fields in raw["providers"].items()
    }
    models = tuple(_parse_model(fields, counters, providers) for fields in raw["models"])
    if len({model.id for model in models}) != len(models):
        raise CatalogError("two models have the same id")
    if missing := [tier for tier in TIERS if tier not in {m.tier for m in models}]:
        raise CatalogError(f"no model serves {', '.join(missing)}")
    expected = {tier: int(raw["expected_output_tokens"][tier]) for tier in TIERS}
    if not isinstance(raw["price_date"], dt.date):
        raise CatalogError("price_date must be a date such as 2026-11-01, without quotes")
    return Catalog(raw["price_date"], providers, models, expected)


def _parse_model(
    fields: Mapping[str, Any],
    counters: Mapping[str, TokenCounter],
    providers: Mapping[str, ProviderSpec],
) -> ModelSpec:
    name = fields["id"]
    try:
        if fields["provider"] not in providers:
            raise CatalogError(f"its provider {fields['provider']!r} is not in [providers]")
        if fields["counter"] not in counters:
            raise CatalogError(f"its counter {fields['counter']!r} is not in [counters]")
        price_in, price_out = (float(price) for price in fields["usd_per_mtok"])
        speed = float(fields["tokens_per_s"])
        if price_in < 0 or price_out < 0 or speed <= 0 or float(fields["ttft_ms"]) < 0:
            raise CatalogError("a price or delay is negative, or a speed is not above zero")
        return ModelSpec(
            id=name,
            provider=fields["provider"],
            tier=as_tier(fields["tier"]),
            input_usd_per_mtok=price_in,
            output_usd_per_mtok=price_out,
            counter=counters[fields["counter"]],
            ttft_ms=float(fields["ttft_ms"]),
            tokens_per_s=speed,
            hidden_reasoning=float(fields.get("hidden_reasoning", 0.0)),
            long_context=_parse_long_context(fields.get("long_context"), (price_in, price_out)),
        )
    except KeyError as error:
        what = str(error) if isinstance(error, RouterLabError) else f"{error} is missing"
        raise CatalogError(f"model {name!r}: {what}") from error
    except (TypeError, ValueError, CatalogError) as error:
        raise CatalogError(f"model {name!r}: {error}") from error


def _parse_long_context(
    fields: Mapping[str, Any] | None, plain: tuple[float, float]
) -> LongContext | None:
    if fields is None:
        return None
    price_in, price_out = (float(price) for price in fields["usd_per_mtok"])
    above = int(fields["above"])
    if above <= 0 or price_in < plain[0] or price_out < plain[1]:
        raise CatalogError("long_context needs above > 0 and prices not under the plain ones")
    return LongContext(above, price_in, price_out)
