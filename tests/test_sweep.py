"""A sweep over Parquet files: in process, on a real scheduler with killed workers, and its plan."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from routerlab.errors import ClusterError, DataError
from routerlab.lab import sweep_plan, sweep_runners
from routerlab.lab.metrics import Metric
from routerlab.lab.report import schema
from routerlab.lab.sweep import main, sweep, told
from routerlab.lab.sweep_partition import Done, Partition, Settings, chunks, times_loaded
from routerlab.lab.sweep_rows import ADDED
from routerlab.types import TIERS

pytest.importorskip("distributed", reason="Dask is absent: pip install 'routerlab[cluster]'")
ROWS, SIZE = 150, 6


def texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = "prove why sort list of primes capital Peru translate tides contract law tax".split()
    return [f"{' '.join(rng.choice(words, 6))} {number}?" for number in range(count)]


@pytest.fixture
def folder(tmp_path):
    """Two files, one in a folder below, with labels, ids and a column of the user's own."""
    made = tmp_path / "in"
    (made / "below").mkdir(parents=True)
    tiers = [TIERS[number % 4] if number % 3 else None for number in range(ROWS)]
    table = pa.table(
        {"id": range(ROWS), "text": texts(ROWS), "tier": tiers, "model": ["own"] * ROWS}
    )
    pq.write_table(table.slice(0, 100), made / "a.parquet", row_group_size=35)
    pq.write_table(table.slice(100), made / "below" / "b.parquet")
    return made


@pytest.fixture
def settings(model_dir):
    return Settings(model_dir)


def contents(folder) -> dict[str, str]:
    """Every file below a folder, hidden ones too, by its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows_of(folder) -> list[dict]:
    found = ds.dataset(folder, format="parquet").to_table().to_pylist()
    return sorted(found, key=lambda row: (row["routed_source"], row["routed_row"]))


def go(folder, target, settings, **options):
    given = {"threads": 1, "partition_rows": SIZE, "progress": False, "settings": settings}
    return sweep(folder, target, **{**given, **options})


async def test_rows_are_what_the_router_decides(folder, tmp_path, settings, make_router):
    swept = go(folder, tmp_path / "out", settings, partition_rows=40)
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert {row["model"] for row in rows} == {"own"}
    router = make_router(cache=None)
    decisions = await router.route_many([row["text"] for row in rows])
    await router.aclose()
    for row, decision in zip(rows, decisions, strict=True):
        assert (row["routed_tier"], row["routed_model"]) == (decision.tier, decision.model)
        shares = [row[f"routed_p_{tier}"] for tier in TIERS]
        assert shares == pytest.approx(list(decision.probabilities.values()), abs=1e-4)
        assert row["usd_routed"] == decision.cost.usd
        assert row["usd_always_cheapest"] <= row["usd_routed"] <= row["usd_always_strongest"]
        assert row["routed_input_tokens"] == decision.input_tokens.tokens
        if row["tier"] is None:
            assert row["routed_right"] is row["routed_off"] is row["routed_note"] is None
        else:
            assert row["routed_right"] == (row["tier"] == decision.tier)
            assert TIERS[TIERS.index(row["tier"]) + row["routed_off"]] == decision.tier
    totals = swept.totals
    assert (totals.rows, totals.labelled, totals.noted) == (ROWS, 100, 0)
    assert totals.right == sum(row["routed_right"] is True for row in rows)
    assert totals.under == sum((row["routed_off"] or 0) < 0 for row in rows)
    assert totals.right + totals.under + totals.over == totals.labelled
    assert totals.usd["routed"] == pytest.approx(sum(row["usd_routed"] for row in rows))
    assert f"{ROWS} rows in 5 partitions" in told(swept)


def test_rows_that_cannot_be_routed_or_scored_say_why(tmp_path, settings):
    table = pa.table({"text": ["What is 2 + 2?", "  ", None], "tier": ["hard", None, "simple"]})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    swept = go(tmp_path / "in", tmp_path / "out", settings)
    first, *others = rows_of(tmp_path / "out")
    assert first["routed_tier"] in TIERS
    assert "label 'hard' is none of simple" in first["routed_note"]
    assert [row["routed_tier"] for row in others] == [None, None]
    assert ["empty" in others[0]["routed_note"], "NoneType" in others[1]["routed_note"]] == [1, 1]
    assert (swept.totals.routed, swept.totals.noted, swept.totals.labelled) == (1, 3, 0)


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(folder, tmp_path, settings):
    from distributed import Client, LocalCluster

    whole = go(folder, tmp_path / "alone", settings, threads=2)
    out = tmp_path / "out"
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        workers = client.run(os.getpid)
        run = pool.submit(go, folder, out, settings, scheduler=cluster.scheduler_address)
        there = wait_for_files(out, 4)
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        swept = run.result(60)
        assert there < whole.partitions, "the worker was killed after the run, not within it"
        now = client.run(os.getpid)
        loads = client.run(times_loaded)
    assert set(workers.values()) - set(now.values()), "no worker was lost"
    assert max(loads.values()) == 1
    assert contents(out) == contents(tmp_path / "alone")
    assert swept.totals == whole.totals
    assert (swept.resumed, len(swept.done)) == (0, whole.partitions)


def wait_for_files(folder, count: int) -> int:
    """Wait until so many partitions are written; how many there are then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [path for path in folder.rglob("*.parquet") if not path.name.startswith(".")]
        if len(found) >= count:
            return len(found)
        time.sleep(0.005)
    raise AssertionError("no partition was written in a minute")


