"""What the comparison says: where to set the threshold, and where routing loses.

Does not know: how predictions came about, plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from routerlab.lab import metrics
from routerlab.lab.frontier import GROUPS, STEPS, Judged, answered_by, curves, singles
from routerlab.lab.outcome_learning import learned
from routerlab.lab.outcome_settings import FOLDS, Draw, Prepared, settings_of

WANTED = 0.8
"""The share of the gap that the chosen threshold is to close."""


def thresholds(prepared: Mapping[str, Prepared], seed: int) -> dict[str, dict[str, Any]]:
    """The chosen threshold of each benchmark with a `labels_1500` setting, on its first draw."""
    found = {}
    for name, one in prepared.items():
        draws = settings_of(one.outcomes, 1, seed).get("labels_1500")
        if draws:
            found[name] = chosen_threshold(one, draws[0], seed)
    return found


def details(
    prepared: Mapping[str, Prepared],
    runs: Mapping[str, Mapping[str, Mapping[str, Sequence[Judged]]]],
    seed: int,
) -> dict[str, Any]:
    """For figures: operating points and domains in the first setting of each, thresholds."""
    main = {name: next(iter(by_setting)) for name, by_setting in runs.items()}
    return {
        "thresholds": thresholds(prepared, seed),
        "curves": {
            name: {
                "setting": main[name],
                "routers": curves(by_setting[main[name]], seed),
                "singles": singles(
                    by_setting[main[name]]["learned"], prepared[name].outcomes.models
                ),
            }
            for name, by_setting in runs.items()
        },
        "domains": {
            name: by_domain(by_setting[main[name]]["learned"], prepared[name].outcomes.domains)
            for name, by_setting in runs.items()
        },
    }


def chosen_threshold(prepared: Prepared, draw: Draw, seed: int) -> dict[str, Any]:
    """The threshold on the predicted gain that closes `WANTED` of the gap, and what it does.

    It is set by cross-validation on the training rows of a draw; `calls`, `recovered` and
    `saved` (of always asking the strong model) are measured on its test rows.
    """
    outcomes, evidence = prepared.outcomes, prepared.evidence
    ((train, test),) = draw
    gain = np.empty(len(train))
    folds = KFold(FOLDS, shuffle=True, random_state=seed).split(train)
    for fitted, held_out in folds:
        predicted = learned(
            evidence.take(train[fitted]),
            outcomes.unit_scores[train[fitted]],
            evidence.take(train[held_out]),
            seed,
        )
        gain[held_out] = predicted[:, -1] - predicted[:, 0]
    order = np.argsort(-gain)
    gaps = np.diff(outcomes.scores[train][order], axis=1)[:, 0]
    reached = np.cumsum(gaps) / gaps.sum() >= WANTED
    threshold = float(gain[order][reached.argmax()])
    final = learned(evidence.take(train), outcomes.unit_scores[train], evidence.take(test), seed)
    asked = (final[:, -1] - final[:, 0] >= threshold).astype(float)
    gap = outcomes.scores[test, -1] - outcomes.scores[test, 0]
    cheap, strong = outcomes.costs[test, 0], outcomes.costs[test, -1]
    return {
        "threshold": threshold,
        "wanted": WANTED,
        "calls": _share([asked, np.ones(len(test))], seed),
        "recovered": _share([asked * gap, gap], seed),
        "saved": _share([(1 - asked) * (strong - cheap), strong], seed),
    }


def _share(columns: list[Any], seed: int) -> dict[str, float | int]:
    # Test rows stand in random order, so that these are random groups.
    groups = [str(row % GROUPS) for row in range(len(columns[0]))]
    return metrics.clustered(columns, groups, metrics.ratio, seed=seed).as_dict()


def by_domain(draws: Sequence[Judged], domains: Sequence[str]) -> list[dict[str, Any]]:
    """How the router does in each domain, the worst first.

    Two models: with half of all calls to the strong one, `score`, and `mix`, that of a random mix
    with as many strong calls in the domain. More: at any price, `mix` is the best single model.
    `edge` is the first less the second, means over draws; `n` counts test rows of all draws.
    """
    names = np.asarray(domains)
    rows: dict[str, list[list[float]]] = {}
    for judged in draws:
        k = judged.scores.shape[1]
        answered = answered_by(judged)[STEPS // 2 if k == 2 else -1]
        score = (answered * judged.scores).sum(axis=1)
        single = judged.scores[:, judged.strong]
        for name in np.unique(names[judged.rows]):
            inside = names[judged.rows] == name
            calls = answered[inside, 1].mean()
            cheap = judged.scores[inside, 0].mean()
            mix = single[inside].mean()
            if k == 2:
                mix = calls * mix + (1 - calls) * cheap
            found = [score[inside].mean(), mix, score[inside].mean() - mix, calls, inside.sum()]
            rows.setdefault(str(name), []).append([float(value) for value in found])
    told = []
    for name, parts in rows.items():
        score, mix, edge, calls = (float(np.mean([part[i] for part in parts])) for i in range(4))
        n = int(sum(part[4] for part in parts))
        told.append(
            {"domain": name, "score": score, "mix": mix, "edge": edge, "calls": calls, "n": n}
        )
    return sorted(told, key=lambda row: row["edge"])
