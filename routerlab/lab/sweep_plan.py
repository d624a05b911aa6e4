"""What a sweep of a million or a billion queries would take: hours, compute, and provider cost.

Everything is extrapolated from a measured rate and from estimated costs per query, for queries
that are like the measured ones. Does not know: how a row is routed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routerlab.lab import metrics
from routerlab.lab.metrics import Metric
from routerlab.lab.sweep import sweep
from routerlab.lab.sweep_partition import Done, Settings
from routerlab.lab.sweep_rows import POLICIES

CORES = 64
USD_PER_CORE_HOUR = 0.05
"""What a core hour is assumed to cost: a round figure, to be replaced by one's own."""
SIZES = {"1e6": 10**6, "1e9": 10**9}
Section = dict[str, Any]


def rate(done: Sequence[Done], seed: int) -> Metric:
    """Rows per second of CPU on one core, loading apart; partitions are resampled."""
    found = metrics.clustered(
        [[one.rows for one in done], [one.cpu_s for one in done]],
        [str(number) for number in range(len(done))],
        lambda sums: sums[..., 0] / sums[..., 1],
        seed=seed,
    )
    return Metric(found.value, found.low, found.high, n=sum(one.rows for one in done))


def plan(
    rows_per_second_per_core: Metric,
    usd_per_query: Mapping[str, Metric],
    queries: int,
    *,
    cores: int = CORES,
    usd_per_core_hour: float = USD_PER_CORE_HOUR,
) -> Section:
    """Hours on `cores` kept busy throughout, USD of compute, USD to the providers by policy.

    The intervals are those of rate and cost per query; that of hours and compute turns the rate's
    round. `ValueError` for what is not positive.
    """
    if min(queries, cores, usd_per_core_hour, rows_per_second_per_core.low) <= 0:
        raise ValueError("queries, cores, price of a core hour and rate must all be positive")
    core_hours = queries / 3600
    per_core = Metric(
        core_hours / rows_per_second_per_core.value,
        core_hours / rows_per_second_per_core.high,
        core_hours / rows_per_second_per_core.low,
        rows_per_second_per_core.n,
    )
    return {
        "queries": queries,
        "cores": cores,
        "usd_per_core_hour": usd_per_core_hour,
        "hours": _times(per_core, 1 / cores),
        "compute_usd": _times(per_core, usd_per_core_hour),
        "providers_usd": {name: _times(one, queries) for name, one in usd_per_query.items()},
    }


def section(
    rows_per_second_per_core: Metric,
    usd_per_query: Mapping[str, Metric],
    *,
    cores: int = CORES,
    usd_per_core_hour: float = USD_PER_CORE_HOUR,
) -> Section:
    """The report's `sweep`: the measured rate, and the plans for `SIZES`."""
    plans = {
        name: plan(
            rows_per_second_per_core,
            usd_per_query,
            queries,
            cores=cores,
            usd_per_core_hour=usd_per_core_hour,
        )
        for name, queries in SIZES.items()
    }
    return {"rows_per_second_per_core": rows_per_second_per_core.as_dict(), "plan": plans}


def measured(
    texts: Sequence[str],
    families: Sequence[str],
    *,
    work: Path,
    settings: Settings | None = None,
    partition_rows: int = 100,
    cores: int = CORES,
    usd_per_core_hour: float = USD_PER_CORE_HOUR,
    seed: int,
) -> Section:
    """The report's `sweep` from a real one over `texts`, on one thread of this process.

    `work`: where input and output lie for the time; costs are resampled by whole families.
    """
    with TemporaryDirectory(dir=work) as name:
        source, target = Path(name, "in"), Path(name, "out")
        source.mkdir()
        table = pa.table({"text": list(texts), "family": list(families)})
        pq.write_table(table, source / "queries.parquet")
        swept = sweep(source, target, threads=1, partition_rows=partition_rows, settings=settings)
        rows = pq.read_table(target, columns=["family", *(f"usd_{one}" for one in POLICIES)])
    by = rows.column("family").to_pylist()
    usd = {
        policy: metrics.mean(rows.column(f"usd_{policy}").to_numpy(), by, seed=seed)
        for policy in POLICIES
    }
    return section(rate(swept.done, seed), usd, cores=cores, usd_per_core_hour=usd_per_core_hour)


def paragraph(told_of: Mapping[str, Any]) -> str:
    """The report's `sweep` in words; every number comes from it."""
    speed = told_of["rows_per_second_per_core"]
    told = []
    for one in told_of["plan"].values():
        providers = ", ".join(
            f"{name.replace('_', ' ')} {_usd(cost)}" for name, cost in one["providers_usd"].items()
        )
        told.append(
            f"{one['queries']:,} queries would take {_hours(one['hours'])} on {one['cores']} cores "
            f"and {_usd(one['compute_usd'])} of compute; answering them, at the estimate before "
            f"the call and with no cache: {providers}."
        )
    price = next(iter(told_of["plan"].values()))["usd_per_core_hour"]
    return (
        f"One core encodes, routes and scores {speed['value']:.0f} queries a second "
        f"[{speed['low']:.0f}, {speed['high']:.0f}]. {' '.join(told)} The plans are extrapolated "
        "from queries like the measured ones, with all cores kept busy, a core hour at "
        f"${price:g} and the providers at list price."
    )


def _times(metric: Metric, factor: float) -> dict[str, float | int]:
    scaled = (metric.value * factor, metric.low * factor, metric.high * factor)
    return Metric(*scaled, metric.n).as_dict()


def _hours(metric: Mapping[str, float]) -> str:
    unit, factor = ("minutes", 60) if metric["value"] < 1 else ("hours", 1)
    value, low, high = (f"{metric[key] * factor:,.1f}" for key in ("value", "low", "high"))
    return f"{value} {unit} [{low}, {high}]"


def _usd(metric: Mapping[str, float]) -> str:
    digits = 2 if metric["value"] < 100 else 0
    value, low, high = (f"${metric[key]:,.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
