"""A cheap check that a near text may share an answer, for what a cosine does not see.

Rules over words: numbers, negations and word order must agree, and two texts that differ by a few
swapped words are taken for two questions. Does not know: vectors, thresholds, answers.
"""

from __future__ import annotations

import re
from collections import Counter

MOST_SWAPPED_WORDS = 4
"""Up to this many content words on both sides together count as a swap, not as a rewording."""
LEAST_SHARED = 0.3
"""The share of content words that two texts must have in common for a swap to be told."""

_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
    if value > 1  # "one" is more often a pronoun
}
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)?")
_NEGATIONS = frozenset(
    "not no never none without nor neither cannot isn't aren't don't doesn't didn't won't can't "
    "couldn't shouldn't wouldn't wasn't weren't avoid except unless".split()
)
# Words that a rewording adds or drops without asking for anything else.
_FILLERS = frozenset(
    "a an the of to in on at for with and or is are was were be been it its this that these those "
    "i me my we our us you your he she they them do does did can could would should will shall "
    "may might please pls thanks thank hey hi hello so just give tell say what which who how why "
    "when where there here from by as if into than then about".split()
)
_TIME_SENSITIVE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|right now|currently|latest|this (?:week|month|year)|"
    r"breaking news|weather forecast)\b",
    re.IGNORECASE,
)


def may_share_answer(one: str, other: str) -> bool:
    """False where a rule tells the texts apart; True is no proof that they ask the same."""
    a, b = _tokens(one), _tokens(other)
    return (
        _numbers(a) == _numbers(b)
        and _negations(a) == _negations(b)
        and not (a != b and Counter(a) == Counter(b))
        and not _few_words_swapped(a, b)
    )


def is_time_sensitive(text: str) -> bool:
    """Whether the right answer depends on when the question is asked."""
    return _TIME_SENSITIVE.search(text) is not None


def _tokens(text: str) -> list[str]:
    found = _TOKEN.findall(text.lower().replace("\u2019", "'"))
    return [_NUMBER_WORDS.get(token, token.replace(",", "")) for token in found]


def _numbers(tokens: list[str]) -> list[str]:
    return [token for token in tokens if token[0].isdigit()]


def _negations(tokens: list[str]) -> int:
    return sum(token in _NEGATIONS for token in tokens)


def _few_words_swapped(one: list[str], other: list[str]) -> bool:
    a, b = _content(one), _content(other)
    only_a, only_b, shared = (a - b).total(), (b - a).total(), (a & b).total()
    differing = only_a + only_b
    swapped = only_a > 0 and only_b > 0 and differing <= MOST_SWAPPED_WORDS
    return swapped and shared >= LEAST_SHARED * (shared + differing)


def _content(tokens: list[str]) -> Counter[str]:
    return Counter(_stem(t) for t in tokens if t not in _FILLERS and not t[0].isdigit())


def _stem(word: str) -> str:
    return re.sub(r"(?:ing|ed|es|s|ly)$", "", word) if len(word) > 4 else word
