"""Public data: from a local mirror, the download cache, or the network at pinned commits.

The labels of the real queries are committed; their texts are not, and are matched by sha256. Whole
files are listed with their hashes in data/public_files.jsonl. Does not know: what a text is used
for. What cannot be had is said, and the work goes on without it.
"""

from __future__ import annotations

import http
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from routerlab.errors import DataError
from routerlab.files import (
    DATA_DIR,
    PROJECT_ROOT,
    cache_dir,
    sha256_bytes,
    sha256_file,
    write_json,
)
from routerlab.lab.queries import LabelledQuery
from routerlab.types import as_tier

LABELS_FILE = DATA_DIR / "real_dev_labels.jsonl"
PUBLIC_FILES = DATA_DIR / "public_files.jsonl"
MIRROR_FILE = "real-queries/dev.jsonl"
_RAW = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
_SECONDS = 30
_BLOCK = 1 << 18


@dataclass(frozen=True)
class PublicFile:
    """A file at a commit of a public repository; a mirror has it at `<mirror>/<folder>/<path>`."""

    folder: str
    repository: str
    commit: str
    path: str
    sha256: str


@cache
def public_files() -> tuple[PublicFile, ...]:
    """The files that experiments may fetch, as data/public_files.jsonl lists them."""
    lines = PUBLIC_FILES.read_text(encoding="utf-8").splitlines()
    return tuple(PublicFile(**json.loads(line)) for line in lines)


def fetch_all() -> list[str]:
    """Get every public data set; a line a set that says where it came from or why it is missing."""
    said = []
    try:
        said.append(f"{len(load_real_dev())} real queries")
    except DataError as error:
        said.append(str(error))
    for folder in sorted({file.folder for file in public_files()}):
        files = [file for file in public_files() if file.folder == folder]
        try:
            for file in tqdm(files, desc=folder, unit="file", leave=False):
                fetch(file)
        except DataError as error:
            said.append(str(error))
        else:
            said.append(f"{len(files)} files of {files[0].repository}")
    return said


def fetch(file: PublicFile) -> Path:
    """Where a public file lies: in the mirror, in the download cache, or there after a download.

    Its hash is checked each time. A download that broke off goes on from where it was. `DataError`
    where the file cannot be had, or is not the one expected.
    """
    mirror = _mirror()
    if mirror is not None and (mirrored := mirror / file.folder / file.path).exists():
        return _checked(mirrored, file)
    kept = _kept(file.repository, file.commit, file.path)
    if not kept.exists():
        _download(file.repository, file.commit, file.path)
    return _checked(kept, file)


def _checked(path: Path, file: PublicFile) -> Path:
    if sha256_file(path) != file.sha256:
        raise DataError(f"{path} is not {file.repository}/{file.path}: delete it and try again")
    return path


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


def _kept(repository: str, commit: str, path: str) -> Path:
    return cache_dir() / "datasets" / repository / commit / path


def _download(repository: str, commit: str, path: str) -> bytes:
    """The bytes of a file, kept in the cache; the part that came before a break is kept too."""
    kept = _kept(repository, commit, path)
    if kept.exists():
        return kept.read_bytes()
    part = kept.with_name(kept.name + ".part")
    try:
        _resume(_RAW.format(repository=repository, commit=commit, path=path), part)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            part.unlink(missing_ok=True)  # what was kept is of no use to this server
        raise DataError(
            f"{repository}/{path} is not in the download cache and cannot be fetched. With a "
            "network run `make data`; or set ROUTERLAB_MIRROR to a folder that holds a copy. What "
            "needs it is left out of the report"
        ) from error
    part.replace(kept)
    return kept.read_bytes()


def _resume(url: str, part: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    had = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})  # noqa: S310  https only
    with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310  https only
        again = reply.status == http.HTTPStatus.PARTIAL_CONTENT
        size = int(reply.headers.get("Content-Length") or 0)
        with (
            part.open("ab" if again else "wb") as stream,
            tqdm(desc=part.stem, total=size or None, unit="B", unit_scale=True, leave=False) as bar,
        ):
            while block := reply.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
            if bar.n < size:
                raise OSError(f"{url} broke off after {bar.n} of {size} bytes")


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
