"""Pairs of texts that do or do not deserve the same answer: our own families, Quora's, CLINC's.

The families are written for this project and committed; the public sets are fetched and only ever
measured on, but for half of the Quora pairs. Does not know: vectors, verifiers, caches.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from routerlab.embedding import Vectors
from routerlab.errors import DataError
from routerlab.files import DATA_DIR
from routerlab.lab.datasets import fetch, public_files
from routerlab.lab.queries import LabelledQuery, Variant

PAIRS_FILE = DATA_DIR / "answer_pairs.jsonl"
OUT_OF_SCOPE = "oos"


@dataclass(frozen=True)
class Family:
    """A query, texts that deserve its answer, and near misses that do not, with their kinds."""

    id: str
    query: str
    paraphrases: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...]

    @property
    def texts(self) -> list[str]:
        """Every text of the family."""
        return [self.query, *self.paraphrases, *(text for _, text in self.near_misses)]


@dataclass(frozen=True)
class Pair:
    """Two texts; `kind` is `paraphrase` or that of the near miss. `first`: one is the query."""

    family: str
    one: str
    other: str
    same: bool
    kind: str
    first: bool = True


@dataclass(frozen=True)
class Questions:
    """Texts with the number of the answer each deserves; equal numbers, equal answers."""

    texts: list[str]
    answers: NDArray[np.int64]
    pairs: list[tuple[int, int]]
    same: NDArray[np.bool_]


def load_families(path: Path = PAIRS_FILE) -> tuple[Family, ...]:
    """The project's families; `DataError` names the row that is wrong."""
    found: list[Family] = []
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            near = tuple((miss["kind"], miss["text"]) for miss in row["near_misses"])
            family = Family(row["id"], row["query"], tuple(row["paraphrases"]), near)
            if not family.paraphrases or not near or not all(t.strip() for t in family.texts):
                raise ValueError("a family needs a query, paraphrases and near misses")
            if seen & set(family.texts):
                raise ValueError("a text of another family stands here again")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, row {number}: {error}. Restore it from git") from error
        seen |= set(family.texts)
        found.append(family)
    return tuple(found)


def benchmark_families(
    queries: Sequence[LabelledQuery], variants: Sequence[Variant]
) -> tuple[Family, ...]:
    """The benchmark queries with their variants, as families."""
    return tuple(
        Family(
            query.id,
            query.text,
            tuple(v.text for v in own if v.same_answer),
            tuple((v.kind, v.text) for v in own if not v.same_answer),
        )
        for query in queries
        for own in [[v for v in variants if v.query_id == query.id]]
    )


