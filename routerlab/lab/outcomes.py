"""Public outcome data: for each query, what several real models scored on it and what they cost.

Four benchmarks in one shape: MMLU, GSM8K and MT-Bench as RouteLLM published them (Mixtral-8x7B
against gpt-4-1106), and the 14 tasks of LLMRouter (nine models). Prompts that their source lists as
contaminated, repeated prompts, and test rows that are also in train are dropped. Does not know: any
policy, any figure.

Costs are list prices times tokens, four characters a token. RouteLLM's pair has the vendors' own
prices as genai-prices knows them, LLMRouter's models those of the file that comes with the set.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routerlab.errors import DataError
from routerlab.lab.datasets import PublicFile, fetch, public_files
from routerlab.lab.metrics import Floats

CHEAP, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
PAIR = (CHEAP, STRONG)
PAIR_USD_PER_MTOK = {CHEAP: (0.7, 0.7), STRONG: (10.0, 30.0)}
"""Input and output: `open-mixtral-8x7b` of Mistral and `gpt-4-1106-preview` of OpenAI."""
CHARACTERS_A_TOKEN = 4
LETTER_TOKENS = 1
"""MMLU's answers: a letter."""
ASSUMED_ANSWER_TOKENS = 200
"""LLMRouter's set does not hold the answers; every model is taken to give one of this length."""

_EVALS = "routellm/evals"
_ROUTER = "data/dcrouter_preprocessed"
_TASKS = "data/example_data/query_data/default_query_{part}.jsonl"
_PRICES = "data/example_data/llm_candidates/default_llm.json"


@dataclass(frozen=True)
class Outcomes:
    """What each of k models scored on each of n queries, and what that answer cost.

    `texts`: what a router sees of a query. `domains`: subject, category or task of each. `models`:
    cheapest first. `scores`, shape (n, k): within `scale`, 0 to 1 or, for MT-Bench, 1 to 10.
    `costs`, shape (n, k): USD; `expected`: what can be said of them before the call, with answers
    of each model's mean length. `held_out`, shape (n,): what the source keeps for tests, nowhere
    true if it keeps nothing.
    """

    name: str
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    costs: Floats
    expected: Floats
    held_out: NDArray[np.bool_]
    scale: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        shape = (len(self.texts), len(self.models))
        shapes = {self.scores.shape, self.costs.shape, self.expected.shape}
        if not (shapes == {shape} and len(self.domains) == shape[0]):
            raise DataError(f"{self.name}: texts, domains, scores and costs differ in number")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def unit_scores(self) -> Floats:
        """Scores from 0 to 1, shape (n, k): what is learned."""
        low, high = self.scale
        return (self.scores - low) / (high - low)

    @property
    def singles(self) -> dict[str, dict[str, float]]:
        """Mean `score` and `cost` of each model, asked every query."""
        means = zip(self.scores.mean(axis=0), self.costs.mean(axis=0), strict=True)
        return {
            model: {"score": float(score), "cost": float(cost)}
            for model, (score, cost) in zip(self.models, means, strict=True)
        }

    def part(self, rows: int, seed: int) -> Outcomes:
        """So many rows drawn at random; all of them for 0 or where there are no more."""
        if not 0 < rows < len(self):
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self))[:rows])
        return replace(
            self,
            texts=tuple(self.texts[row] for row in kept),
            domains=tuple(self.domains[row] for row in kept),
            scores=self.scores[kept],
            costs=self.costs[kept],
            expected=self.expected[kept],
            held_out=self.held_out[kept],
        )

    def tidy(self) -> pd.DataFrame:
        """One row a query and model: `query` (its number), `domain`, `model`, `score`, `cost`."""
        n, k = self.scores.shape
        return pd.DataFrame(
            {
                "query": np.repeat(np.arange(n), k),
                "domain": np.repeat(self.domains, k),
                "model": np.tile(self.models, n),
                "score": self.scores.ravel(),
                "cost": self.costs.ravel(),
            }
        )


def load_mmlu() -> Outcomes:
    """57 subjects of MMLU, 0 or 1 a model; contaminated and repeated prompts dropped."""
    dropped, rows, domains = _contaminated("mmlu"), [], []
    for file in _files(f"{_EVALS}/mmlu/responses/"):
        for row in _table(fetch(file)):
            if row["prompt"] not in dropped:
                dropped.add(row["prompt"])
                rows.append(row)
                domains.append(Path(file.path).stem.removeprefix("mmlu_"))
    answers = np.full((len(rows), len(PAIR)), LETTER_TOKENS)
    return _of_pair("mmlu", [row["prompt"] for row in rows], domains, _right(rows), answers)


def load_gsm8k() -> Outcomes:
    """The test questions of GSM8K, 0 or 1 a model; contaminated prompts dropped."""
    dropped = _contaminated("gsm8k")
    rows = [
        row
        for row in _table(_fetched(f"{_EVALS}/gsm8k/gsm8k_responses.csv"))
        if row["prompt"] not in dropped
    ]
    answers = _tokens([row[f"{model}_response"] for row in rows for model in PAIR])
    texts = [row["prompt"] for row in rows]
    return _of_pair("gsm8k", texts, ["gsm8k"] * len(rows), _right(rows), answers.reshape(-1, 2))


