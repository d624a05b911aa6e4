"""What router and adapters say to each other: requests, events, and the `Provider` protocol.

Does not know: any SDK, routing, caching, prices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from routerlab.catalog import ModelSpec
from routerlab.query import Message
from routerlab.types import EndState, Usage


@dataclass(frozen=True)
class Deadlines:
    """Seconds to connect, between two reads, to the first token, and for the whole answer.

    The adapters hold `connect_s` and `read_s` (of every read, so also of the first); who calls them
    holds the others. `retries`: tries of the SDK beyond the first, before an answer has begun.
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    total_s: float = 600.0
    first_token_s: float = 60.0
    retries: int = 2

    @property
    def until_first_text_s(self) -> float:
        """What ends the wait for the first text: its own deadline, or the whole answer's."""
        return min(self.first_token_s, self.total_s)


@dataclass(frozen=True)
class ChatRequest:
    """What to ask a model. `json_schema` asks for structured output by that schema."""

    model: ModelSpec
    messages: tuple[Message, ...]
    max_output_tokens: int
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TextDelta:
    """A piece of a streamed answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end of a streamed answer, as the provider stated it; `usage` None where it sent none."""

    end_state: EndState
    usage: Usage | None


@dataclass(frozen=True)
class Answer:
    """An answer that came in one piece."""

    text: str
    end_state: EndState
    usage: Usage | None


class Provider(Protocol):
    """One provider's API. Failures are `ProviderError`s; a stream ends with one `Finished`."""

    async def complete(self, request: ChatRequest) -> Answer:
        """The whole answer."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | Finished]:
        """The answer as it comes; close the generator to hang up."""

    async def close(self) -> None:
        """Close the connections."""