def test_a_killed_run_goes_on_where_it_was(folder, tmp_path, settings, environment):
    whole = go(folder, tmp_path / "alone", settings)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "routerlab.lab.sweep", folder, out, "--threads", "1"]
    command += ["--partition-rows", str(SIZE), "--model-dir", settings.model_dir]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as killed:
        wait_for_files(out, 3)
        killed.kill()
    done = [path for path in out.rglob("*.parquet") if not path.name.startswith(".")]
    assert 3 <= len(done) < whole.partitions
    (out / ".a-half.parquet").write_bytes(b"PAR1 and no more")  # as a killed worker leaves it
    done[0].write_bytes(done[0].read_bytes()[:-100])  # as a machine that went down may leave it
    before = {path: path.stat().st_mtime_ns for path in done[1:]}
    swept = go(folder, out, settings)
    assert swept.resumed == len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(tmp_path / "alone")
    assert swept.totals == whole.totals


def test_output_of_another_sweep_is_never_mixed_in(folder, tmp_path, settings):
    out = tmp_path / "out"
    go(folder, out, settings, partition_rows=60)
    with pytest.raises(DataError, match="holds files of another sweep"):
        go(folder, out, settings, partition_rows=1000)
    with pytest.raises(DataError, match="rows 0 to 60"):
        go(folder, out, settings, partition_rows=50)
    with pytest.raises(DataError, match="max_output_tokens"):
        go(folder, out, Settings(settings.model_dir, max_output_tokens=100), partition_rows=60)
    table = pq.read_table(folder / "a.parquet")
    pq.write_table(table.set_column(1, "text", pa.array(texts(100, seed=1))), folder / "a.parquet")
    with pytest.raises(DataError, match=r"a\.000000\.parquet was made of"):
        go(folder, out, settings, partition_rows=60)


def test_a_worker_that_would_route_differently_refuses(folder, tmp_path, settings):
    from routerlab.lab.sweep_partition import run_partition

    other = Partition("a.parquet", folder / "a.parquet", tmp_path / "o", 0, 5, "{}", "")
    with pytest.raises(ClusterError, match="would route differently"):
        run_partition(other, settings)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("start", "rows"), [(0, 35), (30, 10), (34, 2), (69, 31), (0, 100)])
def test_chunks_are_the_rows_asked_for(folder, tmp_path, start, rows):
    path = folder / "a.parquet"
    part = Partition("a.parquet", path, tmp_path, start, rows, "", "")
    found = [number for chunk in chunks(part) for number in chunk.column("id").to_pylist()]
    assert found == list(range(start, start + rows))
    with pytest.raises(DataError, match="has become shorter"):
        list(chunks(Partition("a.parquet", path, tmp_path, 90, 20, "", "")))


def test_one_huge_row_group_is_read_in_little_memory(tmp_path):
    path, count = tmp_path / "big.parquet", 400_000
    letters = np.random.default_rng(0).integers(97, 123, count * 80, dtype=np.uint8)
    values = pa.py_buffer(letters)
    offsets = pa.py_buffer(np.arange(0, count * 80 + 1, 80, dtype=np.int32))
    text = pa.StringArray.from_buffers(count, offsets, values)
    pq.write_table(pa.table({"text": text}), path, row_group_size=count, use_dictionary=False)
    assert pq.read_metadata(path).num_row_groups == 1
    before, most, seen = pa.total_allocated_bytes(), 0, 0
    for chunk in chunks(Partition("big", path, tmp_path, 350_000, 5_000, "", "")):
        most = max(most, pa.total_allocated_bytes() - before)
        seen += len(chunk)
    assert seen == 5_000
    assert most < path.stat().st_size / 4


