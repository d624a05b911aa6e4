"""Rows of a sweep: texts routed, estimated and scored into columns, and their totals.

Does not know: files, partitions, machines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from routerlab import billing, tokens
from routerlab.catalog import ModelSpec
from routerlab.errors import InvalidQuery
from routerlab.pipeline import Pipeline, Routed
from routerlab.policies import always_cheapest, always_strongest
from routerlab.query import Conversation
from routerlab.types import TIERS

POLICIES = ("routed", "always_strongest", "always_cheapest")
"""Whose estimated cost each row carries, as `usd_` and the name; no cache is counted."""

ADDED: dict[str, Any] = {
    "routed_source": pa.string(),
    "routed_row": pa.int64(),
    "routed_tier": pa.string(),
    **{f"routed_p_{tier}": pa.float64() for tier in TIERS},
    "routed_model": pa.string(),
    "routed_provider": pa.string(),
    "routed_input_tokens": pa.int64(),
    "routed_output_tokens": pa.int64(),
    **{f"usd_{policy}": pa.float64() for policy in POLICIES},
    "routed_right": pa.bool_(),
    "routed_off": pa.int8(),
    "routed_note": pa.string(),
}
"""Columns beside the input's own. `routed_source` and `routed_row` say which file, relative to the
folder, and which of its rows; `routed_off` is tiers too high, or too low where negative;
`routed_note` why a row was not routed or not scored."""

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Totals:
    """Counts over rows, and estimated USD by policy. `noted` rows were not routed or not scored."""

    rows: int = 0
    routed: int = 0
    noted: int = 0
    labelled: int = 0
    right: int = 0
    under: int = 0
    over: int = 0
    usd: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(POLICIES, 0.0))

    @classmethod
    def of(cls, columns: Columns) -> Totals:
        """Totals of added columns."""
        off = [one for one in columns["routed_off"] if one is not None]
        return cls(
            rows=len(columns["routed_row"]),
            routed=sum(tier is not None for tier in columns["routed_tier"]),
            noted=sum(note is not None for note in columns["routed_note"]),
            labelled=len(off),
            right=off.count(0),
            under=sum(one < 0 for one in off),
            over=sum(one > 0 for one in off),
            usd={p: math.fsum(v or 0.0 for v in columns[f"usd_{p}"]) for p in POLICIES},
        )

    def __add__(self, other: Totals) -> Totals:
        counts = [f.name for f in fields(self) if f.name != "usd"]
        return Totals(
            **{name: getattr(self, name) + getattr(other, name) for name in counts},
            usd={policy: self.usd[policy] + other.usd[policy] for policy in POLICIES},
        )


def routed_columns(
    pipeline: Pipeline,
    texts: Sequence[str | None],
    labels: Sequence[object],
    source: str,
    first_row: int,
) -> Columns:
    """The columns of `ADDED` for rows that stand in `source` from `first_row` on.

    A row that cannot be routed has a note and no decision; one without label is not scored.
    """
    columns: Columns = {name: [None] * len(texts) for name in ADDED}
    columns["routed_source"] = [source] * len(texts)
    columns["routed_row"] = list(range(first_row, first_row + len(texts)))
    asked: dict[int, Conversation] = {}
    for place, text in enumerate(texts):
        try:
            asked[place] = Conversation.from_query(text)  # type: ignore[arg-type]  # None is told
        except InvalidQuery as error:
            columns["routed_note"][place] = f"not routed: {error}"
    routed = pipeline.run(list(asked.values()), time.perf_counter()) if asked else []
    catalog = pipeline.catalog
    baselines = [
        catalog.model(policy.model_id)
        for policy in (always_strongest(catalog), always_cheapest(catalog))
    ]
    for place, one in zip(asked, routed, strict=True):
        told = {**_told(one), **_costs(pipeline, one, baselines), **_scored(one, labels[place])}
        for name, value in told.items():
            columns[name][place] = value
    return columns


def _told(routed: Routed) -> dict[str, Any]:
    decision = routed.decision
    return {
        "routed_tier": decision.tier,
        **{f"routed_p_{tier}": decision.probabilities[tier] for tier in TIERS},
        "routed_model": decision.model,
        "routed_provider": decision.provider,
        "routed_input_tokens": decision.input_tokens.tokens,
        "routed_output_tokens": decision.expected_output_tokens,
    }


def _costs(pipeline: Pipeline, routed: Routed, baselines: Sequence[ModelSpec]) -> dict[str, float]:
    """Estimates by policy; all expect an answer of the routed tier's length, by their own model."""
    usd = [routed.decision.cost.usd]
    for model in baselines:
        count = tokens.count_messages(routed.conversation.messages, model)
        expected = pipeline.catalog.expected_output(model, routed.decision.tier)
        usd.append(billing.estimate(count, expected, model, pipeline.max_output_tokens).usd)
    return {f"usd_{policy}": value for policy, value in zip(POLICIES, usd, strict=True)}


def _scored(routed: Routed, label: object) -> dict[str, Any]:
    if label is None:
        return {}
    if label not in TIERS:
        return {"routed_note": f"not scored: label {label!r} is none of {', '.join(TIERS)}"}
    off = TIERS.index(routed.decision.tier) - TIERS.index(label)
    return {"routed_right": off == 0, "routed_off": off}
