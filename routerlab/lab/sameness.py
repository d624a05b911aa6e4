"""What of a report may differ between two runs with one seed, and the report without it.

Does not know: how a report is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAY_DIFFER = (
    "provenance",
    "figures",  # alt texts tell timings
    "latency",
    "latency_ms",
    "route_ms",
    "classify_ms",
    "ttft_ms",
    "ttft_cached_ms",
    "overhead_ratio",
    "router_cpu_ms",
    "growth_mb",
    "seconds",
    "started",
)
"""Keys of timings and provenance, wherever in the report they stand."""


def without_timings(report: Any) -> Any:
    """A copy of a report, or of a part of it, without the keys that may differ."""
    if isinstance(report, Mapping):
        return {k: without_timings(v) for k, v in report.items() if k not in MAY_DIFFER}
    if isinstance(report, list | tuple):
        return [without_timings(value) for value in report]
    return report
