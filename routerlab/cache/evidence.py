"""Cheap evidence on whether two texts ask the same: what a cosine of sentence vectors cannot see.

Symmetric: `compare(a, b, cosine)` equals `compare(b, a, cosine)`. Does not know: how evidence is
weighed (`verifier`), where the texts come from.
"""

from __future__ import annotations

from collections.abc import Collection
from math import fsum, log, log1p

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from routerlab.cache.reading import Reading, stem

EVIDENCE = {
    "cosine": ("cosine", "angle", "cosine x overlap"),
    "overlap": ("overlap", "containment", "same words", "one-sided", "both differ", "few differ"),
    "unmatched": (
        *("unmatched", "unmatched share", "unmatched few", "unmatched many", "shared count"),
        *("worst less", "worst more", "rarest less", "rarest more"),
    ),
    "numbers": ("numbers differ", "numbers swapped", "numbers count", "numbers in both"),
    "negation": ("negation", "opposites"),
    "names": ("names less", "names more"),
    "question": ("question differs", "question words differ", "question same"),
    "language": ("language",),
    "time": ("past", "future"),
    "order": ("order", "same words reordered"),
    "spelling": ("spelling", "spelling sorted", "spelling set"),
    "length": ("length ratio", "length"),
}
"""Names of the evidence by group, in the order of `compare`."""
NAMES = tuple(name for group in EVIDENCE.values() for name in group)
_LIKE_SPELLING = 80.0

_OPPOSITES = (
    "increase raise grow gain up higher rise more maximize most|"
    "decrease lower reduce drop lose loss down fall less minimize least fewer",
    "advantage benefit pro pros strength good|disadvantage drawback con weak bad risk",
    "best better good|worst worse bad",
    "buy purchase|sell sale",
    "borrow|lend",
    "start begin open enable activate|stop end close quit cancel disable deactivate",
    "encode encrypt compress|decode decrypt decompress extract",
    "before|after",
    "first earliest|last latest final",
    "import|export",
    "install add insert|uninstall remove delete subtract",
    "upload send|download receive",
    "left|right",
    "north|south",
    "east|west",
    "old older oldest|new newer newest young",
    "hot warm heat|cold cool",
    "cause reason|effect consequence result",
    "cheap cheapest|expensive",
    "short shorter|long longer",
    "accept agree|reject decline refuse",
    "learn student|teach teacher",
    "win|lose",
    "above over|below under",
    "internal|external",
    "legal|illegal",
    "possible|impossible",
    "input|output",
    "read|write",
    "push|pull",
    "row|column",
    "minimum min|maximum max",
    "include|exclude except",
    "same|different",
    "few|many",
    "employee|employer",
    "landlord|tenant",
    "parent mother father|child son daughter",
    "husband|wife",
    "man men male boy|woman women female girl",
    "arrive|depart leave",
    "deposit|withdraw",
    "true|false",
    "public|private",
    "love|hate",
    "remember|forget",
    "lock freeze|unlock thaw",
    "ascend|descend",
    "horizontal|vertical",
    "beginner|advanced expert",
    "day morning|night evening",
)


def _sides() -> dict[str, frozenset[tuple[int, int]]]:
    """Which side of which pair of opposites a stem stands on."""
    found: dict[str, set[tuple[int, int]]] = {}
    for pair, words in enumerate(_OPPOSITES):
        for side, half in enumerate(words.split("|")):
            for word in half.split():
                found.setdefault(stem(word), set()).add((pair, side))
    return {word: frozenset(places) for word, places in found.items()}


_SIDES = _sides()


def compare(a: Reading, b: Reading, cosine: float) -> list[float]:
    """The evidence of a pair, in the order of `NAMES`."""
    shared = a.content.keys() & b.content.keys()
    only_a, only_b = a.content.keys() - shared, b.content.keys() - shared
    # `fsum`: a set's order changes from process to process, and a plain sum's last bit with it.
    common = fsum(a.content[s] for s in shared)
    missing_a = fsum(a.content[s] for s in only_a)
    missing_b = fsum(b.content[s] for s in only_b)
    total = common + missing_a + missing_b + 1
    overlap = common / total
    left_a, worst_a = _unresembled(only_a, only_b, a)
    left_b, worst_b = _unresembled(only_b, only_a, b)
    rarest_a = max((a.content[s] for s in only_a), default=0.0)
    rarest_b = max((b.content[s] for s in only_b), default=0.0)
    more, fewer = a.numbers - b.numbers, b.numbers - a.numbers
    names_a = len(a.names - b.content.keys() - b.names)
    names_b = len(b.names - a.content.keys() - a.names)
    asked = a.question != b.question
    order = _disorder(a, b, shared)
    differing = len(only_a), len(only_b)
    return [
        *(cosine, log(max(1.0005 - cosine, 1e-4)), cosine * overlap),
        *(overlap, common / (common + min(missing_a, missing_b) + 1)),
        *(float(differing == (0, 0)), float((differing[0] == 0) != (differing[1] == 0))),
        *(float(min(differing) > 0), float(min(differing) > 0 and max(differing) <= 2)),
        *(log1p(left_a + left_b), (left_a + left_b) / total),
        *(log1p(min(differing)), log1p(max(differing)), log1p(len(shared))),
        *(min(worst_a, worst_b), max(worst_a, worst_b)),
        *(min(rarest_a, rarest_b), max(rarest_a, rarest_b)),
        *(float(bool(more or fewer)), float(bool(more and fewer))),
        *(log1p(more.total() + fewer.total()), float(bool(a.numbers and b.numbers))),
        *(float(a.negations != b.negations), float(min(_opposites(a, b), 2))),
        *(float(min(names_a, names_b)), float(max(names_a, names_b))),
        *(float(asked), float(asked and "none" not in (a.question, b.question))),
        float(not asked and a.question != "none"),
        float(a.language != b.language and bool(a.language and b.language)),
        *(float(a.past != b.past), float(a.future != b.future)),
        *(order, order * float(differing == (0, 0))),
        fuzz.ratio(a.plain, b.plain) / 100,
        fuzz.token_sort_ratio(a.plain, b.plain) / 100,
        fuzz.token_set_ratio(a.plain, b.plain) / 100,
        abs(log((len(a.stems) + 1) / (len(b.stems) + 1))),
        log(len(a.stems) + len(b.stems) + 1),
    ]


def _unresembled(
    only: Collection[str], others: Collection[str], reading: Reading
) -> tuple[float, float]:
    """Rarity of the stems that no stem of the other text is spelt like: in all, and the most."""
    left = [
        reading.content[one]
        * (0.1 if len(one) > 3 and any(fuzz.ratio(one, o) >= _LIKE_SPELLING for o in others) else 1)
        for one in only
    ]
    return fsum(left), max(left, default=0.0)


def _disorder(a: Reading, b: Reading, shared: Collection[str]) -> float:
    """How far the shared stems stand in another order: 0 for the same."""
    one = [s for s in a.stems if s in shared]
    other = [s for s in b.stems if s in shared]
    if min(len(one), len(other)) < 2:
        return 0.0
    return 1 - float(LCSseq.normalized_similarity(one, other))


def _opposites(a: Reading, b: Reading) -> int:
    """How many pairs of opposites the texts stand on two sides of."""
    in_a, in_b = set(a.stems), set(b.stems)
    sides_a = {place for s in in_a - in_b for place in _SIDES.get(s, ())}
    sides_b = {place for s in in_b - in_a for place in _SIDES.get(s, ())}
    return sum((pair, 1 - side) in sides_b for pair, side in sides_a)
