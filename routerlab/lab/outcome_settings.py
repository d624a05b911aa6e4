"""Who is trained on what: the settings in which routers are compared, each a table of its own.

- `labels_1500`: that many labelled rows of the same benchmark, test on the rest; several draws.
- `five_fold`: cross-validated within a benchmark that is too small for that, or as a whole.
- `source_split`: the benchmark's own training and test rows.
- `leave_one_domain_out`: no row of the tested subject, category or task is trained on, and at most
  as many rows as in `labels_1500`. MMLU's subjects are held out in eight groups.
- `other_benchmarks_only`: trained on the other benchmarks of the same two models.

Does not know: how a learner learns, what the figures are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeAlias

import numpy as np
from sklearn.model_selection import GroupKFold, KFold
from tqdm.auto import trange

from routerlab.classifier import Classifier
from routerlab.embedding import Embedder, Vectors
from routerlab.lab.frontier import Judged, judge
from routerlab.lab.metrics import Floats, Metric
from routerlab.lab.outcome_learning import LEARNERS, NEVER, Evidence, Learner, Rows, best_single
from routerlab.lab.outcomes import PAIR, Outcomes
from routerlab.lab.parallel import each
from routerlab.types import TIERS

Split: TypeAlias = tuple[Rows, Rows]
"""Rows to learn from and rows to test on."""
Draw: TypeAlias = list[Split]
"""Splits whose test rows together are judged."""

LABELS = 1_500
MOST_DOMAINS = 20
DOMAIN_GROUPS = 8
FOLDS = 5
_BLOCK = 500


@dataclass(frozen=True)
class Prepared:
    """Outcomes with what routers see: evidence, and the tier expected by the classifier, (n,)."""

    outcomes: Outcomes
    evidence: Evidence
    tiers: Floats


def prepare(outcomes: Outcomes, embedder: Embedder, classifier: Classifier) -> Prepared:
    """Embed and classify every query; what is embedded stays kept if this is broken off."""
    texts, name = list(outcomes.texts), outcomes.name
    starts = trange(0, len(texts), _BLOCK, desc=f"embedding {name}", unit="block", leave=False)
    blocks = []
    for start in starts:
        block = texts[start : start + _BLOCK]
        blocks.append((block, embedder.encode(block)))
    read = each(partial(_read, classifier), blocks, desc=f"reading {name}", unit="block")
    evidence, tiers = zip(*read, strict=True)
    return Prepared(outcomes, Evidence.joined(evidence), np.concatenate(tiers))


def _read(classifier: Classifier, block: tuple[list[str], Vectors]) -> tuple[Evidence, Floats]:
    texts, vectors = block
    tiers = classifier.predict_proba(texts, vectors) @ np.arange(len(TIERS)) / (len(TIERS) - 1)
    return Evidence.of(texts, vectors), tiers


def settings_of(outcomes: Outcomes, draws: int, seed: int) -> dict[str, list[Draw]]:
    """The draws of every setting that trains on the benchmark itself."""
    n = len(outcomes)
    found: dict[str, list[Draw]] = {}
    if outcomes.held_out.any():
        own = np.flatnonzero(~outcomes.held_out), np.flatnonzero(outcomes.held_out)
        found["source_split"] = [[own]]
    elif n > 2 * LABELS:
        orders = [np.random.default_rng(seed + draw).permutation(n) for draw in range(draws)]
        found["labels_1500"] = [[(order[:LABELS], order[LABELS:])] for order in orders]
    if "labels_1500" not in found:
        found["five_fold"] = [
            list(KFold(FOLDS, shuffle=True, random_state=seed + draw).split(np.arange(n)))
            for draw in range(1 if outcomes.held_out.any() else draws)
        ]
    if (count := len(set(outcomes.domains))) > 1:
        folds = GroupKFold(count if count <= MOST_DOMAINS else DOMAIN_GROUPS)
        rng = np.random.default_rng(seed)
        found["leave_one_domain_out"] = [
            [
                (rng.permutation(train)[:LABELS], test)
                for train, test in folds.split(np.arange(n), groups=outcomes.domains)
            ]
        ]
    return found


def run(
    prepared: Prepared,
    draws: Sequence[Draw],
    seed: int,
    learners: Mapping[str, Learner] = LEARNERS,
) -> dict[str, list[Judged]]:
    """Every learner, and the tier policy, which learned nothing here, on the same draws."""
    outcomes = prepared.outcomes
    judged: dict[str, list[Judged]] = {name: [] for name in [*learners, "tier"]}
    splits = [(seed + number, split) for number, draw in enumerate(draws) for split in draw]
    work = partial(_on_split, prepared, learners)
    found = iter(each(work, splits, desc=outcomes.name, unit="split"))
    for draw in draws:
        predicted = list(islice(found, len(draw)))
        trained_on = np.concatenate([train for train, _ in draw])
        tested = np.concatenate([test for _, test in draw])
        for name, runs in judged.items():
            of_name = np.concatenate([one[name] for one in predicted])
            runs.append(_judged(outcomes, trained_on, tested, of_name))
    return judged


def _on_split(
    prepared: Prepared, learners: Mapping[str, Learner], seeded: tuple[int, Split]
) -> dict[str, Floats]:
    """Every learner's scores of the test rows of a split."""
    seed, (train, test) = seeded
    seen, asked = prepared.evidence.take(train), prepared.evidence.take(test)
    scores = prepared.outcomes.unit_scores[train]
    found = {name: learn(seen, scores, asked, seed) for name, learn in learners.items()}
    return {**found, "tier": _by_tier(prepared.tiers[test], scores)}


