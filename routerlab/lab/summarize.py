"""From the rows of a benchmark to the figures of the report.

Does not know: how rows came about, files, plots. Each figure is a `Metric` in dictionary form.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from routerlab.lab import metrics
from routerlab.lab.benchmark import ROUTED, STAGES
from routerlab.lab.metrics import Metric
from routerlab.lab.tokencheck import pairs, token_error
from routerlab.lab.traffic import LABELLED_KINDS
from routerlab.types import TIERS

Section = dict[str, Any]


def _arm(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows.arm == name].sort_values("number").reset_index(drop=True)


def latency(rows: pd.DataFrame, seed: int) -> Section:
    """Milliseconds to route in the routed arm: median, 95th percentile, and each stage's median."""
    routed = _arm(rows, ROUTED)
    stages = {stage: routed[f"{stage}_ms"].dropna() for stage in STAGES}
    return {
        "route_ms": {
            "p50": metrics.quantile(routed.route_ms, 0.50, seed=seed).as_dict(),
            "p95": metrics.quantile(routed.route_ms, 0.95, seed=seed).as_dict(),
        },
        "stages_ms": {
            stage: metrics.quantile(values, 0.50, seed=seed).as_dict()
            for stage, values in stages.items()
            if len(values)
        },
    }


def cost(rows: pd.DataFrame, seed: int) -> Section:
    """USD of the whole traffic by policy, and the shares saved, paired by request."""
    routed = _arm(rows, ROUTED)
    uncached = _arm(rows, "routed_no_cache")
    strongest = _arm(rows, "always_strongest")
    families = list(routed.family)

    def spent(name: str) -> dict[str, float | int]:
        arm = _arm(rows, name)
        return metrics.total(arm.cost_usd, list(arm.family), seed=seed).as_dict()

    def saved(less: pd.DataFrame, more: pd.DataFrame) -> dict[str, float | int]:
        return metrics.saving(less.cost_usd, more.cost_usd, families, seed=seed).as_dict()

    return {
        "routed_usd": spent(ROUTED),
        "routed_no_cache_usd": spent("routed_no_cache"),
        "always_strongest_usd": spent("always_strongest"),
        "always_cheapest_usd": spent("always_cheapest"),
        "random_usd": spent("random"),
        "oracle_usd": spent("oracle"),
        "saved_by_routing": saved(uncached, strongest),
        "saved_by_cache": saved(routed, uncached),
        "saved": saved(routed, strongest),
    }


def cache(rows: pd.DataFrame, seed: int) -> Section:
    """Hit rates of the routed arm, and the share of look-ups answered wrongly."""
    routed = _arm(rows, ROUTED)
    families = list(routed.family)
    hit = routed.cache.isin(["exact", "semantic"])
    section = {
        "hit_rate": metrics.mean(hit, families, seed=seed),
        "false_hit_rate": metrics.mean(routed.false_hit, families, seed=seed),
        "exact_hits": metrics.mean(routed.cache == "exact", families, seed=seed),
        "semantic_hits": metrics.mean(routed.cache == "semantic", families, seed=seed),
    }
    if hit.any():
        right, n = int((hit & ~routed.false_hit).sum()), int(hit.sum())
        section["precision"] = metrics.share(right, n)
    return {name: metric.as_dict() for name, metric in section.items()}


def streaming(rows: pd.DataFrame, seed: int) -> Section:
    """Median milliseconds to the first text in the routed arm: from a model, and from the cache."""
    routed = _arm(rows, ROUTED).dropna(subset=["ttft_ms"])
    cached = routed.cache.isin(["exact", "semantic"])
    parts = {"ttft_ms": routed[~cached], "ttft_cached_ms": routed[cached]}
    return {
        name: metrics.quantile(part.ttft_ms, 0.50, seed=seed).as_dict()
        for name, part in parts.items()
        if len(part)
    }


def billing(rows: pd.DataFrame, seed: int) -> Section:
    """What was billed over all arms, on whose count, and the error of the estimates before.

    The local server counts with the estimate's own counter, so simulated calls measure no error.
    """
    called = rows[rows.attempts > 0]
    families = list(called.family)
    by_class = {
        kind: {name: metric.as_dict() for name, metric in parts.items()}
        for kind, parts in token_error(pairs(rows), seed=seed).items()
    }
    return {
        "total_usd": metrics.total(called.cost_usd, families, seed=seed).as_dict(),
        "usage_from_provider": metrics.mean(
            called.usage_source == "provider", families, seed=seed
        ).as_dict(),
        "token_error": by_class,
        "notes": [] if by_class else ["simulated usage cannot measure the error of token counts"],
    }


def four_metrics(part: pd.DataFrame, seed: int) -> dict[str, dict[str, float | int]]:
    """Latency, cost, accuracy and cache hit rate of a part of the routed arm.

    Accuracy is over texts whose label is known: a near miss carries its neighbour's, not its own.
    """
    families = list(part.family)
    hit = part.cache.isin(["exact", "semantic"])
    labelled = part[part.kind.isin(LABELLED_KINDS)]
    figures: dict[str, Metric] = {
        "route_ms": metrics.quantile(part.route_ms, 0.50, seed=seed),
        "cost_usd": metrics.mean(part.cost_usd, families, seed=seed),
        "hit_rate": metrics.mean(hit, families, seed=seed),
    }
    if len(labelled):
        right = labelled.tier == labelled.predicted_tier
        figures["accuracy"] = metrics.mean(right, list(labelled.family), seed=seed)
    return {name: metric.as_dict() for name, metric in figures.items()}


def breakdown(rows: pd.DataFrame, seed: int) -> Section:
    """The four metrics of the routed arm: overall, by labelled tier, by provider that answered."""
    routed = _arm(rows, ROUTED)
    return {
        "overall": four_metrics(routed, seed),
        "by_tier": {
            tier: four_metrics(part, seed)
            for tier in TIERS
            if len(part := routed[routed.tier == tier])
        },
        "by_provider": {
            str(provider): four_metrics(part, seed) for provider, part in routed.groupby("provider")
        },
    }
