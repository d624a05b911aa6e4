"""Routes a folder of Parquet files of any size, in this process or on a Dask cluster.

Each file is cut into partitions, each partition becomes one file of the output folder, and what is
there already is not done again: a killed run goes on when it is started again. Dask comes with the
extra `routerlab[cluster]`. Its schedulers run what they are sent, for anyone who can reach them:
keep theirs on a private network, or behind `tls://`.

Does not know: what a row's outcome is, what the report makes of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from routerlab.errors import ClusterError, RouterLabError
from routerlab.lab.sweep_input import plan_partitions
from routerlab.lab.sweep_partition import Done, Partition, Settings, kept_totals, loaded
from routerlab.lab.sweep_rows import Totals
from routerlab.lab.sweep_runners import in_process, on_cluster, require_dask

PARTITION_ROWS = 10_000
"""Rows of a partition: what a killed worker loses at the most, about half a minute of a core."""


@dataclass(frozen=True)
class Swept:
    """A finished sweep: totals over all partitions, how many there were before, what was done."""

    totals: Totals
    partitions: int
    resumed: int
    done: tuple[Done, ...]


def sweep(
    source: Path,
    target: Path,
    *,
    scheduler: str | None = None,
    threads: int | None = None,
    partition_rows: int = PARTITION_ROWS,
    settings: Settings | None = None,
    progress: bool = True,
) -> Swept:
    """Route all rows of `source` (column `text`, scored where there is a `tier`) into `target`.

    `scheduler`: address of a Dask scheduler, as `tcp://host:8786`; None runs in this process on
    `threads` (1: one after the other; None: a thread a core). The rows are the same either way.
    `DataError` for input that cannot be swept or output of another sweep, `ClusterError` where
    Dask or its workers are not to be had; partitions that were done stay, and the same call goes
    on from them.
    """
    settings = settings or Settings()
    require_dask()
    identity = loaded(settings).identity
    partitions = plan_partitions(source, target, partition_rows, identity)
    kept = [kept_totals(partition) for partition in partitions]
    todo = [one for one, totals in zip(partitions, kept, strict=True) if totals is None]
    rows = sum(partition.rows for partition in partitions)
    bar = tqdm(
        total=rows,
        initial=rows - sum(partition.rows for partition in todo),
        desc="sweeping",
        unit="row",
        unit_scale=True,
        disable=not progress,
    )
    with bar:
        if scheduler is None or not todo:
            done = in_process(todo, settings, threads or os.cpu_count() or 1, bar)
        else:
            done = on_cluster(scheduler, todo, settings, bar)
    return Swept(_collected(partitions), len(partitions), len(partitions) - len(todo), tuple(done))


def _collected(partitions: Sequence[Partition]) -> Totals:
    """Totals of all outputs, with what killed workers left half written removed."""
    totals = Totals()
    for partition in partitions:
        kept = kept_totals(partition)
        if kept is None:
            raise ClusterError(
                f"{partition.target} was written where it cannot be seen from here: both folders "
                "must lie on storage that all workers share"
            )
        totals += kept
    for folder in {partition.target.parent for partition in partitions}:
        for left in folder.glob(".*.parquet"):
            left.unlink(missing_ok=True)
    return totals


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make sweep`."""
    parser = argparse.ArgumentParser(prog="python -m routerlab.lab.sweep", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="folder of Parquet files")
    parser.add_argument("target", type=Path, metavar="OUT", help="folder to write or to resume")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="such as tcp://127.0.0.1:8786")
    parser.add_argument("--threads", type=int, help="without a scheduler: a thread a core")
    parser.add_argument("--partition-rows", type=int, default=PARTITION_ROWS)
    parser.add_argument("--model-dir", type=Path, help="folder of the classifier, on every worker")
    given = parser.parse_args(arguments)
    try:
        swept = sweep(
            given.source,
            given.target,
            scheduler=given.scheduler,
            threads=given.threads,
            partition_rows=given.partition_rows,
            settings=Settings(given.model_dir.resolve() if given.model_dir else None),
        )
    except RouterLabError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    sys.stdout.write(told(swept) + "\n")
    return 0


def told(swept: Swept) -> str:
    """A sweep in a few lines, for a terminal."""
    totals, n = swept.totals, max(1, swept.totals.labelled)
    costs = ", ".join(f"{name.replace('_', ' ')} ${usd:.4f}" for name, usd in totals.usd.items())
    lines = [
        f"{totals.rows:,} rows in {swept.partitions:,} partitions, {swept.resumed:,} of them there "
        f"before; {totals.routed:,} routed, {totals.noted:,} with a note",
        f"estimated cost of answering them: {costs}",
    ]
    if totals.labelled:
        lines.append(
            f"of {totals.labelled:,} labelled rows {totals.right / n:.1%} right, "
            f"{totals.under / n:.1%} too low, {totals.over / n:.1%} too high"
        )
    seconds = sum(one.cpu_s for one in swept.done)
    if seconds:
        rows = sum(one.rows for one in swept.done)
        lines.append(f"{rows / seconds:.0f} rows per second of a core")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