def test_errors_say_what_to_do(tmp_path, settings, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()

    def refused(match: str, **columns):
        if columns:
            pq.write_table(pa.table(columns), source / "a.parquet")
        with pytest.raises(DataError, match=match):
            go(source, out, settings)

    refused("there is no Parquet file in")
    refused("no column 'text', but prompt: rename", prompt=["x"])
    refused("column 'text' of .* is int64, not text", text=[1])
    refused("column 'tier' of .* is int64, not text", text=["x"], tier=[1])
    refused("has columns that a sweep adds", text=["x"], routed_tier=["simple"])
    refused("hold no rows", text=pa.array([], pa.string()))
    with pytest.raises(DataError, match="lies within"):
        go(source, source / "out", settings)
    (source / "a.parquet").write_text("no Parquet")
    refused("cannot be read as Parquet")
    assert not out.exists()
    assert main([str(source), str(out), "--model-dir", str(settings.model_dir)]) == 1
    assert "cannot be read as Parquet" in capsys.readouterr().err


def test_no_scheduler_no_worker_no_dask(folder, tmp_path, settings, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(sweep_runners, "PATIENCE_S", 0.5)
    for address in ("tcp://127.0.0.1:9", "nowhere://x"):
        with pytest.raises(ClusterError, match=r"no Dask scheduler .* `dask scheduler`"):
            go(folder, tmp_path / "out", settings, scheduler=address)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(ClusterError, match="with a worker answers"),
    ):
        go(folder, tmp_path / "out", settings, scheduler=cluster.scheduler_address)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ClusterError, match=r"pip install 'routerlab\[cluster\]'"):
        go(folder, tmp_path / "out", settings)


def test_plan_is_arithmetic_on_what_was_measured():
    speed = Metric(100.0, 80.0, 125.0, n=900)
    cost = {"routed": Metric(0.002, 0.001, 0.003, n=900)}
    found = sweep_plan.section(speed, cost, cores=10, usd_per_core_hour=0.36)
    million, billion = found["plan"]["1e6"], found["plan"]["1e9"]
    # 1e6 rows at 100 a second and core are 10,000 core seconds: 1,000 s on ten cores.
    assert million["hours"]["value"] == pytest.approx(1000 / 3600)
    assert million["hours"]["low"] == pytest.approx(800 / 3600)
    assert million["hours"]["high"] == pytest.approx(1250 / 3600)
    assert million["compute_usd"]["value"] == pytest.approx(1.0)
    assert million["providers_usd"]["routed"]["value"] == pytest.approx(2000)
    assert billion["compute_usd"]["value"] == pytest.approx(1000.0)
    words = sweep_plan.paragraph(found)
    assert "100 queries a second [80, 125]" in words
    assert "1,000,000 queries would take 16.7 minutes [13.3, 20.8] on 10 cores" in words
    assert "1,000,000,000 queries would take 277.8 hours" in words
    assert "routed $2,000 [$1,000, $3,000]" in words
    assert "a core hour at $0.36" in words
    part = {"$defs": schema()["$defs"], **schema()["properties"]["sweep"]}
    jsonschema.validate(json.loads(json.dumps(found)), part)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "plan": {"1e6": million}}, part)
    with pytest.raises(ValueError, match="must all be positive"):
        sweep_plan.plan(speed, cost, 0)


def test_rate_is_of_all_partitions_together():
    found = sweep_plan.rate([Done(100, 1.0), Done(100, 3.0), Done(100, 2.0)], seed=0)
    assert found.value == pytest.approx(50.0)
    assert 100 / 3 <= found.low < 50 < found.high <= 100
    assert found.n == 300


def test_measured_section_comes_from_a_real_sweep(tmp_path, settings):
    families = [f"family {number % 10}" for number in range(40)]
    found = sweep_plan.measured(
        texts(40), families, work=tmp_path, settings=settings, partition_rows=20, seed=0
    )
    assert found["rows_per_second_per_core"]["n"] == 40
    for one in found["plan"].values():
        assert set(one["providers_usd"]) == {"routed", "always_strongest", "always_cheapest"}
        cheapest, strongest = (
            one["providers_usd"][f"always_{name}"]["value"] for name in ("cheapest", "strongest")
        )
        assert 0 < cheapest < strongest
    jsonschema.validate(found, {"$defs": schema()["$defs"], **schema()["properties"]["sweep"]})
    assert not list(tmp_path.iterdir())


def test_added_columns_are_pinned():
    assert list(ADDED) == [
        "routed_source",
        "routed_row",
        "routed_tier",
        *(f"routed_p_{tier}" for tier in TIERS),
        "routed_model",
        "routed_provider",
        "routed_input_tokens",
        "routed_output_tokens",
        "usd_routed",
        "usd_always_strongest",
        "usd_always_cheapest",
        "routed_right",
        "routed_off",
        "routed_note",
    ]
