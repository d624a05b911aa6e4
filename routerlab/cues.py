"""Cheap evidence in a query's wording of what its answer demands: cue words and marks.

Each cue is a count or a flag that says nothing of the topic, which the embedding has. There is no
length among them: it is not complexity, and it differs most between written and real queries.
Reads the first `_READ` characters alone, so that a pasted book costs no more than a page. Does not
know: tiers, weights, the embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_READ = 1_500
_HEAD = 160

_WORD_CUES = {
    "write": r"^(?:please |can you |could you |hi,? |hello,? )*(?:write|compose|draft|create|make"
    r"|generate|come up|think of|invent|develop|design|build|implement|code|produce|prepare)\b",
    "explain": r"\b(?:explain|describe|discuss|elaborate|analy[sz]e|evaluate|assess|compare"
    r"|contrast|outline|summari[sz]e)\b",
    "edit": r"\b(?:fix|correct|rewrite|rephrase|paraphrase|translate|convert|change|replace"
    r"|reformat|shorten|edit|proofread|classify|categori[sz]e|extract|identify|label|choose|select"
    r"|pick|decide|sort|fill in|complete)\b",
    "list": r"\b(?:list|name|give me|suggest|recommend|provide|table)\b",
    "how_to": r"\bhow (?:do|can|to|would|should|could|might|did)\b",
    "how_many": r"\bhow (?:many|much|long|far|old|tall|big|often|fast)\b",
    "what": r"\bwhat(?:'s| is| are| was| were| does| do)\b",
    "why": r"\bwhy\b|\breasons?\b",
    "who": r"\b(?:who|when|where|which)\b",
    "yes_no": r"^(?:is|are|can|could|do|does|did|was|were|will|has|have|should|would) ",
    "what_if": r"\bwhat (?:if|would)\b",
    "differ": r"\bdifferen(?:ce|ces|t)\b|\bvs\b|\bversus\b|\bbetter\b|\bpros and cons\b"
    r"|\badvantages\b",
    "prove": r"\b(?:prove|proof|show that|derive|derivation|justify|deduce|infer|conclude"
    r"|correctness|counterexample|if and only if)\b",
    "calculate": r"\b(?:calculate|compute|find|solve|estimate|determine|total|remain|remainder|left"
    r"|altogether|probability|chance|average|percent|per cent|equation|sum|product|area|volume"
    r"|speed|distance|time|cost|twice|half|each|times)\b",
    "code": r"\b(?:python|java|javascript|js|rust|go|sql|html|css|bash|php|ruby|kotlin|swift|code"
    r"|script|function|class|api|program|app|database|query|regex|algorithm|react|django|docker"
    r"|kubernetes)\b|c\+\+|c#",
    "large": r"\b(?:system|platform|architecture|app|application|program|strategy|plan|roadmap"
    r"|framework|pipeline|whitepaper|white paper|literature review|curriculum|report|policy"
    r"|analysis|implementation|business plan|lesson plan|comprehensive|detailed|in-depth|in depth"
    r"|full|complete|step by step)\b",
    "specialist": r"\b(?:kernel|firmware|verilog|vhdl|fpga|smart contract|solidity|terraform"
    r"|kubernetes|shader|compiler|transformer|deep learning|neural|pytorch|tensorflow|blockchain"
    r"|microservice|distributed|clinical|regulat|complian|jurisdiction|litigation|hedge|derivative"
    r"|valuation|market siz)",
    "page": r"\b(?:essay|email|letter|poem|story|blog|post|article|speech|song|script|recipe"
    r"|itinerary|routine|workout|caption|description|review|tips|ideas|advice|guide|paragraph)\b",
    "brief": r"\b(?:one sentence|a sentence|one word|briefly|short answer|just|only|title|headline"
    r"|slogan|name|joke|synonym|meaning|definition|define|stand for|mean)\b",
    "constraint": r"\b(?:must|should|exactly|at least|at most|no more than|without|only|need to"
    r"|has to|cannot|within|budget)\b",
    "first_person": r"\b(?:i|my|me|we|our)\b",
    "role": r"\b(?:act as|you are an?|pretend|imagine you|role of|expert)\b",
    "given": r"\b(?:given|following|below|provided|based on)\b",
    "negation": r"\b(?:not|no|never)\b|n't\b",
    "condition": r"\b(?:if|when|suppose|assume|let)\b",
    "sequence": r"\b(?:first|second|third|then|next|after|before|finally)\b",
    "several": r"\b(?:and|also|as well|plus|including|include)\b",
}
_MARK_CUES = {
    "question_marks": r"\?",
    "numbers": r"\d+(?:\.\d+)?",
    "operators": r"[=+*/^<>]",
    "code_lines": r"```|;\s*$|[{}]|\(\)",
    "money": r"[$€£%]",
    "bullets": r"^\s*[-*•]|^\s*\d+[.)]",
    "options": r"\b[a-e]\)",
    "capitals": r"[A-Z]{2,}",
    "not_ascii": r"[^\x00-\x7f]",
    "colons": r":",
    "quotes": r'["“]',
}
_WORDS = tuple(re.compile(pattern) for pattern in _WORD_CUES.values())
_MARKS = tuple(re.compile(pattern, re.MULTILINE) for pattern in _MARK_CUES.values())

CUES: tuple[str, ...] = (
    *_WORD_CUES,
    *(f"{name}_early" for name in _WORD_CUES),
    *_MARK_CUES,
    "lower_case",
)
"""Names of the cues, in the order of the columns of `cues`."""


def cues(texts: Sequence[str]) -> NDArray[np.float64]:
    """Cues of each text, shape (len(texts), len(CUES)): flags, and logarithms of counts."""
    rows = np.array([_flags(text) for text in texts], dtype=np.float64)
    rows = rows.reshape(len(texts), len(CUES))
    counted = slice(2 * len(_WORD_CUES), len(CUES) - 1)
    rows[:, counted] = np.log1p(rows[:, counted])
    return rows


def _flags(text: str) -> list[float]:
    read = text[:_READ]
    lower = read.lower()
    found = [1.0 if pattern.search(lower) else 0.0 for pattern in _WORDS]
    early = found
    if len(lower) > _HEAD:
        head = lower[:_HEAD]
        early = [
            1.0 if hit and p.search(head) else 0.0 for p, hit in zip(_WORDS, found, strict=True)
        ]
    marks = [float(len(pattern.findall(read))) for pattern in _MARKS]
    return [*found, *early, *marks, float(read[:1].islower())]
