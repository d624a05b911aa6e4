"""Public data: from a local mirror, the download cache, or the network at pinned commits.

The labels of the real queries are committed; their texts are not, and are matched by sha256. Does
not know: what a text is used for. What cannot be had is said, and the work goes on without it.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routerlab.errors import DataError
from routerlab.files import (
    DATA_DIR,
    PROJECT_ROOT,
    cache_dir,
    sha256_bytes,
    write_atomically,
    write_json,
)
from routerlab.lab.queries import LabelledQuery
from routerlab.types import as_tier

LABELS_FILE = DATA_DIR / "real_dev_labels.jsonl"
MIRROR_FILE = "real-queries/dev.jsonl"
_RAW = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
_SECONDS = 30


def fetch_all() -> list[str]:
    """Get every public data set; a line a set that says where it came from or why it is missing."""
    try:
        return [f"{len(load_real_dev())} real queries"]
    except DataError as error:
        return [str(error)]


def load_real_dev() -> tuple[LabelledQuery, ...]:
    """Real users' queries with this project's labels: for measuring, never for training.

    `DataError` says what is missing and how to get it.
    """
    labels = [json.loads(line) for line in LABELS_FILE.read_text(encoding="utf-8").splitlines()]
    texts = _real_texts(labels)
    return tuple(
        LabelledQuery(
            id=row["id"],
            text=texts[row["text_sha256"]],
            tier=as_tier(row["tier"]),
            domain=row["id"].split("/")[0],
            family=row["id"],
        )
        for row in labels
    )


def _real_texts(labels: list[dict[str, str]]) -> dict[str, str]:
    wanted = {row["text_sha256"] for row in labels}
    kept = cache_dir() / "datasets" / "real_dev.json"
    mirror = _mirror()
    if mirror is not None and (mirror / MIRROR_FILE).exists():
        found = _matching(_strings((mirror / MIRROR_FILE).read_bytes()), wanted)
    elif kept.exists():
        found = _matching(_strings(kept.read_bytes()), wanted)
    else:
        sources = sorted({(row["repository"], row["commit"], row["path"]) for row in labels})
        found = {}
        for repository, commit, path in sources:
            found |= _matching(_strings(_download(repository, commit, path)), wanted)
        if wanted <= found.keys():
            write_json(kept, list(found.values()))
    if missing := wanted - found.keys():
        raise DataError(
            f"{len(missing)} of {len(wanted)} real queries are not what their labels say: delete "
            f"{kept} and run `make data`, or correct ROUTERLAB_MIRROR"
        )
    return found


def _mirror() -> Path | None:
    # Relative to the project, not to the folder that a notebook happens to run in.
    named = os.environ.get("ROUTERLAB_MIRROR")
    return PROJECT_ROOT / named if named else None


def _download(repository: str, commit: str, path: str) -> bytes:
    kept = cache_dir() / "datasets" / repository / commit / path
    if kept.exists():
        return kept.read_bytes()
    url = _RAW.format(repository=repository, commit=commit, path=path)
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as reply:  # noqa: S310  https only
            data: bytes = reply.read()
    except (OSError, urllib.error.URLError) as error:
        raise DataError(
            f"{repository}/{path} is not in the download cache and cannot be fetched. With a "
            "network run `make data`; or set ROUTERLAB_MIRROR to a folder that holds "
            f"{MIRROR_FILE}. What needs these texts is left out of the report"
        ) from error
    write_atomically(kept, lambda temporary: temporary.write_bytes(data))
    return data


def _matching(texts: Iterator[str], wanted: set[str]) -> dict[str, str]:
    stripped = (text.strip() for text in texts)
    hashed = ((sha256_bytes(text.encode("utf-8", "surrogatepass")), text) for text in stripped)
    return {digest: text for digest, text in hashed if digest in wanted}


def _strings(data: bytes) -> Iterator[str]:
    """Every string anywhere in a JSON or JSON Lines file."""
    text = data.decode("utf-8")
    try:
        values: list[Any] = [json.loads(text)]
    except ValueError:
        values = [json.loads(line) for line in text.splitlines() if line.strip()]
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            values.extend(value)
        elif isinstance(value, dict):
            values.extend(value.values())