Runs: TypeAlias = Mapping[str, Sequence[Judged]]
"""Each router's draws of one setting."""
Figures: TypeAlias = dict[str, dict[str, Metric]]
"""By router and name, as `frontier.judge` gives them."""


def judge_all(runs: Mapping[str, Mapping[str, Runs]], seed: int) -> dict[str, dict[str, Figures]]:
    """The figures of every setting, by benchmark."""
    places = [(name, setting) for name, by_setting in runs.items() for setting in by_setting]
    of_places = [runs[name][setting] for name, setting in places]
    judged: dict[str, dict[str, Figures]] = {name: {} for name in runs}
    figures = each(partial(judge, seed=seed), of_places, desc="judging", unit="setting")
    for (name, setting), here in zip(places, figures, strict=True):
        judged[name][setting] = here
    return judged


def run_elsewhere(
    everything: Mapping[str, Prepared], seed: int
) -> dict[str, dict[str, list[Judged]]]:
    """`other_benchmarks_only` of each benchmark that has others of RouteLLM's two models."""
    asked = {
        name: (one, others)
        for name, one in everything.items()
        if one.outcomes.models == PAIR and (others := of_the_pair(everything, name))
    }
    found = each(partial(_elsewhere, seed), list(asked.values()), desc="elsewhere", unit="set")
    return dict(zip(asked, found, strict=True))


def _elsewhere(seed: int, asked: tuple[Prepared, list[Prepared]]) -> dict[str, list[Judged]]:
    """The learners see no row of this benchmark."""
    prepared, others = asked
    seen, scores = together(others)
    rows, unseen = np.arange(len(prepared.outcomes)), prepared.evidence
    predicted = {name: learn(seen, scores, unseen, seed) for name, learn in LEARNERS.items()}
    predicted["tier"] = _by_tier(prepared.tiers, scores)
    return {name: [_judged(prepared.outcomes, rows, rows, one)] for name, one in predicted.items()}


def together(parts: Sequence[Prepared], most: int | None = None) -> tuple[Evidence, Floats]:
    """Evidence and unit scores of several benchmarks of the same models, `most` rows of each."""
    taken = [(one, np.arange(len(one.outcomes))[:: _step(one, most)]) for one in parts]
    return (
        Evidence.joined([one.evidence.take(rows) for one, rows in taken]),
        np.concatenate([one.outcomes.unit_scores[rows] for one, rows in taken]),
    )


def _step(one: Prepared, most: int | None) -> int:
    return -(-len(one.outcomes) // most) if most else 1


def of_the_pair(everything: Mapping[str, Prepared], but: str) -> list[Prepared]:
    """The other benchmarks of RouteLLM's two models."""
    rest = (one for name, one in everything.items() if name != but)
    return [one for one in rest if one.outcomes.models == PAIR]


def _by_tier(tiers: Floats, scores: Floats) -> Floats:
    """Between the cheapest and the best single model, the harder queries first."""
    predicted = np.full((len(tiers), scores.shape[1]), NEVER)
    predicted[:, 0] = 0
    predicted[:, best_single(scores)] = tiers
    return predicted


def _judged(outcomes: Outcomes, train: Rows, test: Rows, predicted: Floats) -> Judged:
    return Judged(
        predicted=predicted,
        scores=outcomes.scores[test],
        costs=outcomes.costs[test],
        prices=outcomes.expected[test],
        strong=best_single(outcomes.scores[train]),
        rows=test,
    )
