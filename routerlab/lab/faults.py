"""What can go wrong with one request, and how that alters a reply's events or its whole body.

Pure: takes events and gives events. Does not know: sockets, delays, where the answer comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from routerlab.lab import wire

Event = tuple[int, bytes]
"""The number of the piece that an event waits for, and the event's bytes."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; fields combine, and apply to whole replies where they can.

    `status` refuses it, with `retry_after_s` as its header; `refused` breaks the connection before
    any byte; `stall_s` holds still before piece `stall_after`; `cut_after` breaks the connection
    after that many pieces, `cut_at_byte` after that many bytes; `malformed_after` puts an event
    that is not JSON in place of all that follows, `error_after` an error of the kind `error_kind`
    (None: the provider's for overload); `no_finish` ends the stream cleanly without a finish
    reason; `finish` is the provider's own reason in place of the usual; `packets` cuts the stream
    into packets of that many bytes, or at those offsets.
    """

    status: int | None = None
    retry_after_s: float | None = None
    cut_after: int | None = None
    cut_at_byte: int | None = None
    no_finish: bool = False
    refused: bool = False
    stall_s: float = 0.0
    stall_after: int = 0
    malformed_after: int | None = None
    error_after: int | None = None
    error_kind: str | None = None
    finish: str | None = None
    packets: int | tuple[int, ...] | None = None

    @property
    def cut(self) -> bool:
        """Whether the connection breaks in place of an end."""
        return self.cut_after is not None or self.cut_at_byte is not None


def events(
    provider: str, answer: wire.WireAnswer, fault: Fault, *, usage_asked: bool
) -> Iterator[Event]:
    """The stream of an answer as the fault leaves it; after a cut, nothing more comes."""
    answer = _finished(answer, fault)
    made = (
        wire.anthropic_events(answer, with_finish=not fault.no_finish)
        if provider == "anthropic"
        else wire.openai_events(
            answer,
            provider,
            with_usage=usage_asked or provider == "mistral",
            with_finish=not fault.no_finish,
        )
    )
    altered = _broken(made, provider, fault)
    if fault.cut_at_byte is not None:
        altered = _first_bytes(altered, fault.cut_at_byte)
    return altered if fault.packets is None else _packets(altered, fault.packets)


def body(provider: str, answer: wire.WireAnswer, fault: Fault) -> bytes:
    """The whole reply as the fault leaves it; a malformed or cut one lacks its second half."""
    answer = _finished(answer, fault)
    made: dict[str, Any] = (
        wire.anthropic_body(answer)
        if provider == "anthropic"
        else wire.openai_body(answer, provider)
    )
    if fault.error_after is not None:
        made = wire.in_band_error(provider, fault.error_kind)
    data = json.dumps(made, ensure_ascii=False).encode()
    return data if fault.malformed_after is None else data[: len(data) // 2]


def _finished(answer: wire.WireAnswer, fault: Fault) -> wire.WireAnswer:
    return replace(answer, finish=None if fault.no_finish else fault.finish or answer.finish)


def _broken(made: Iterable[Event], provider: str, fault: Fault) -> Iterator[Event]:
    for number, event in made:
        if fault.cut_after is not None and number >= fault.cut_after:
            return
        if fault.malformed_after is not None and number >= fault.malformed_after:
            yield number, wire.event("content_block_delta", '{"choices": [{"delta": {"con')
            return
        if fault.error_after is not None and number >= fault.error_after:
            error = json.dumps(wire.in_band_error(provider, fault.error_kind))
            yield number, wire.event("error" if provider == "anthropic" else None, error)
            return
        yield number, event


def _first_bytes(made: Iterable[Event], left: int) -> Iterator[Event]:
    for number, event in made:
        if left > 0:
            yield number, event[:left]
        left -= len(event)


def _packets(made: Iterable[Event], cuts: int | tuple[int, ...]) -> Iterator[Event]:
    """The same bytes in other packets; each waits for the last piece that it has a byte of."""
    whole = list(made)
    data = b"".join(event for _, event in whole)
    ends = range(cuts, len(data), cuts) if isinstance(cuts, int) else cuts
    numbers, seen, at = iter(whole), 0, 0
    number = -1
    for end in sorted({*(end for end in ends if 0 < end < len(data)), len(data)} - {0}):
        while seen < end:
            number, event = next(numbers)
            seen += len(event)
        yield number, data[at:end]
        at = end
