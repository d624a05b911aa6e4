"""Where the partitions of a sweep run: on threads of this process, or on the workers of a cluster.

Dask is imported on use; it comes with the extra `routerlab[cluster]`. Does not know: what a
partition is made of, what was done before.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from typing import Any

from routerlab.errors import ClusterError, RouterLabError
from routerlab.lab.sweep_partition import Done, Partition, Settings, run_partition

PATIENCE_S = 30.0
"""How long to wait for a scheduler to answer, and for a first or another worker."""


def require_dask() -> Any:
    """The module `dask`; `ClusterError` says how to install it."""
    try:
        import dask
        import distributed  # noqa: F401  # told now, not after the planning
    except ImportError as error:
        raise ClusterError(
            "a sweep needs Dask: install the extra with `pip install 'routerlab[cluster]'` (in a "
            "checkout: `.venv/bin/python -m pip install -e '.[cluster]'`)"
        ) from error
    return dask


def in_process(todo: Sequence[Partition], settings: Settings, threads: int, bar: Any) -> list[Done]:
    """Run partitions in this process, on that many threads; with one, one after the other."""
    from dask.callbacks import Callback

    dask = require_dask()
    watch: Any = Callback

    def count(_key: object, result: object, *_: object) -> None:
        if isinstance(result, Done):
            bar.update(result.rows)

    one = dask.delayed(run_partition, pure=False)
    kind = {"scheduler": "threads", "num_workers": threads}
    with watch(posttask=count):
        return list(
            dask.compute(
                *(one(partition, settings) for partition in todo),
                **(kind if threads > 1 else {"scheduler": "synchronous"}),
            )
        )


def on_cluster(address: str, todo: Sequence[Partition], settings: Settings, bar: Any) -> list[Done]:
    """Run partitions on the workers of a scheduler; what a killed worker held goes to another."""
    import distributed

    wait: Any = distributed.wait  # not typed
    waiting = deque(todo)
    flying: dict[Any, Partition] = {}
    done: list[Done] = []
    with _client(address) as client:
        while waiting or flying:
            # A few in flight a thread keep workers busy and the scheduler small at any size.
            room = max(1, 2 * sum(client.nthreads().values()))
            while waiting and len(flying) < room:
                partition = waiting.popleft()
                key = f"sweep-{uuid.uuid4().hex}"
                flying[client.submit(run_partition, partition, settings, key=key)] = partition
            try:
                ended = wait(list(flying), timeout=PATIENCE_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                if not client.nthreads():
                    raise ClusterError(
                        f"all workers of {address} are gone: start some with `dask worker "
                        f"{address}` and run this again, {len(done)} partitions were done"
                    ) from None
                continue
            for future in ended:
                done.append(_result(future, flying.pop(future)))
                bar.update(done[-1].rows)
    return done


def _result(future: Any, partition: Partition) -> Done:
    from distributed.comm.core import CommClosedError

    try:
        result: Done = future.result()
    except (RouterLabError, CancelledError, CommClosedError):
        raise
    except Exception as error:  # whatever the cluster raises for a task that it could not finish
        raise ClusterError(
            f"{partition.source} from row {partition.start} on failed on the cluster "
            f"({type(error).__name__}: {error}). Each worker needs this version of routerlab, and "
            "memory for its threads; run this again to go on"
        ) from error
    return result


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A client with a worker at least; what the network does to it becomes a `ClusterError`."""
    import distributed

    connect: Any = distributed.Client  # not typed
    with ExitStack() as stack:
        try:
            client = connect(address, timeout=PATIENCE_S, set_as_default=False)
            stack.enter_context(client)
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise ClusterError(
                f"no Dask scheduler with a worker answers at {address} ({error}): start them with "
                "`dask scheduler` and `dask worker ADDRESS`, and name the address that it prints"
            ) from error
        stack.enter_context(client.as_current())
        try:
            yield client
        except (OSError, CancelledError) as error:
            raise ClusterError(
                f"the scheduler at {address} is lost ({type(error).__name__}): start it "
                "and its workers again, then run this again to go on"
            ) from error
