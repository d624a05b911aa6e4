"""Cheap evidence in a query's wording of what its answer demands: cue words and marks.

Each cue is a count or a flag that says nothing of the topic, which the embedding has. There is no
length among them: it is not complexity, and it differs most between written and real queries.
Reads the first `_READ` characters alone, so that a pasted book costs no more than a page. Also
finds where a long query most likely says what it wants. Does not know: tiers, weights, the
embedding.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_READ = 1_500
_OPENING, _CLOSING = 25, 15
_TOKEN = re.compile(r"c\+\+|c#|[^\W_]+(?:['’][^\W_]+)?")

_PHRASES: dict[str, str] = {
    "explain": "explain|describe|discuss|elaborate|analyze|analyse|evaluate|assess|compare"
    "|contrast|outline|summarize|summarise",
    "edit": "fix|correct|rewrite|rephrase|paraphrase|translate|convert|change|replace|reformat"
    "|shorten|edit|proofread|classify|categorize|categorise|extract|identify|label|choose|select"
    "|pick|decide|sort|fill in|complete",
    "list": "list|name|give me|suggest|recommend|provide|table",
    "how_to": "how do|how can|how to|how would|how should|how could|how might|how did",
    "how_many": "how many|how much|how long|how far|how old|how tall|how big|how often|how fast",
    "what": "what is|what's|what are|what was|what were|what does|what do",
    "why": "why|reason|reasons",
    "who": "who|when|where|which",
    "what_if": "what if|what would",
    "differ": "difference|differences|different|vs|versus|better|pros and cons|advantages",
    "prove": "prove|proof|show that|derive|derivation|justify|deduce|infer|conclude|correctness"
    "|counterexample|if and only",
    "calculate": "calculate|compute|find|solve|estimate|determine|total|remain|remainder|left"
    "|altogether|probability|chance|average|percent|per cent|equation|sum|product|area|volume"
    "|speed|distance|time|cost|twice|half|each|times",
    "code": "python|java|javascript|js|rust|go|sql|html|css|bash|php|ruby|kotlin|swift|code|script"
    "|function|class|api|program|app|database|query|regex|algorithm|react|django|docker"
    "|kubernetes|c++|c#",
    "large": "system|platform|architecture|app|application|program|strategy|plan|roadmap|framework"
    "|pipeline|whitepaper|white paper|literature review|curriculum|report|policy|analysis"
    "|implementation|comprehensive|detailed|in depth|full|complete|step by step",
    "specialist": "kernel|firmware|verilog|vhdl|fpga|smart contract|solidity|terraform|kubernetes"
    "|shader|compiler|transformer|deep learning|neural|pytorch|tensorflow|blockchain|microservice"
    "|microservices|distributed|clinical|regulation|regulatory|compliance|jurisdiction|litigation"
    "|hedge|hedging|derivative|valuation|market sizing",
    "page": "essay|email|letter|poem|story|blog|post|article|speech|song|script|recipe|itinerary"
    "|routine|workout|caption|description|review|tips|ideas|advice|guide|paragraph",
    "brief": "one sentence|a sentence|one word|briefly|short answer|just|only|title|headline"
    "|slogan|name|joke|synonym|meaning|definition|define|stand for|mean",
    "constraint": "must|should|exactly|at least|at most|no more than|without|only|need to|has to"
    "|cannot|within|budget",
    "first_person": "i|my|me|we|our|i'm|i've|i'd",
    "role": "act as|you are a|you are an|pretend|imagine you|role of|expert",
    "given": "given|following|below|provided|based on",
    "negation": "not|no|never|don't|doesn't|didn't|isn't|aren't|can't|won't|wasn't",
    "condition": "if|when|suppose|assume|let",
    "sequence": "first|second|third|then|next|after|before|finally",
    "several": "and|also|as well|plus|including|include",
}
"""Words and phrases of up to three words, looked for anywhere and among the opening words."""

_POLITE = frozenset("please can could would you hi hello hey i need want to ok so".split())
_OPENERS: dict[str, str] = {
    "write": "write|compose|draft|create|make|generate|come|think|invent|develop|design|build"
    "|implement|code|produce|prepare",
    "yes_no": "is|are|can|could|do|does|did|was|were|will|has|have|should|would",
}
"""What the first word is: `write` after the polite ones, `yes_no` before."""

_CHARACTERS: dict[str, str] = {
    "question_marks": "?",
    "operators": "=+*/^<>",
    "money": "$€£%",
    "colons": ":",
    "quotes": '"“',
}
_PATTERNS: dict[str, str] = {
    "numbers": r"\d+(?:\.\d+)?",
    "code_lines": r"```|;\s*$|[{}]|\(\)",
    "bullets": r"^\s*[-*•]|^\s*\d+[.)]",
    "options": r"\b[a-e]\)",
    "capitals": r"[A-Z]{2,}",
}
_COUNTED = tuple(re.compile(pattern, re.MULTILINE) for pattern in _PATTERNS.values())
_COUNTS = len(_CHARACTERS) + len(_PATTERNS) + 1

CUES: tuple[str, ...] = (
    *_PHRASES,
    *(f"{name}_early" for name in _PHRASES),
    *_OPENERS,
    "lower_case",
    *_CHARACTERS,
    *_PATTERNS,
    "not_ascii",
)
"""Names of the cues, in the order of the columns of `cues`."""


def _index() -> dict[str, list[tuple[list[str], int]]]:
    """By first word of a phrase: its other words, and the number of its cue."""
    found: dict[str, list[tuple[list[str], int]]] = defaultdict(list)
    for number, phrases in enumerate(_PHRASES.values()):
        for phrase in phrases.split("|"):
            first, *others = phrase.split()
            found[first].append((others, number))
    return dict(found)


_BY_FIRST_WORD = _index()
_WRITE, _YES_NO = (frozenset(words.split("|")) for words in _OPENERS.values())


def cues(texts: Sequence[str]) -> NDArray[np.float64]:
    """Cues of each text, shape (len(texts), len(CUES)): flags, and logarithms of counts."""
    rows = np.array([_row(text[:_READ]) for text in texts]).reshape(len(texts), len(CUES))
    rows[:, -_COUNTS:] = np.log1p(rows[:, -_COUNTS:])
    return rows


def ask_of(text: str) -> str:
    """The words in which a query most likely says what it wants.

    All of a short one; of a longer one the opening and the closing words, since what is pasted
    mostly stands between or on one side.
    """
    words = text.split()
    if len(words) <= _OPENING + _CLOSING:
        return " ".join(words)
    return " ".join([*words[:_OPENING], "…", *words[-_CLOSING:]])


def _row(read: str) -> list[float]:
    words = _TOKEN.findall(read.lower())
    anywhere, early = [0.0] * len(_PHRASES), [0.0] * len(_PHRASES)
    for place, word in enumerate(words):
        for others, cue in _BY_FIRST_WORD.get(word, ()):
            if not others or words[place + 1 : place + 1 + len(others)] == others:
                anywhere[cue] = 1.0
                if place < _OPENING:
                    early[cue] = 1.0
    first = next((word for word in words if word not in _POLITE), "")
    return [
        *anywhere,
        *early,
        float(first in _WRITE),
        float(bool(words) and words[0] in _YES_NO),
        float(read[:1].islower()),
        *(float(sum(map(read.count, characters))) for characters in _CHARACTERS.values()),
        *(float(len(pattern.findall(read))) for pattern in _COUNTED),
        0.0 if read.isascii() else float(sum(character > "\x7f" for character in read)),
    ]
