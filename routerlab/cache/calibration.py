"""What notebook 03 calibrated, as two small files, and a cache made of them.

Does not know: how it was calibrated (`lab.cachefit`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from routerlab.cache import DEFAULT_THRESHOLD, SemanticCache
from routerlab.cache.controller import ThresholdController
from routerlab.cache.verifier import VERIFIER_FILE, load_verifier
from routerlab.errors import CacheFileError
from routerlab.files import write_json

CALIBRATION_FILE = "cache_calibration.json"
DEFAULT_MAX_FALSE_HIT_RATE = 0.01


@dataclass(frozen=True)
class CacheCalibration:
    """Thresholds on the verifier's score by the false-hit rate that each is to hold.

    `near_miss_share`: the share of near misses in the traffic that the rates were set for.
    """

    thresholds: Mapping[str, float]
    embedder_id: str
    near_miss_share: float

    def threshold(self, max_false_hit_rate: float) -> float | None:
        """The threshold of the highest calibrated rate that is not above the one asked for."""
        by_rate = {float(rate): threshold for rate, threshold in self.thresholds.items()}
        fitting = [rate for rate in by_rate if rate <= max_false_hit_rate]
        return by_rate[max(fitting)] if fitting else None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_json(path, asdict(self))


def load_calibration(path: Path, embedder_id: str) -> CacheCalibration | None:
    """The stored calibration; None where there is none or it is of another embedding.

    `CacheFileError` where the file is there but cannot be read.
    """
    if not path.exists():
        return None
    try:
        found = CacheCalibration(**json.loads(path.read_text(encoding="utf-8")))
        numbers = [n for rate, t in found.thresholds.items() for n in (float(rate), float(t))]
        if not numbers or not all(map(math.isfinite, numbers)):
            raise ValueError("no thresholds")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CacheFileError(
            f"{path} is not a cache calibration: run notebooks/03_calibrate_cache.ipynb, or "
            "delete the file to match by a conservative cosine"
        ) from error
    return found if found.embedder_id == embedder_id else None


def open_cache(
    url: str,
    *,
    embedder_id: str,
    model_dir: Path,
    max_false_hit_rate: float = DEFAULT_MAX_FALSE_HIT_RATE,
    audited: bool = False,
) -> SemanticCache:
    """A cache with the calibrated verifier and threshold; by a high cosine where there are none.

    `audited`: a judge will be asked, so the threshold may move; until it has, that of half the rate
    holds. A rate below every calibrated one closes the semantic layer until audits open it.
    """
    verifier = load_verifier(model_dir / VERIFIER_FILE, embedder_id)
    calibration = load_calibration(model_dir / CALIBRATION_FILE, embedder_id)
    if verifier is None or calibration is None:
        verifier, threshold = None, DEFAULT_THRESHOLD
    else:
        calibrated = calibration.threshold(
            max_false_hit_rate / 2 if audited else max_false_hit_rate
        )
        threshold = float("inf") if calibrated is None else calibrated
    controller = ThresholdController(
        threshold, max_false_hit_rate=max_false_hit_rate, audited=audited
    )
    return SemanticCache(url, verifier=verifier, controller=controller)
