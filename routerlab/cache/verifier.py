"""The same-answer verifier: the probability that a stored answer serves another text.

A few small networks over the evidence of a pair, averaged, with calibrated probabilities. Fitted
by `lab.verifying`; here it is loaded and asked. Does not know: thresholds, stores, training.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routerlab.cache.evidence import NAMES, compare
from routerlab.cache.reading import Reading, read
from routerlab.errors import CacheFileError
from routerlab.files import BROKEN_ARCHIVE, write_atomically

VERIFIER_FILE = "same_answer.npz"
Floats = NDArray[np.float64]
_KEPT_READINGS = 20_000


@dataclass(frozen=True)
class Networks:
    """Weights of k networks with one hidden layer of h units each, side by side.

    `mean`, `scale`: of the evidence, shape (e,). `hidden`: (e, k h), `hidden_bias`: (k h,), `out`:
    (k h,), `out_bias`: (k,). `slope`, `offset`: calibration of the mean logit.
    """

    mean: Floats
    scale: Floats
    hidden: Floats
    hidden_bias: Floats
    out: Floats
    out_bias: Floats
    slope: float = 1.0
    offset: float = 0.0

    def logits(self, evidence: Floats) -> Floats:
        """Mean logit before calibration, shape (n,), of evidence of shape (n, e)."""
        units = np.maximum((evidence - self.mean) / self.scale @ self.hidden + self.hidden_bias, 0)
        members = (units * self.out).reshape(len(evidence), len(self.out_bias), -1).sum(axis=2)
        mean: Floats = (members + self.out_bias).mean(axis=1)
        return mean

    def probabilities(self, evidence: Floats) -> Floats:
        """Calibrated probability of the same answer, shape (n,)."""
        calibrated = self.slope * self.logits(evidence) + self.offset
        # Beyond 500 the probability is 0 either way, and exp would overflow.
        probabilities: Floats = 1 / (1 + np.exp(np.minimum(-calibrated, 500)))
        return probabilities


@dataclass
class SameAnswerVerifier:
    """Scores pairs of texts. `rarity`: inverse document frequency by stem. Thread-safe."""

    networks: Networks
    rarity: Mapping[str, float]
    embedder_id: str
    _readings: OrderedDict[str, Reading] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs; a lock stays where it is."""
        return type(self), (self.networks, self.rarity, self.embedder_id)

    def score(self, asked: str, stored: str, cosine: float) -> float:
        """Probability, 0 to 1, that the answer to `stored` serves `asked`; 1 for the same text."""
        return float(self.scores([(asked, stored)], [cosine])[0])

    def scores(self, pairs: Sequence[tuple[str, str]], cosines: Sequence[float]) -> Floats:
        """The same for many pairs, shape (n,)."""
        if not pairs:
            return np.empty(0)
        read = self._read(pairs)
        same = [a.typed == b.typed != "" for a, b in read]
        return np.where(same, 1.0, self.networks.probabilities(_evidence(read, cosines)))

    def evidence(self, pairs: Sequence[tuple[str, str]], cosines: Sequence[float]) -> Floats:
        """The evidence of pairs, shape (n, len(NAMES))."""
        return _evidence(self._read(pairs), cosines)

    def _read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Reading, Reading]]:
        return [(self.reading(one), self.reading(other)) for one, other in pairs]

    def reading(self, text: str) -> Reading:
        """A text as it is compared; the latest are kept, so that a stored one is read once."""
        with self._lock:
            found = self._readings.get(text)
            if found is not None:
                self._readings.move_to_end(text)
                return found
        found = read(text, self.rarity)
        with self._lock:
            self._readings[text] = found
            if len(self._readings) > _KEPT_READINGS:
                self._readings.popitem(last=False)
        return found

    def save(self, path: Path) -> None:
        """Write arrays alone, whole or not at all."""
        stems = sorted(self.rarity)
        net = self.networks
        write_atomically(
            path,
            lambda temporary: np.savez(
                temporary,
                names=np.array(NAMES),
                embedder=np.array(self.embedder_id),
                stems=np.array(stems),
                rarity=np.array([self.rarity[s] for s in stems], dtype=np.float32),
                calibration=np.array([net.slope, net.offset]),
                mean=net.mean,
                scale=net.scale,
                hidden=net.hidden,
                hidden_bias=net.hidden_bias,
                out=net.out,
                out_bias=net.out_bias,
            ),
        )


def _evidence(read: Sequence[tuple[Reading, Reading]], cosines: Sequence[float]) -> Floats:
    rows = [compare(a, b, float(cosine)) for (a, b), cosine in zip(read, cosines, strict=True)]
    return np.array(rows).reshape(len(read), len(NAMES))


def load_verifier(path: Path, embedder_id: str) -> SameAnswerVerifier | None:
    """The stored verifier; None where there is none or it was fitted to another embedding.

    `CacheFileError` where the file is not a verifier of this version.
    """
    if not path.exists():
        return None
    try:
        return _of(path, embedder_id)
    except BROKEN_ARCHIVE as error:
        raise CacheFileError(
            f"{path} is no verifier of this version: run notebooks/03_calibrate_cache.ipynb, or "
            "delete the file to match by cosine alone"
        ) from error


def _of(path: Path, embedder_id: str) -> SameAnswerVerifier | None:
    with np.load(path, allow_pickle=False) as kept:
        names, embedder = tuple(kept["names"].tolist()), str(kept["embedder"])
        arrays = {
            name: kept[name].astype(np.float64)
            for name in ("mean", "scale", "hidden", "hidden_bias", "out", "out_bias")
        }
        slope, offset = (float(value) for value in kept["calibration"])
        rarity = dict(zip(kept["stems"].tolist(), kept["rarity"].tolist(), strict=True))
    units, members = len(arrays["out"]), len(arrays["out_bias"])
    shapes = [a.shape for a in arrays.values()]
    numbers = [slope, offset, *rarity.values(), *(a.sum() for a in arrays.values())]
    if names != NAMES or not all(map(math.isfinite, numbers)):
        raise ValueError("other evidence than this version's")
    if shapes != [(len(NAMES),)] * 2 + [(len(NAMES), units), (units,), (units,), (members,)]:
        raise ValueError("arrays that do not fit each other")
    if units % members or not arrays["scale"].all():
        raise ValueError("units that no member has, or a scale of 0")
    if embedder != embedder_id:
        return None
    return SameAnswerVerifier(Networks(**arrays, slope=slope, offset=offset), rarity, embedder)