def split_families(queries: Sequence[LabelledQuery], seed: int) -> tuple[set[str], set[str]]:
    """Ids of the queries for calibration and for test, half each in every tier."""
    rng = random.Random(seed)
    calibration: set[str] = set()
    for tier in sorted({query.tier for query in queries}):
        ids = sorted(query.id for query in queries if query.tier == tier)
        calibration.update(rng.sample(ids, len(ids) // 2))
    return calibration, {query.id for query in queries} - calibration


def pairs_of(families: Sequence[Family]) -> list[Pair]:
    """All pairs within families whose label is known: paraphrases among each other, near misses."""
    found = []
    for family in families:
        good = (family.query, *family.paraphrases)
        for place, one in enumerate(good):
            for before, other in enumerate(good[:place]):
                found.append(Pair(family.id, one, other, True, "paraphrase", before == 0))
            for kind, text in family.near_misses:
                found.append(Pair(family.id, text, one, False, kind, place == 0))
    return found


def quora(seed: int) -> tuple[Questions, Questions]:
    """Quora's question pairs in two halves that share no question, nor a chain of pairs.

    Answers are the components of the pairs labelled as duplicates; what is not linked so counts as
    another answer, though many such questions do ask the same. `DataError` where the file is not
    to be had.
    """
    raw = _public("gptcache", "examples/benchmark/similiar_qqp_full.json.gz")
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        member = next(m for m in archive.getmembers() if m.isfile())
        content = archive.extractfile(member)
        assert content is not None
        rows = json.loads(content.read())
    texts = sorted({row[side] for row in rows for side in ("text_a", "text_b")})
    number = {text: place for place, text in enumerate(texts)}
    one = np.array([number[row["text_a"]] for row in rows])
    other = np.array([number[row["text_b"]] for row in rows])
    same = np.array([row["label"] == 1 for row in rows])
    linked = _components(len(texts), one, other)
    answers = _components(len(texts), one[same], other[same])
    in_first = np.random.default_rng(seed).random(linked.max() + 1) < 0.5
    first, second = (
        Questions(texts, answers, _linked(one[m], other[m]), same[m])
        for m in (in_first[linked[one]], ~in_first[linked[one]])
    )
    return first, second


def drawn(questions: Questions, most: int, seed: int) -> Questions:
    """About `most` questions: pairs drawn by seed until they hold so many, in random order."""
    rng = np.random.default_rng(seed)
    kept: dict[int, None] = {}
    pairs, same = [], []
    for place in rng.permutation(len(questions.pairs)).tolist():
        if len(kept) >= most:
            break
        pairs.append(questions.pairs[place])
        same.append(bool(questions.same[place]))
        kept.update(dict.fromkeys(pairs[-1]))
    order = rng.permutation(list(kept)).tolist()
    number = {old: new for new, old in enumerate(order)}
    return Questions(
        [questions.texts[old] for old in order],
        questions.answers[order],
        [(number[a], number[b]) for a, b in pairs],
        np.array(same),
    )


def as_pairs(questions: Questions) -> list[Pair]:
    """The labelled pairs, as pairs to learn from; one chain of duplicates is one family."""
    return [
        Pair(f"quora {questions.answers[a]}", questions.texts[a], questions.texts[b], same, "quora")
        for (a, b), same in zip(questions.pairs, questions.same.tolist(), strict=True)
    ]


def neighbours(questions: Questions, vectors: Vectors, at_least: float = 0.7) -> list[Pair]:
    """Each question with the one nearest to it, as a cache would meet them, labelled by answer."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    nearest = cosines.argmax(axis=1)
    return [
        Pair(f"quora {answer}", text, questions.texts[near], bool(alike), "neighbour")
        for text, answer, near, alike, cosine in zip(
            questions.texts,
            questions.answers.tolist(),
            nearest.tolist(),
            questions.answers == questions.answers[nearest],
            cosines.max(axis=1).tolist(),
            strict=True,
        )
        if cosine >= at_least
    ]


def some_of(questions: Questions, most: int, seed: int) -> Questions:
    """Up to `most` questions drawn by seed, in random order, without their pairs."""
    order = np.random.default_rng(seed).permutation(len(questions.texts))[:most].tolist()
    texts = [questions.texts[place] for place in order]
    return Questions(texts, questions.answers[order], [], np.empty(0, dtype=bool))


def as_questions(families: Sequence[Family]) -> Questions:
    """All texts of families: query and paraphrases share an answer, each near miss has its own."""
    texts: list[str] = []
    answers: list[int] = []
    for family in families:
        good = 1 + len(family.paraphrases)
        texts += family.texts
        first = len(answers)
        answers += [first] * good + list(range(first + good, first + len(family.texts)))
    return Questions(texts, np.array(answers), [], np.empty(0, dtype=bool))


def clinc() -> Questions:
    """CLINC's utterances, all splits: the intent is the answer; each out of scope has its own."""
    data: dict[str, Any] = json.loads(_public("clinc", "data/data_full.json"))
    intents = {text: intent for split in data.values() for text, intent in split}
    texts = sorted(intents)
    names = [f"{OUT_OF_SCOPE} {t}" if intents[t] == OUT_OF_SCOPE else intents[t] for t in texts]
    answers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Questions(texts, answers, [], np.empty(0, dtype=bool))


def _linked(one: NDArray[np.int64], other: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(one.tolist(), other.tolist(), strict=True))


def _components(n: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    links = coo_matrix((np.ones(len(one)), (one, other)), shape=(n, n))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _public(folder: str, path: str) -> bytes:
    file = next(f for f in public_files() if (f.folder, f.path) == (folder, path))
    return fetch(file).read_bytes()