def load_mt_bench() -> Outcomes:
    """MT-Bench: mean of the judge's marks of both turns, 1 to 10; the router sees the first turn.

    A question with a contaminated turn is dropped, as the paper does.
    """
    dropped = _contaminated("mt_bench")
    questions = [
        row
        for row in _lines(_fetched(f"{_EVALS}/mt_bench/question.jsonl"))
        if not dropped & set(row["turns"])
    ]
    marks: dict[tuple[int, str], list[float]] = defaultdict(list)
    judged: dict[tuple[int, str], int] = {}
    for row in _lines(_fetched(f"{_EVALS}/mt_bench/judgements.jsonl")):
        key = row["question_id"], row["model"]
        marks[key].append(row["score"])
        judged[key] = max(judged.get(key, 0), len(row["user_prompt"]))
    keys = [[(row["question_id"], model) for model in PAIR] for row in questions]
    scores = np.array([[np.mean(marks[key]) for key in pair] for pair in keys])
    asked = [sum(map(len, row["turns"])) for row in questions]
    # The judge was shown the whole conversation: what is not question is answer.
    answers = np.array([[judged[key] for key in pair] for pair in keys]) - np.array(asked)[:, None]
    domains = [row["category"] for row in questions]
    texts = [row["turns"][0] for row in questions]
    return _of_pair(
        "mt_bench", texts, domains, scores, answers / CHARACTERS_A_TOKEN, scale=(1.0, 10.0)
    )


def load_llmrouter() -> Outcomes:
    """LLMRouter's 14 tasks and nine models, scores 0 to 1; test rows that are in train dropped.

    `held_out` are the test rows that remain.
    """
    train, test = (json.loads(_fetched(f"{_ROUTER}/{p}.json").read_bytes()) for p in _PARTS)
    seen = {row["question"] for row in train}
    rows = [*train, *(row for row in test if row["question"] not in seen)]
    task_of: dict[str, str] = {}
    for part in _PARTS:
        for row in _lines(_fetched(_TASKS.format(part=part))):
            task_of.setdefault(row["query"], row["task_name"])
    prices = json.loads(_fetched(_PRICES).read_bytes())
    models = sorted(rows[0]["scores"], key=lambda m: (float(prices[m]["input_price"]), m))
    usd = np.array([[prices[m]["input_price"], prices[m]["output_price"]] for m in models])
    texts = [row["question"] for row in rows]
    costs = (np.outer(_tokens(texts), usd[:, 0]) + ASSUMED_ANSWER_TOKENS * usd[:, 1]) / 1e6
    return Outcomes(
        name="llmrouter",
        texts=tuple(texts),
        domains=tuple(task_of[text] for text in texts),
        models=tuple(models),
        scores=np.array([[row["scores"][model] for model in models] for row in rows], dtype=float),
        costs=costs,
        expected=costs,
        held_out=np.arange(len(rows)) >= len(train),
    )


_PARTS = ("train", "test")
LOADERS: dict[str, Callable[[], Outcomes]] = {
    "mmlu": load_mmlu,
    "gsm8k": load_gsm8k,
    "mt_bench": load_mt_bench,
    "llmrouter": load_llmrouter,
}


def load_all(
    names: Sequence[str] = tuple(LOADERS),
) -> tuple[dict[str, Outcomes], list[str]]:
    """The named benchmarks that can be had, and a line for each that cannot."""
    found, notes = {}, []
    for name in names:
        try:
            found[name] = LOADERS[name]()
        except DataError as error:
            notes.append(f"{name}: {error}")
    return found, notes


def _of_pair(
    name: str,
    texts: Sequence[str],
    domains: Sequence[str],
    scores: Floats,
    answer_tokens: Any,
    scale: tuple[float, float] = (0.0, 1.0),
) -> Outcomes:
    usd = np.array([PAIR_USD_PER_MTOK[model] for model in PAIR])
    asking = np.outer(_tokens(texts), usd[:, 0])
    costs, expected = (
        (asking + tokens * usd[:, 1]) / 1e6
        for tokens in (answer_tokens, answer_tokens.mean(axis=0))
    )
    none = np.zeros(len(texts), dtype=bool)
    return Outcomes(name, tuple(texts), tuple(domains), PAIR, scores, costs, expected, none, scale)


def _contaminated(benchmark: str) -> set[str]:
    path = _fetched(f"{_EVALS}/{benchmark}/contaminated_prompts.jsonl")
    return {row["eval_prompt"] for row in _lines(path)}


def _right(rows: Sequence[dict[str, str]]) -> Floats:
    return np.array([[row[model] == "True" for model in PAIR] for row in rows], dtype=float)


def _tokens(texts: Sequence[str]) -> Floats:
    return np.array([len(text) for text in texts]) / CHARACTERS_A_TOKEN


def _files(prefix: str) -> list[PublicFile]:
    return [file for file in public_files() if file.path.startswith(prefix)]


def _fetched(path: str) -> Path:
    return fetch(next(file for file in public_files() if file.path == path))


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _lines(path: Path) -> list[dict[str, Any]]:
    # By "\n" alone: texts may hold other characters at which `splitlines` would cut.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
