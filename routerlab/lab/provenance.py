"""Where a result comes from: commit, lock, inputs, versions, seed, mode.

Does not know: what the result says.
"""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from routerlab.catalog import load_catalog
from routerlab.files import DATA_DIR, PROJECT_ROOT, sha256_file

LOCK_FILE = PROJECT_ROOT / "requirements.lock"
INPUTS = ("catalog.toml", "benchmark_queries.json", "training_queries.jsonl", "paraphrases.jsonl")
PACKAGES = (
    "anthropic",
    "genai-prices",
    "numpy",
    "onnxruntime",
    "openai",
    "scikit-learn",
    "sentence-transformers",
    "tiktoken",
    "torch",
)


def provenance(*, mode: str, seed: int, started: dt.datetime) -> dict[str, Any]:
    """The provenance block of a report; `seconds` runs from `started` (UTC) to now."""
    seconds = (dt.datetime.now(dt.UTC) - started).total_seconds()
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": is_dirty(),
        "mode": mode,
        "seed": seed,
        "price_date": load_catalog().price_date.isoformat(),
        "lock_sha256": sha256_file(LOCK_FILE),
        "inputs": {name: sha256_file(DATA_DIR / name) for name in INPUTS},
        "versions": {"python": platform.python_version(), **_versions(PACKAGES)},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
    }


def is_dirty() -> bool:
    """Whether anything but the results differs from the commit; True where git cannot tell."""
    status = _git("status", "--porcelain", "--", ".", ":!results")
    return status is None or bool(status)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            ["git", *arguments],  # noqa: S607
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def manifest(folder: Path) -> dict[str, str]:
    """sha256 by relative path of every file below a folder, the manifest itself left out."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
