"""Policies on the same streams: what each costs, what each part of the router saves, and when.

Streams differ in their seed and are replayed in process (`lab.replay`). Does not know: how a
request is served, plots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from routerlab.catalog import Catalog
from routerlab.lab import metrics
from routerlab.lab.benchmark import ROUTED, Arm, arms
from routerlab.lab.metrics import Floats, Metric
from routerlab.lab.parallel import each
from routerlab.lab.replay import World, replay
from routerlab.lab.traffic import LABELLED_KINDS, Request
from routerlab.policies import TierPolicy, always_strongest
from routerlab.types import TIERS

Streams = Mapping[int, Sequence[Request]]
Section = dict[str, Any]
STRONGEST = "always_strongest"
# Each step adds one part to the arm before it; both orders lead from one end to the other.
FORWARD = {
    "routing": "routed_no_cache",
    "exact cache": "routed_exact",
    "semantic cache": ROUTED,
}
REVERSE = {
    "semantic cache": "strongest_semantic",
    "exact cache": "strongest_cached",
    "routing": ROUTED,
}
PAIRS = (
    (ROUTED, "routed_no_cache"),
    (ROUTED, STRONGEST),
    (ROUTED, "always_cheapest"),
    (ROUTED, "random"),
    (ROUTED, "oracle"),
    ("routed_no_cache", "oracle"),
    ("routed_no_cache", "random"),
)
METHOD = (
    "in process: the router's own decisions and cache on synthetic answers, billed at list price "
    "as through the SDKs"
)


def partial_arms(catalog: Catalog) -> list[Arm]:
    """Routers with a part left out, for the waterfall."""
    strongest = always_strongest(catalog)
    return [
        Arm("routed_exact", TierPolicy(), exact=True),
        Arm("strongest_semantic", strongest, semantic=True),
        Arm("strongest_cached", strongest, exact=True, semantic=True),
    ]


def replay_all(streams: Streams, world: World) -> pd.DataFrame:
    """Every policy and every part of the router on every stream; a row a request."""
    work = partial(_on_stream, world)
    parts = each(work, list(streams.items()), desc="streams", unit="stream")
    return pd.concat(parts, ignore_index=True)


def _on_stream(world: World, numbered: tuple[int, Sequence[Request]]) -> pd.DataFrame:
    seed, traffic = numbered
    every = (*arms(world.catalog, seed, traffic), *partial_arms(world.catalog))
    parts = [replay(arm, traffic, world).assign(stream=seed) for arm in every]
    return pd.concat(parts, ignore_index=True)


def by_policy(rows: pd.DataFrame, catalog: Catalog) -> Section:
    """A stream's cost (USD), hits and strength by policy; means over streams, Student's intervals.

    `too_weak`: of requests whose tier is known, the share that a model of a lower tier answered, or
    another question's answer; what a policy saves by that is no saving.
    """
    rank = {model.id: TIERS.index(model.tier) for model in catalog.models}
    wanted = rows.tier.map(TIERS.index)
    weak = (rows.model.map(rank) < wanted) | rows.false_hit
    known = rows.assign(
        hit=rows.cache.isin(["exact", "semantic"]),
        weak=weak.where(rows.kind.isin(LABELLED_KINDS)).astype(float),
    )
    found: Section = {}
    for name, part in known.groupby("arm", sort=False):
        runs = part.groupby("stream")
        figures = {
            "usd": runs.cost_usd.sum(),
            "hit_rate": runs.hit.mean(),
            "false_hit_rate": runs.false_hit.mean(),
            "too_weak": runs.weak.mean(),
        }
        found[str(name)] = {
            key: metrics.over_seeds(list(values)).as_dict() for key, values in figures.items()
        }
    return found


def _by_arm(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """USD by request (rows) and arm (columns), a stream's worth; and the requests' families."""
    costs = rows.pivot(index=["stream", "number", "family"], columns="arm", values="cost_usd")
    families = [str(name) for name in costs.index.get_level_values("family")]
    return costs / rows.stream.nunique(), families


def _figures(
    rows: pd.DataFrame,
    statistics: Mapping[str, Callable[[Mapping[str, Floats]], Floats]],
    seed: int,
) -> dict[str, Metric]:
    """Figures of the arms' costs a stream, with whole query families resampled."""
    costs, families = _by_arm(rows)
    names = list(costs.columns)

    def on_sums(one: Callable[[Mapping[str, Floats]], Floats]) -> Callable[[Floats], Floats]:
        return lambda sums: one({name: sums[..., place] for place, name in enumerate(names)})

    return metrics.clustered_all(
        [costs[name] for name in names],
        families,
        {key: on_sums(one) for key, one in statistics.items()},
        seed=seed,
    )


def paired(rows: pd.DataFrame, seed: int) -> Section:
    """One policy less another on the same requests: USD a stream, and share saved of the other's.

    Negative USD: the first costs less. Intervals over query families.
    """
    statistics: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {}
    for one, other in PAIRS:
        statistics[f"{one}_vs_{other}:usd"] = lambda s, a=one, b=other: s[a] - s[b]  # type: ignore[misc]
        statistics[f"{one}_vs_{other}:saved"] = lambda s, a=one, b=other: 1 - s[a] / s[b]  # type: ignore[misc]
    found: Section = {}
    for key, metric in _figures(rows, statistics, seed).items():
        pair, figure = key.split(":")
        found.setdefault(pair, {})[figure] = metric.as_dict()
    return found


