"""One partition of a sweep: some rows of a Parquet file in, one Parquet file out.

Rows pass in chunks, so memory holds a chunk and not a file. What is written depends on the input
and the settings alone: an encode runs on one thread, and chunks start at the partition's first
row. Does not know: other partitions, Dask, what a row's columns mean.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routerlab import tokens
from routerlab.blas import one_thread
from routerlab.catalog import DEFAULT_CATALOG, load_catalog
from routerlab.classifier import DEFAULT_MODEL_DIR, load_classifier
from routerlab.embedding import MiniLMEmbedder
from routerlab.errors import ClusterError, DataError
from routerlab.files import sha256_file, write_atomically
from routerlab.lab.sweep_rows import ADDED, Totals, routed_columns
from routerlab.pipeline import Pipeline
from routerlab.policies import Policy, TierPolicy

TEXT, LABEL = "text", "tier"
CHUNK = 512
"""Rows that are encoded together and held at once."""
_BUFFER_BYTES = 1 << 20
_FOOTER = b"routerlab.sweep"
_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What decides a row's outcome beside its text. `model_dir` None: where each worker has it."""

    model_dir: Path | None = None
    policy: Policy = field(default_factory=TierPolicy)
    max_output_tokens: int = 2048


@dataclass(frozen=True)
class Partition:
    """Rows `start` to `start + rows` of the input file `path`, and the file that they become.

    `identity` names the parts that a worker must have; with input and rows it is `made_of`, which
    the output keeps and which is compared on resuming.
    """

    source: str
    path: Path
    target: Path
    start: int
    rows: int
    identity: str
    input_mark: str

    @property
    def made_of(self) -> str:
        """Input, rows and settings in one string."""
        rows = f"rows {self.start} to {self.start + self.rows}"
        return f"{self.source} ({self.input_mark}), {rows}, by {self.identity}"


@dataclass(frozen=True)
class Done:
    """A partition that was written: its rows and the CPU seconds that they took, loading apart."""

    rows: int
    cpu_s: float


@dataclass(frozen=True)
class Parts:
    """What a process loads once, and its name."""

    pipeline: Pipeline
    identity: str


_loading = threading.Lock()


def loaded(settings: Settings) -> Parts:
    """Embedding and classifier, loaded on the first call in a process; threads wait for it."""
    with _loading:
        return _load(settings)


def times_loaded() -> int:
    """How often this process loaded embedding and classifier."""
    return _load.cache_info().misses


@lru_cache(maxsize=2)
def _load(settings: Settings) -> Parts:
    # A partition keeps one core busy: more threads within it would only fight over the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    embedder = MiniLMEmbedder(threads=1)
    classifier = load_classifier(embedder.id, settings.model_dir or DEFAULT_MODEL_DIR)
    pipeline = Pipeline(
        catalog=load_catalog(),
        embedder=embedder,
        classifier=classifier,
        policy=settings.policy,
        cache=None,
        tenant="sweep",
        max_output_tokens=settings.max_output_tokens,
        mode="simulated",
    )
    identity = {
        "version": _VERSION,
        "embedder": embedder.id,
        "classifier": classifier.card.model_sha256[:12],
        "policy": settings.policy.id,
        "max_output_tokens": settings.max_output_tokens,
        "catalog": sha256_file(Path(DEFAULT_CATALOG))[:12],
        "tokens": tokens.ENCODING if tokens.encoding_is_there() else "by characters",
    }
    return Parts(pipeline, json.dumps(identity, sort_keys=True))


def run_partition(partition: Partition, settings: Settings) -> Done:
    """Write one partition, whole or not at all; runs wherever the scheduler puts it.

    `DataError` where the files cannot be read or written, `ClusterError` where this worker has
    another embedding, classifier, catalog or tokenizer than who asked.
    """
    parts = loaded(settings)
    if parts.identity != partition.identity:
        raise ClusterError(
            f"the worker on {socket.gethostname()} would route differently: it has "
            f"{parts.identity}, asked for was {partition.identity}. Give all workers the same "
            "checkout with its results/model, and run `make data` on each"
        )
    parts.pipeline.embedder.encode(["warm up"])
    began = time.thread_time()
    try:
        with one_thread():
            write_atomically(partition.target, partial(_fill, partition, parts.pipeline))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{partition.source}, rows {partition.start} to {partition.start + partition.rows}, "
            f"on {socket.gethostname()}: {error}. Both folders must be there under the same path "
            "on every worker, the one to be read, the other to be written"
        ) from error
    return Done(partition.rows, time.thread_time() - began)


def _fill(partition: Partition, pipeline: Pipeline, path: Path) -> None:
    writer: Any = None
    totals = Totals()
    try:
        for chunk in chunks(partition):
            texts = chunk.column(TEXT).cast(pa.string()).to_pylist()
            has_labels = LABEL in chunk.schema.names
            labels = chunk.column(LABEL).to_pylist() if has_labels else [None] * len(texts)
            first_row = partition.start + totals.rows
            columns = routed_columns(pipeline, texts, labels, partition.source, first_row)
            arrays = list(chunk.columns)
            schema = chunk.schema
            for name, kind in ADDED.items():
                arrays.append(pa.array(columns[name], kind))
                schema = schema.append(pa.field(name, kind))
            if writer is None:
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            totals += Totals.of(columns)
        note = {"made_of": partition.made_of, "totals": asdict(totals)}
        writer.add_key_value_metadata({_FOOTER: json.dumps(note, sort_keys=True)})
    finally:
        if writer is not None:
            writer.close()


def chunks(partition: Partition) -> Iterator[Any]:
    """The partition's rows as record batches of at most `CHUNK` rows; no more is held at once."""
    # Unless told not to, pyarrow reads a whole row group before its first row.
    with pq.ParquetFile(partition.path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        groups, skip = _overlapping(file.metadata, partition)
        left = partition.rows
        for batch in file.iter_batches(CHUNK, row_groups=groups, use_threads=False):
            piece = batch.slice(min(skip, len(batch)), left)
            skip -= min(skip, len(batch))
            left -= len(piece)
            if len(piece):
                yield piece
            if not left:
                return
    raise DataError(f"{partition.source} has become shorter: plan the sweep anew")


def _overlapping(metadata: Any, partition: Partition) -> tuple[list[int], int]:
    """The row groups that hold the partition, and how many rows of the first come before it."""
    groups: list[int] = []
    skip, first = 0, 0
    for group in range(metadata.num_row_groups):
        after = first + metadata.row_group(group).num_rows
        if first < partition.start + partition.rows and after > partition.start:
            skip = skip if groups else partition.start - first
            groups.append(group)
        first = after
    return groups, skip


def kept_totals(partition: Partition) -> Totals | None:
    """What an output file says of itself; None where there is none, or a damaged one.

    `DataError` where it was made of something else: another input, other rows, other settings.
    """
    try:
        metadata: Any = pq.read_metadata(partition.target)
    except (OSError, pa.ArrowException):
        return None
    note = json.loads((metadata.metadata or {}).get(_FOOTER, "{}"))
    if note.get("made_of") != partition.made_of:
        raise DataError(
            f"{partition.target} was made of {note.get('made_of', 'something else')}; wanted is "
            f"{partition.made_of}. Sweep into another folder, or remove this one"
        )
    return Totals(**note["totals"])
