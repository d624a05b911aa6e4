"""The cache threshold that notebook 03 calibrated, as a small file that the router reads.

Does not know: how it was calibrated (`lab.calibration`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from routerlab.cache import DEFAULT_THRESHOLD
from routerlab.errors import CacheFileError
from routerlab.files import write_json

CALIBRATION_FILE = "cache_calibration.json"


@dataclass(frozen=True)
class CacheCalibration:
    """A cosine threshold, the embedding it holds for, and the false-hit bound it was set to."""

    threshold: float
    embedder_id: str
    max_false_hit_rate: float

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_json(path, asdict(self))


def calibrated_threshold(embedder_id: str, path: Path) -> float:
    """The calibrated threshold; the conservative default where none fits this embedding.

    `CacheFileError` where the file is there but cannot be read.
    """
    if not path.exists():
        return DEFAULT_THRESHOLD
    try:
        found = CacheCalibration(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CacheFileError(
            f"{path} is not a cache calibration: run notebooks/03_calibrate_cache.ipynb, or "
            "delete the file to use the conservative default"
        ) from error
    return found.threshold if found.embedder_id == embedder_id else DEFAULT_THRESHOLD