def waterfall(rows: pd.DataFrame, seed: int) -> Section:
    """What each part saves a stream: USD, and share of the strongest's cost, in two orders.

    What a part saves depends on what came before it: that is why there are two.
    """
    found: Section = {}
    for order, steps in {"forward": FORWARD, "reverse": REVERSE}.items():
        statistics: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {}
        before = STRONGEST
        for step, after in steps.items():
            statistics[f"{step}:usd"] = lambda s, a=after, b=before: s[b] - s[a]  # type: ignore[misc]
            statistics[f"{step}:share"] = lambda s, a=after, b=before: (  # type: ignore[misc]
                (s[b] - s[a]) / s[STRONGEST]
            )
            before = after
        measured = _figures(rows, statistics, seed)
        found[order] = [
            {
                "step": step,
                "usd": measured[f"{step}:usd"].as_dict(),
                "share": measured[f"{step}:share"].as_dict(),
            }
            for step in steps
        ]
    ends = {"start_usd": STRONGEST, "end_usd": ROUTED}
    for key, metric in _figures(
        rows,
        {k: lambda s, a=arm: s[a] for k, arm in ends.items()},  # type: ignore[misc]
        seed,
    ).items():
        found[key] = metric.as_dict()
    return found


def sensitivity(
    world: World,
    make: Callable[[float, int], Sequence[Request]],
    *,
    zipf_exponents: Sequence[float],
    cache_sizes: Sequence[int],
    ttl_hours: Sequence[float],
    zipf_exponent: float,
    seeds: Sequence[int],
) -> Section:
    """Hits and savings of the routed arm as one thing changes; the others stay as they are.

    `make` draws a stream of an exponent and a seed. Means over streams, Student's intervals; saved
    is against always the strongest, on the same stream.
    """
    drawn = {
        exponent: [make(exponent, seed) for seed in seeds]
        for exponent in {*zipf_exponents, zipf_exponent}
    }
    world.encode([stream for streams in drawn.values() for stream in streams])
    whole = Arm(ROUTED, TierPolicy(), exact=True, semantic=True)
    plan: dict[str, list[tuple[float, float, Arm]]] = {
        "zipf_exponent": [(e, e, whole) for e in zipf_exponents],
        "max_entries": [(n, zipf_exponent, replace(whole, max_entries=n)) for n in cache_sizes],
        "ttl_hours": [(h, zipf_exponent, replace(whole, ttl_s=h * 3600)) for h in ttl_hours],
    }
    work = partial(_strongest_usd, world)
    alone = each(work, list(drawn.values()), desc="strongest", unit="exponent")
    usd = dict(zip(drawn, alone, strict=True))
    settings = {(exponent, arm) for points in plan.values() for _, exponent, arm in points}
    ordered = sorted(settings, key=str)  # the same way each time
    asked = [(arm, drawn[exponent], usd[exponent]) for exponent, arm in ordered]
    found = each(partial(_of_setting, world), asked, desc="sensitivity", unit="setting")
    measured = dict(zip(ordered, found, strict=True))
    return {
        "streams": len(seeds),
        "requests": len(drawn[zipf_exponent][0]),
        "method": METHOD,
        **{
            what: [{"value": v, **measured[exponent, arm]} for v, exponent, arm in points]
            for what, points in plan.items()
        },
    }


def _strongest_usd(world: World, streams: Sequence[Sequence[Request]]) -> list[float]:
    strongest = Arm(STRONGEST, always_strongest(world.catalog))
    return [float(replay(strongest, one, world).cost_usd.sum()) for one in streams]


def _of_setting(
    world: World, asked: tuple[Arm, Sequence[Sequence[Request]], Sequence[float]]
) -> Section:
    arm, streams, usd = asked
    runs = zip(streams, usd, strict=True)
    return _over_streams([_against(replay(arm, one, world), strongest) for one, strongest in runs])


def _against(routed: pd.DataFrame, strongest_usd: float) -> dict[str, float]:
    return {
        "hit_rate": float(routed.cache.isin(["exact", "semantic"]).mean()),
        "false_hit_rate": float(routed.false_hit.mean()),
        "saved": float(1 - routed.cost_usd.sum() / strongest_usd),
    }


def _over_streams(runs: Sequence[Mapping[str, float]]) -> Section:
    return {key: metrics.over_seeds([run[key] for run in runs]).as_dict() for key in runs[0]}


def router_cpu(rows: pd.DataFrame, seed: int) -> Section:
    """CPU milliseconds of this process to route a request: the mean, and each path's median.

    `rows`: of a replay with the real embedding, where nothing is kept between requests.
    """
    found = {"mean": metrics.mean(rows.cpu_ms, list(rows.family), seed=seed)}
    for path, part in rows.groupby("cache"):
        found[str(path)] = metrics.quantile(np.asarray(part.cpu_ms), 0.50, seed=seed)
    return {name: metric.as_dict() for name, metric in found.items()}
