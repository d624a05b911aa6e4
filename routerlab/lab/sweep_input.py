"""The partitions of a folder of Parquet files: what is read, checked and cut before a sweep.

Reads footers, no rows. Does not know: routing, where partitions run.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routerlab.errors import DataError
from routerlab.lab.sweep_partition import LABEL, TEXT, Partition
from routerlab.lab.sweep_rows import ADDED

_TAIL_BYTES = 1 << 16


def plan_partitions(
    source: Path, target: Path, partition_rows: int, identity: str
) -> list[Partition]:
    """Cut every Parquet file below `source` into partitions; reads no rows.

    `DataError` for a folder without rows, a file without text, output within the input, or files
    in `target` that are none of the partitions: they would count as rows of this sweep.
    """
    source, target = source.resolve(), target.resolve()
    if partition_rows < 1:
        raise DataError(f"a partition has one row at least, not {partition_rows}")
    if target.is_relative_to(source):
        raise DataError(f"{target} lies within {source}: the next sweep would read its output")
    files = [path for path in sorted(source.rglob("*.parquet")) if _visible(path, source)]
    if not files:
        raise DataError(f"there is no Parquet file in {source}: name the folder that holds them")
    partitions = []
    for path in files:
        name = path.relative_to(source).as_posix()
        rows, mark = _checked_input(path), _input_mark(path)
        for number, start in enumerate(range(0, rows, partition_rows)):
            output = target / Path(name).with_suffix(f".{number:06d}.parquet")
            size = min(partition_rows, rows - start)
            partitions.append(Partition(name, path, output, start, size, identity, mark))
    if not partitions:
        raise DataError(f"the Parquet files in {source} hold no rows")
    wanted = {partition.target for partition in partitions}
    found = (path for path in target.rglob("*.parquet") if _visible(path, target))
    strange = sorted(set(found) - wanted)
    if strange:
        raise DataError(
            f"{target} holds files of another sweep, such as {strange[0].name}: use the input and "
            "--partition-rows that it was begun with, or another folder"
        )
    return partitions


def _visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _checked_input(path: Path) -> int:
    """How many rows a file has; `DataError` where it is no Parquet or cannot be swept."""
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    for name in (TEXT, LABEL):
        if name in schema.names and not _is_text(schema.field(name).type):
            kind = schema.field(name).type
            raise DataError(f"column {name!r} of {path} is {kind}, not text: cast it to a string")
    if TEXT not in schema.names:
        raise DataError(
            f"{path} has no column {TEXT!r}, but {', '.join(schema.names)}: rename the one that "
            f"holds the queries to {TEXT!r}"
        )
    clash = sorted(set(ADDED) & set(schema.names))
    if clash:
        raise DataError(f"{path} has columns that a sweep adds ({', '.join(clash)}): rename them")
    return rows


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _input_mark(path: Path) -> str:
    """Size and the hash of a file's end, where Parquet keeps its footer: cheap at any size."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL_BYTES))
        return f"{size} bytes, {sha256(stream.read()).hexdigest()[:12]}"
