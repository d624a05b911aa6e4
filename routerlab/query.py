"""What a caller may ask: a string or chat messages, checked and put into one form.

Does not know: tiers, models, the cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from routerlab.errors import InvalidQuery

Query = str | Sequence[Mapping[str, str]]
"""What a caller may pass: a string, or chat messages `{"role": ..., "content": ...}`."""

MAX_QUERY_CHARS = 1_000_000
"""Longer queries are refused: no model of the catalog could read them."""
CLASSIFIED_CHARS = 8_000
"""What the embedding sees at the most; its model reads 256 word pieces, which are fewer."""
FRAGMENT_WORDS = 3
"""A later turn of at most this many words ("yes", "in Python") leans on the turn before it."""
FOLLOW_UP_WORDS = 25
"""So does one of at most this many words that opens or refers like a continuation."""

_ROLES = ("system", "user", "assistant")

_ROLE_OPENER = re.compile(
    r"^\s*(?:you are|you're|act as|imagine you are|pretend to be|as)\s+(?:an?|the|my)\s"
    r"[^.!?\n]{1,160}[.!\n]\s*(?=\S+\s+\S+\s+\S)",
    re.IGNORECASE,
)
"""A first sentence that gives a role; at least three words must follow it."""

_CONTINUES = re.compile(
    r"^\W*(?:and|ok(?:ay)?|now|but|so|then|also|yes|yeah|no|nope|same|again|instead|what about"
    r"|how about|why not|what if|this time|shorter|longer|simpler|more|another|go on|continue"
    r"|keep|thanks|great|perfect|hm+|wait|actually|und|jetzt|et|y|e|ahora|maintenant)\b"
    r"|\b(?:it(?! (?:takes?|true|possible|legal|safe|mean)\b)|its|that|those|this|these|them"
    r"|they|the (?:same|first|second|third|last|next|other|former|latter|above)"
    r"|previous|step \d+|your (?:answer|code|reply|last))\b",
    re.IGNORECASE,
)
"""How a later turn shows that it continues: its first words, or what it points back to."""


@dataclass(frozen=True)
class Message:
    """One chat turn. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """A validated query: chat messages of which the last is the user's."""

    messages: tuple[Message, ...]

    @classmethod
    def from_query(cls, query: Query, system_prompt: str | None = None) -> Conversation:
        """Check a query and put it into one form; `InvalidQuery` says what is wrong with it."""
        if isinstance(query, str):
            turns = [Message("user", _checked_text(query, "the query"))]
        elif isinstance(query, Sequence) and not isinstance(query, bytes | bytearray):
            turns = [_checked_message(item, place) for place, item in enumerate(query)]
        else:
            raise InvalidQuery(
                f"a query is a string or a list of chat messages, not {type(query).__name__}: "
                "decode bytes first, for example query.decode('utf-8')"
            )
        if not turns or turns[-1].role != "user":
            raise InvalidQuery("the last message must be the user's: end the list with role 'user'")
        if system_prompt is not None:
            turns.insert(0, Message("system", _checked_text(system_prompt, "the system prompt")))
        return cls(tuple(turns))

    @property
    def text(self) -> str:
        """The last user turn: what the semantic cache compares."""
        return self.messages[-1].content

    @property
    def system_prompt(self) -> str:
        """All system turns, joined; empty where there is none."""
        return "\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def earlier_turns(self) -> tuple[Message, ...]:
        """What came before the last user turn, system turns left out."""
        return tuple(m for m in self.messages[:-1] if m.role != "system")

    @property
    def judged_text(self) -> str:
        """What the classifier reads: a follow-up takes along the user's turns that it continues.

        They reach back to the last turn that stands by itself. An opening sentence that only
        gives the assistant a role is left out.
        """
        turns = [m.content for m in self.messages if m.role == "user"]
        first = len(turns) - 1
        while first > 0 and _leans_on_the_turn_before(turns[first]):
            first -= 1
        return "\n".join([_ROLE_OPENER.sub("", turns[first], count=1), *turns[first + 1 :]])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the decision should know about how this query was read."""
        if len(self.judged_text) > CLASSIFIED_CHARS:
            return (
                f"the query has {len(self.judged_text):,} characters; tier and semantic cache "
                f"were judged by its first {CLASSIFIED_CHARS:,}, at most 256 word pieces of them",
            )
        return ()


def _leans_on_the_turn_before(turn: str) -> bool:
    words = len(turn.split())
    return words <= FRAGMENT_WORDS or (
        words <= FOLLOW_UP_WORDS and _CONTINUES.search(turn) is not None
    )


def _checked_message(item: object, place: int) -> Message:
    if isinstance(item, Message):
        role, content = item.role, item.content
    elif isinstance(item, Mapping) and isinstance(item.get("role"), str) and "content" in item:
        role, content = item["role"], item["content"]
    else:
        raise InvalidQuery(
            f"message {place} needs a 'role' and a 'content', "
            'like {"role": "user", "content": "…"}'
        )
    if role not in _ROLES:
        raise InvalidQuery(f"message {place} has role {role!r}: use one of {', '.join(_ROLES)}")
    return Message(role, _checked_text(content, f"message {place}"))


def _checked_text(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidQuery(f"{what} is {type(text).__name__}, not text: pass a string")
    if not text.strip():
        raise InvalidQuery(f"{what} is empty: there is nothing to route")
    if len(text) > MAX_QUERY_CHARS:
        raise InvalidQuery(
            f"{what} has {len(text):,} characters, more than {MAX_QUERY_CHARS:,}: "
            "split it or send a summary"
        )
    if "\x00" in text:
        raise InvalidQuery(f"{what} holds NUL bytes, so it is not text: decode or extract it first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidQuery(
            f"{what} is not valid Unicode text (lone surrogate at position {error.start}): "
            "decode the bytes with their right encoding"
        ) from None
    return text
