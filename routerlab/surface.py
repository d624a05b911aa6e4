"""The look of a text in numbers: length, lines, kinds of characters and words.

Beside the embedding, which has the topic, they tell how much there is to read and to work out. All
are scale-free or logarithms. Does not know: models, tiers, weights, the embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SURFACE: tuple[str, ...] = (
    "characters",
    "words",
    "lines",
    "mean_line",
    "longest_line",
    "first_line",
    "last_line",
    "line_spread",
    "mean_word",
    "longest_word",
    "long_words",
    "short_words",
    "different_words",
    "sentences",
    "commas",
    "numbers",
    "digits",
    "upper_case",
    "operators",
    "punctuation",
    "not_ascii",
    "questions",
    "quotes",
    "negations",
)
"""Names of the measures, in the order of the columns of `surface`."""

_READ = 8_000
_LONG_WORD, _SHORT_WORD = 9, 3
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|except|least|false|incorrect|without)\b|n't\b", re.I
)
_OPERATORS = frozenset("+-=*/^<>()[]{}\\_|%$")


def surface(texts: Sequence[str]) -> NDArray[np.float64]:
    """Measures of each text, shape (len(texts), len(SURFACE)); a long one is read in part."""
    rows = [_row(text[:_READ]) for text in texts]
    return np.array(rows, dtype=float).reshape(len(texts), len(SURFACE))


def _row(text: str) -> list[float]:
    lines = [len(line) for line in text.split("\n") if line.strip()] or [0]
    words = text.split() or [""]
    lengths = [len(word) for word in words]
    n = max(len(text), 1)
    counts = [
        len(text),
        len(words),
        len(lines),
        sum(lines) / len(lines),
        max(lines),
        lines[0],
        lines[-1],
        float(np.std(lines)),
        sum(lengths) / len(words),
        max(lengths),
    ]
    more = [
        len(_SENTENCE.findall(text)),
        text.count(","),
        len(_NUMBER.findall(text)),
    ]
    shares = [
        sum(map(str.isdigit, text)) / n,
        sum(map(str.isupper, text)) / n,
        sum(character in _OPERATORS for character in text) / n,
        sum(map(text.count, ".,;:")) / n,
        0.0 if text.isascii() else sum(character > "\x7f" for character in text) / n,
    ]
    marks = [text.count("?"), text.count('"') + text.count("“"), len(_NEGATION.findall(text))]
    return [
        *np.log1p(counts),
        sum(length >= _LONG_WORD for length in lengths) / len(words),
        sum(length <= _SHORT_WORD for length in lengths) / len(words),
        len(set(text.lower().split())) / len(words),
        *np.log1p(more),
        *shares,
        *np.log1p(marks),
    ]
