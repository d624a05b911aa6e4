"""How far token counts before a call were from what providers then billed, by class of counter.

Does not know: how counts are made. Says nothing of simulated calls: the local server counts with
the same counter, so that they would agree by construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from routerlab.lab import metrics
from routerlab.lab.metrics import Metric


@dataclass(frozen=True)
class CountPair:
    """Input tokens of one call: counted before it, and reported by its provider."""

    kind: str
    counted: int
    reported: int


def pairs(rows: pd.DataFrame) -> list[CountPair]:
    """The pairs in a benchmark's rows: real usage, from the provider, of the model counted for.

    After a fallback the usage is another model's; a partial or estimated usage is our own count.
    """
    known = rows[
        (rows["mode"] != "simulated")
        & (rows.attempts == 1)
        & (rows.usage_source == "provider")
        & (rows.input_tokens > 0)
    ]
    columns = (known.estimate_kind, known.estimated_input_tokens, known.input_tokens)
    return [
        CountPair(str(kind), int(counted), int(reported))
        for kind, counted, reported in zip(*columns, strict=True)
    ]


def token_error(found: Iterable[CountPair], *, seed: int) -> dict[str, dict[str, Metric]]:
    """`p50` and `p95` of |counted - reported| / reported for each class that has pairs."""
    errors: dict[str, list[float]] = {}
    for pair in found:
        error = abs(pair.counted - pair.reported) / pair.reported
        errors.setdefault(pair.kind, []).append(error)
    return {
        kind: {
            "p50": metrics.quantile(np.array(values), 0.50, seed=seed),
            "p95": metrics.quantile(np.array(values), 0.95, seed=seed),
        }
        for kind, values in sorted(errors.items())
    }
