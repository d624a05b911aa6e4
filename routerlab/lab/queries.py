"""The project's own data: benchmark queries, training queries, and their variants, checked on load.

Does not know: models, embeddings, public data sets.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from routerlab.errors import DataError, RouterLabError
from routerlab.files import DATA_DIR
from routerlab.query import Conversation, Message
from routerlab.types import TIERS, Tier, as_tier

BENCHMARK_FILE = DATA_DIR / "benchmark_queries.json"
TRAINING_FILE = DATA_DIR / "training_queries.jsonl"
VARIANTS_FILE = DATA_DIR / "paraphrases.jsonl"
QUERIES_A_TIER = 25

VariantKind = Literal["paraphrase", "negation", "number", "entity", "scope", "tense", "direction"]


@dataclass(frozen=True)
class LabelledQuery:
    """A query with its tier by the rubric. Rows of one `family` never straddle a split.

    `context`: the turns before a follow-up, empty for most. `brief`: which writing brief a training
    query answers. `second`: the tier that a second reader gave it, blind to the first.
    """

    id: str
    text: str
    tier: Tier
    domain: str
    family: str
    style: str = "plain"
    context: tuple[Message, ...] = ()
    brief: str = ""
    second: Tier | None = None

    @property
    def conversation(self) -> Conversation:
        """The query as the router takes it."""
        return Conversation((*self.context, Message("user", self.text)))


@dataclass(frozen=True)
class Variant:
    """A text near a benchmark query: a paraphrase deserves its answer, a near miss does not."""

    id: str
    query_id: str
    text: str
    kind: VariantKind

    @property
    def same_answer(self) -> bool:
        """Whether the benchmark query's answer serves this text too."""
        return self.kind == "paraphrase"


def load_benchmark(path: Path = BENCHMARK_FILE) -> tuple[LabelledQuery, ...]:
    """The 100 benchmark queries, 25 a tier; `DataError` says what is wrong and in which row."""
    raw = _read(path)
    try:
        rows = json.loads(raw)["queries"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a benchmark file ({error}): restore it from git") from error
    queries = tuple(_labelled(path, number, row) for number, row in enumerate(rows, 1))
    check_benchmark(queries, str(path))
    return queries


def check_benchmark(queries: tuple[LabelledQuery, ...], what: str) -> None:
    """`DataError` unless there are 25 a tier, with ids and texts that do not repeat."""
    counts = Counter(query.tier for query in queries)
    if any(counts[tier] != QUERIES_A_TIER for tier in TIERS):
        raise DataError(f"{what} needs {QUERIES_A_TIER} queries a tier, has {dict(counts)}")
    _check_unique(queries, what)


def load_training(path: Path = TRAINING_FILE) -> tuple[LabelledQuery, ...]:
    """The training queries; `DataError` for a malformed row or a tier without rows."""
    queries = tuple(_labelled(path, number, row) for number, row in _jsonl(path))
    if missing := set(TIERS) - {query.tier for query in queries}:
        raise DataError(f"{path} has no rows of tier {', '.join(sorted(missing))}")
    _check_unique(queries, str(path))
    return queries


def undisputed(queries: Sequence[LabelledQuery]) -> tuple[LabelledQuery, ...]:
    """The queries to train on: those to which no second reader gave another tier."""
    return tuple(query for query in queries if query.second in (None, query.tier))


def part(queries: Sequence[LabelledQuery], share: float, seed: int) -> tuple[LabelledQuery, ...]:
    """The queries of a share of the families, drawn by seed; all for a share of 1."""
    if not 0 < share <= 1:
        raise DataError(f"a share is above 0 and at most 1, got {share}")
    names = sorted({query.family for query in queries})
    kept = set(random.Random(seed).sample(names, round(share * len(names))))
    return tuple(query for query in queries if query.family in kept)


def load_variants(path: Path = VARIANTS_FILE) -> tuple[Variant, ...]:
    """Paraphrases and near misses of the benchmark queries."""
    variants = []
    for number, row in _jsonl(path):
        try:
            if row["kind"] not in get_args(VariantKind):
                raise ValueError(f"kind {row['kind']!r} is unknown")
            variants.append(Variant(row["id"], row["query_id"], row["text"], row["kind"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, row {number}: {error}") from error
    _check_unique(variants, str(path))
    return tuple(variants)


def _labelled(path: Path, number: int, row: Mapping[str, Any]) -> LabelledQuery:
    try:
        context = tuple(Message(m["role"], m["content"]) for m in row.get("context", ()))
        if not row["text"].strip():
            raise ValueError("text is empty")
        return LabelledQuery(
            id=row["id"],
            text=row["text"],
            tier=as_tier(row["tier"]),
            domain=row["domain"],
            family=row["family"],
            style=row.get("style", "plain"),
            context=context,
            brief=row.get("brief", ""),
            second=as_tier(row["second"]) if "second" in row else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = str(error) if isinstance(error, RouterLabError) else f"{error!r}"
        raise DataError(f"{path}, row {number}: {what}") from error


def _check_unique(rows: Any, what: str) -> None:
    for name in ("id", "text"):
        twice = [v for v, n in Counter(getattr(row, name) for row in rows).items() if n > 1]
        if twice:
            raise DataError(f"{what}: {name} {twice[0]!r} stands twice")


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}, row {number} is not JSON: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}. Restore it from git") from error
