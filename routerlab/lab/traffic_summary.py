"""The summary page's lines on the traffic: policies over many streams, the waterfall, its limits.

Does not know: any other part of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "routed": "routed, with cache",
    "routed_no_cache": "routed, no cache",
    "oracle": "oracle by label, no cache",
    "always_cheapest": "always cheapest",
    "random": "random mix",
    "always_strongest": "always strongest",
}


def lines(report: Mapping[str, Any]) -> list[str]:
    """Markdown; every number from the report."""
    cost, sensitivity = report["cost"], report["sensitivity"]
    policies, falls = cost["by_policy"], cost["waterfall"]
    cpu = cost["router_cpu_ms"]["mean"]
    n = policies["routed"]["usd"]["n"]
    return [
        "## Policies on the same traffic",
        "",
        f"{n} streams of {sensitivity['requests']:,} requests, {cost['method']}; the first stream "
        "also ran through the SDKs. To route a request takes "
        f"{_shown(cpu, '{:.1f}')} ms of CPU (mean).",
        "",
        "| policy | USD a stream | answered from the cache | by too weak a model or wrongly |",
        "| --- | --- | --- | --- |",
        *(
            f"| {label} | {_shown(policies[name]['usd'], '${:.2f}')} | "
            f"{_shown(policies[name]['hit_rate'])} | {_shown(policies[name]['too_weak'])} |"
            for name, label in NAMES.items()
        ),
        "",
        "| less than always the strongest by | routing first | cache first |",
        "| --- | --- | --- |",
        *(
            f"| {step} | {_shown(forward)} | {_shown(_share(falls['reverse'], step))} |"
            for step, forward in ((one["step"], one["share"]) for one in falls["forward"])
        ),
        "",
        f"{_range(sensitivity, 'zipf_exponent', 'a Zipf exponent')}; "
        f"{_range(sensitivity, 'max_entries', 'a cache of at most this many entries')}.",
        "",
    ]


def _share(steps: list[Mapping[str, Any]], name: str) -> Mapping[str, float]:
    share: Mapping[str, float] = next(one["share"] for one in steps if one["step"] == name)
    return share


def _range(section: Mapping[str, Any], name: str, what: str) -> str:
    told = ", ".join(
        f"{point['value']:g}: {point['hit_rate']['value']:.0%}" for point in section[name]
    )
    return f"Hit rate by {what}: {told}"


def _shown(metric: Mapping[str, float], style: str = "{:.1%}") -> str:
    value, low, high = (style.format(metric[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
