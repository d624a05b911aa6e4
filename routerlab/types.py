"""Records that pass between the parts: decisions, usage, completions, stream chunks.

Does not know: how a decision is reached, any provider, any file.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from routerlab.errors import UnknownTier

Tier = Literal["simple", "medium", "complex", "reasoning"]
TIERS: tuple[Tier, ...] = get_args(Tier)
"""The four tiers, easiest first."""

Mode = Literal["simulated", "replayed", "live"]
CacheStatus = Literal["exact", "semantic", "miss", "off"]
EndState = Literal["complete", "truncated", "cancelled", "error"]
ChunkKind = Literal["start", "delta", "restart", "end"]
UsageSource = Literal["provider", "estimated", "partial", "cache"]


def as_tier(name: str) -> Tier:
    """The tier of that name; `UnknownTier` otherwise."""
    for tier in TIERS:
        if tier == name:
            return tier
    raise UnknownTier(f"unknown tier {name!r}: the tiers are {', '.join(TIERS)}")


@dataclass(frozen=True)
class TokenCount:
    """Tokens of a text for a model, with how far the count can be trusted.

    `exact`: the model's own tokenizer. `calibrated`: another tokenizer times a measured factor.
    `rough`: no measurement for this model. `low` and `high` are the band.
    """

    tokens: int
    low: int
    high: int
    kind: Literal["exact", "calibrated", "rough"]


@dataclass(frozen=True)
class CostEstimate:
    """Cost in USD before a call: expected, and the band of token count and answer length."""

    usd: float
    low: float
    high: float


@dataclass(frozen=True)
class Audit:
    """A cache decision to be judged: is `answer`, stored for `source`, right for `asked` too?

    `rate`: the chance that such a decision was picked.
    """

    asked: str
    source: str
    answer: str = field(repr=False)
    score: float
    cosine: float
    rate: float


@dataclass(frozen=True)
class CacheResult:
    """What the cache said. `age_s` is seconds since the answer was stored.

    `score`: probability that the answer serves, by the cache's verifier (the cosine where it has
    none); of a miss, the best candidate's. `threshold`: least score to be served. `audit`: set
    where the decision is to be judged.
    """

    status: CacheStatus
    entry_id: int | None = None
    answer: str | None = None
    tier: Tier | None = None
    model: str | None = None
    provider: str | None = None
    score: float | None = None
    threshold: float | None = None
    cosine: float | None = None
    source_query: str | None = None
    age_s: float | None = None
    audit: Audit | None = field(default=None, repr=False)

    @property
    def hit(self) -> bool:
        """Whether an answer was found."""
        return self.status in ("exact", "semantic")


@dataclass(frozen=True)
class RouteDecision:
    """Where a query should go, and why. Times in milliseconds, costs in USD.

    `route_ms` is the wall time to route; `stages_ms` are its parts, hand-over between threads and
    loading on the first call left out. `probabilities` is empty for an answer from the cache.
    """

    query: str
    tier: Tier
    probabilities: Mapping[Tier, float]
    model: str
    provider: str
    fallbacks: tuple[str, ...]
    input_tokens: TokenCount
    expected_output_tokens: int
    cost: CostEstimate
    cache: CacheResult
    stages_ms: Mapping[str, float]
    route_ms: float
    policy: str
    mode: Mode
    notes: tuple[str, ...] = ()

    def _rows(self) -> list[tuple[str, str]]:
        shares = ", ".join(f"{t} {p:.0%}" for t, p in self.probabilities.items())
        cache: str = self.cache.status
        if self.cache.hit and self.cache.score is not None:
            cache += f" (score {self.cache.score:.3f}, of: {_short(self.cache.source_query or '')})"
        count = self.input_tokens
        return [
            ("query", _short(self.query)),
            ("tier", f"{self.tier} ({shares})" if shares else self.tier),
            ("model", f"{self.model} ({self.provider})"),
            ("fallbacks", ", ".join(self.fallbacks) or "none"),
            ("cache", cache),
            ("input tokens", f"{count.tokens} ({count.kind}, {count.low} to {count.high})"),
            (
                "estimated cost",
                "nothing: answered from the cache"
                if self.cache.hit
                else f"${self.cost.usd:.6f} (${self.cost.low:.6f} to ${self.cost.high:.6f})",
            ),
            (
                "time to route",
                f"{self.route_ms:.2f} ms: "
                + ", ".join(f"{name} {ms:.2f}" for name, ms in self.stages_ms.items()),
            ),
            ("policy, mode", f"{self.policy}, {self.mode}"),
            *(("note", note) for note in self.notes),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:>15}  {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:right'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._rows()
        )
        return f"<table>{rows}</table>"


def _short(text: str, most: int = 80) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


@dataclass(frozen=True)
class Usage:
    """Billable tokens of one answer, normalised over the providers.

    `input_tokens` includes `cached_input_tokens`, read from a prompt cache, and
    `cache_write_tokens`, written to one; `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "provider"
    cache_write_tokens: int = 0


@dataclass(frozen=True)
class Attempt:
    """One call to one model: how it ended and what it cost (USD)."""

    model: str
    provider: str
    end_state: EndState
    usage: Usage
    cost_usd: float
    error: str | None = None


@dataclass(frozen=True)
class Completion:
    """An answer with its bill. Times in milliseconds; `cost_usd` covers every attempt.

    `shared`: an equal query in flight got the answer and the bill, so the cost is 0 here.
    """

    text: str
    model: str
    provider: str
    usage: Usage
    cost_usd: float
    total_ms: float
    end_state: EndState
    cached: bool
    mode: Mode
    decision: RouteDecision
    attempts: tuple[Attempt, ...] = ()
    shared: bool = False

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        source = "cache" if self.cached else f"{self.model} ({self.provider})"
        head = f"{source} · ${self.cost_usd:.6f} · {self.total_ms:.0f} ms · {self.mode}"
        return f"<p><small>{html.escape(head)}</small></p><pre>{html.escape(self.text)}</pre>"


@dataclass(frozen=True)
class StreamMetadata:
    """What the last chunk of a stream carries. Times in milliseconds, `cost_usd` of every attempt.

    `ttft_ms` runs from the call to the first text; the inter-token times are between pieces of
    text as they came, None for fewer than two. `shared`: another reader opened this stream and was
    billed for it, so its cost is 0 here.
    """

    model: str
    provider: str
    usage: Usage
    cost_usd: float
    ttft_ms: float | None
    inter_token_p50_ms: float | None
    inter_token_p95_ms: float | None
    total_ms: float
    end_state: EndState
    cached: bool
    mode: Mode
    decision: RouteDecision
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None
    shared: bool = False


@dataclass(frozen=True)
class StreamChunk:
    """A piece of a streamed answer; the last one is `done` and carries `metadata`.

    `kind`: `start` is the first text, `restart` says that the text so far is void and starts anew
    (its content is empty), `end` is the last, everything else is a `delta`.
    """

    content: str
    done: bool = False
    metadata: StreamMetadata | None = field(default=None, repr=False)
    kind: ChunkKind = "delta"
