"""Synthetic answers for the local server: their text, length, token usage and delays, all seeded.

The length of an answer depends on the query and not on the model, so that policies are compared
at equal length. Does not know: HTTP, what a good answer would say.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from routerlab import tokens
from routerlab.catalog import ModelSpec

_WORDS = [
    "the",
    "of",
    "a",
    "to",
    "in",
    "is",
    "and",
    "that",
    "for",
    "with",
    "as",
    "this",
    "from",
    "it",
    "by",
    "on",
    "which",
    "each",
    "one",
    "more",
    "then",
    "when",
    "first",
    "step",
    "value",
    "case",
    "point",
    "result",
    "set",
    "part",
    "time",
    "order",
    "line",
    "way",
    "form",
    "rule",
    "change",
    "state",
    "simple",
    "common",
    "local",
    "general",
    "given",
    "small",
    "large",
    "same",
    "next",
    "other",
    "number",
    "level",
    "term",
    "question",
    "answer",
    "example",
    "reason",
    "choice",
    "limit",
    "test",
    "model",
    "data",
    "shows",
    "keeps",
    "takes",
    "gives",
    "makes",
    "follows",
    "depends",
    "holds",
    "needs",
    "means",
    "because",
    "while",
    "before",
    "after",
    "under",
    "between",
    "without",
    "usually",
    "often",
]
_PIECE = re.compile(r"\S+\s*")
PREFILL_MS_PER_TOKEN = 0.02
JITTER = 0.25


@dataclass(frozen=True)
class SyntheticAnswer:
    """Text in pieces, when each is due (ms after the request), and its billable tokens."""

    pieces: tuple[str, ...]
    due_ms: tuple[float, ...]
    prompt_tokens: int
    visible_tokens: int
    reasoning_tokens: int
    truncated: bool

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def default_length(query: str, seed: int) -> int:
    """Words of an answer where nothing better is known: log-normal, median 150."""
    return max(5, round(random.Random(f"{seed}:length:{query}").lognormvariate(5.0, 0.6)))


def synthesize(
    model: ModelSpec,
    messages: Sequence[Mapping[str, str]],
    max_tokens: int,
    *,
    seed: int,
    length: Callable[[str], int] | None = None,
    pieces: Callable[[str], Sequence[str]] | None = None,
    words_a_piece: int = 1,
) -> SyntheticAnswer:
    """The answer of a model to a conversation; equal arguments give an equal answer.

    `pieces` gives the answer's own to a query, at least one, in place of words. `words_a_piece`
    words come at once, when the first of them is due.
    """
    draw, told = _told(model, messages[-1]["content"], seed, length, pieces)
    given, truncated = told[:max_tokens], len(told) > max_tokens
    prompt = tokens.scale(tokens.count_chat(messages), model).tokens
    visible = tokens.scale(tokens.count_text("".join(given)), model).tokens
    reasoning = round(visible * model.hidden_reasoning)
    due = tuple(_due(draw, model, prompt, reasoning, len(given)))[::words_a_piece]
    starts = range(0, len(given), words_a_piece)
    given = tuple("".join(given[start : start + words_a_piece]) for start in starts)
    return SyntheticAnswer(given, due, prompt, visible, reasoning, truncated)


def written(
    model: ModelSpec, query: str, max_tokens: int, *, seed: int, length: Callable[[str], int] | None
) -> tuple[str, int, bool]:
    """Text, billable output tokens and whether it was cut, of what `synthesize` would make.

    Without delays it takes a third of the time, and the turns before `query` do not matter.
    """
    _, told = _told(model, query, seed, length, None)
    text = "".join(told[:max_tokens])
    visible = tokens.scale(tokens.count_text(text), model).tokens
    return text, visible + round(visible * model.hidden_reasoning), len(told) > max_tokens


def _told(
    model: ModelSpec,
    query: str,
    seed: int,
    length: Callable[[str], int] | None,
    pieces: Callable[[str], Sequence[str]] | None,
) -> tuple[random.Random, tuple[str, ...]]:
    draw = random.Random(f"{seed}:{model.id}:{query}")
    if pieces is not None:
        return draw, tuple(pieces(query))
    words = length(query) if length else default_length(query, seed)
    return draw, tuple(_PIECE.findall(f"[simulated {model.id}] {_prose(draw, words)}"))


def _prose(draw: random.Random, words: int) -> str:
    sentences = []
    while words > 0:
        size = min(words, draw.randint(6, 16))
        sentences.append(" ".join(draw.choices(_WORDS, k=size)).capitalize() + ".")
        words -= size
    return " ".join(sentences)


def _due(
    draw: random.Random, model: ModelSpec, prompt: int, reasoning: int, pieces: int
) -> Iterator[float]:
    per_token = 1e3 / model.tokens_per_s
    at = model.ttft_ms * draw.lognormvariate(0, JITTER) + prompt * PREFILL_MS_PER_TOKEN
    at += reasoning * per_token
    for _ in range(pieces):
        yield at
        at += per_token * draw.lognormvariate(0, JITTER)
