"""The report's section on the traffic: policies over many streams, the waterfall, its limits.

Does not know: any other section, Markdown, HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routerlab.lab.report import PERCENT, Cell, Report, cell, shown
from routerlab.lab.tables import Table

NAMES = {
    "routed": "routed, with cache",
    "routed_no_cache": "routed, no cache",
    "oracle": "oracle by label, no cache",
    "always_cheapest": "always cheapest",
    "random": "random mix",
    "always_strongest": "always strongest",
}
TITLE = "Policies on the same traffic"


def words(report: Report) -> tuple[str, ...]:
    """What was run, and the router's own cost."""
    cost, sensitivity = report["cost"], report["sensitivity"]
    n = cost["by_policy"]["routed"]["usd"]["n"]
    cpu = shown(cost["router_cpu_ms"]["mean"], "{:.1f}")
    return (
        f"{n} streams of {sensitivity['requests']:,} requests, {cost['method']}; the first stream "
        f"also ran through the SDKs. To route a request takes {cpu} ms of CPU (mean).",
        f"{_range(sensitivity, 'zipf_exponent', 'a Zipf exponent')}; "
        f"{_range(sensitivity, 'max_entries', 'a cache of at most this many entries')}.",
    )


def tables(report: Report) -> tuple[Table, ...]:
    """Policies beside each other; the waterfall in both orders."""
    policies, falls = report["cost"]["by_policy"], report["cost"]["waterfall"]
    by_policy = [
        (
            Cell(label),
            cell(policies[name]["usd"], "${:.2f}"),
            cell(policies[name]["hit_rate"], PERCENT),
            cell(policies[name]["too_weak"], PERCENT),
        )
        for name, label in NAMES.items()
    ]
    steps = [
        (
            Cell(one["step"]),
            cell(one["share"], PERCENT),
            cell(_share(falls["reverse"], one["step"]), PERCENT),
        )
        for one in falls["forward"]
    ]
    return (
        Table(
            "Policies, mean over the streams",
            ("policy", "USD a stream", "from the cache", "by too weak a model or wrongly"),
            {"": by_policy},
            ours=NAMES["routed"],
        ),
        Table(
            "Less than always the strongest, by step",
            ("step", "routing first", "cache first"),
            {"": steps},
        ),
    )


def _share(steps: list[Mapping[str, Any]], name: str) -> Mapping[str, float]:
    share: Mapping[str, float] = next(one["share"] for one in steps if one["step"] == name)
    return share


def _range(section: Mapping[str, Any], name: str, what: str) -> str:
    told = ", ".join(
        f"{point['value']:g}: {point['hit_rate']['value']:.0%}" for point in section[name]
    )
    return f"Hit rate by {what}: {told}"
