"""A cheap check that a near text may share an answer, for what a cosine does not see.

Numbers and negations must agree. Does not know: vectors, thresholds, answers.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|without|nor|neither|cannot|isn't|aren't|don't|doesn't|didn't|won't|"
    r"can't|couldn't|shouldn't|wouldn't|wasn't|weren't|avoid|except|unless)\b",
    re.IGNORECASE,
)
_WORD_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
    if value > 1  # "one" is more often a pronoun
}
_WORD = re.compile(r"[^\W\d_]+")
_TIME_SENSITIVE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|right now|currently|latest|this (?:week|month|year)|"
    r"breaking news|weather forecast)\b",
    re.IGNORECASE,
)


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text, in digits; small number words count."""
    digits = {match.replace(",", "") for match in _NUMBER.findall(text)}
    words = {_WORD_NUMBERS[w] for w in _WORD.findall(text.lower()) if w in _WORD_NUMBERS}
    return frozenset(digits | words)


def is_negated(text: str) -> bool:
    """Whether the text holds a negation."""
    return _NEGATION.search(text.replace("\u2019", "'")) is not None


def may_share_answer(one: str, other: str) -> bool:
    """False where numbers or negation differ: such texts never share an answer here."""
    return numbers(one) == numbers(other) and is_negated(one) == is_negated(other)


def is_time_sensitive(text: str) -> bool:
    """Whether the right answer depends on when the question is asked."""
    return _TIME_SENSITIVE.search(text) is not None
