"""Gathers the notebooks' sections into report.json, checks it, and tells its main figures.

Each notebook leaves one JSON section; the report is their union with provenance. Does not know:
how a figure was computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from routerlab.errors import ResultsError
from routerlab.files import write_json

REPORT_VERSION = 1
SECTIONS_FOLDER = "sections"
REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
SUMMARY_FILE = "summary.md"
Report = dict[str, Any]


def save_section(results: Path, name: str, section: Mapping[str, Any]) -> Path:
    """Keep a notebook's part of the report; `ResultsError` where the folder cannot be written."""
    path = results / SECTIONS_FOLDER / f"{name}.json"
    try:
        write_json(path, section)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror}. Make the folder writable, or set another "
            "results_dir"
        ) from error
    return path


def load_section(results: Path, name: str) -> dict[str, Any]:
    """A notebook's part; `ResultsError` names the notebook to run first."""
    path = results / SECTIONS_FOLDER / f"{name}.json"
    try:
        section: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path} is missing: run notebook {name} first") from error
    except ValueError as error:
        raise ResultsError(f"{path} is not JSON: run notebook {name} again") from error
    return section


def schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    text = files("routerlab.lab").joinpath("report.schema.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def check(report: Report) -> None:
    """`ResultsError` with the place and the reason where a report breaks the schema."""
    import jsonschema  # takes a second and a half, and most notebooks only leave a section

    validator = jsonschema.Draft202012Validator(schema())
    errors = sorted(validator.iter_errors(report), key=lambda error: list(error.absolute_path))
    if errors:
        place = "/".join(str(step) for step in errors[0].absolute_path) or "the top level"
        raise ResultsError(
            f"the report breaks its schema at {place}: {errors[0].message[:200]} "
            f"({len(errors)} in all); nothing was written"
        )


def write_report(results: Path, report: Report) -> Path:
    """Check and write report.json, whole or not at all."""
    report = {"version": REPORT_VERSION, **report}
    check(report)
    try:
        write_json(results / REPORT_FILE, report)
    except ValueError as error:
        raise ResultsError(f"a figure of the report is not finite: {error}") from error
    return results / REPORT_FILE


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a value, and its 95 % interval where it has one."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} [{self.interval}]" if self.interval else self.value


def cell(metric: Mapping[str, float], style: str = "{:z.3f}") -> Cell:
    """A metric as a cell: value and interval."""
    value, low, high = (style.format(metric[key]) for key in ("value", "low", "high"))
    return Cell(value, f"{low}, {high}")


def shown(metric: Mapping[str, float], style: str = "{:z.3f}") -> str:
    """A metric as text: value and interval."""
    return str(cell(metric, style))


PERCENT = "{:z.1%}"
USD = "${:z.4f}"
MS = "{:z.2f}"


def headline(report: Report) -> str:
    """The result in one sentence."""
    saved, hit = report["cost"]["saved"], report["cache"]["hit_rate"]
    false_hit = report["cache"]["false_hit_rate"]
    return (
        f"Routing with cache costs {saved['value']:.0%} less than always calling the strongest "
        f"model ({saved['low']:.0%} to {saved['high']:.0%}); {hit['value']:.0%} of requests need "
        f"no model at all ({false_hit['value']:.1%} get a wrong answer that way), and a decision "
        f"takes {report['latency']['route_ms']['p50']['value']:.1f} ms (median)."
    )


@dataclass(frozen=True)
class Measured:
    """One of the four metrics; `beside` are what it must be compared with, by name."""

    name: str
    cell: Cell
    beside: Mapping[str, Cell]


def four_metrics(report: Report) -> list[Measured]:
    """Latency to route, cost, accuracy and cache hit rate, each with its baseline."""
    classified = report["classification"]["benchmark"]
    cost, cache, latency = report["cost"], report["cache"], report["latency"]
    return [
        Measured(
            "latency to route, median (ms)",
            cell(latency["route_ms"]["p50"], MS),
            {"95th percentile": cell(latency["route_ms"]["p95"], MS)},
        ),
        Measured(
            "cost of the traffic (USD)",
            cell(cost["routed_usd"], USD),
            {
                "always strongest": cell(cost["always_strongest_usd"], USD),
                "always cheapest": cell(cost["always_cheapest_usd"], USD),
            },
        ),
        Measured(
            "accuracy of the tier, benchmark",
            cell(classified["accuracy"], PERCENT),
            {"majority": cell(classified["baselines"]["majority"]["accuracy"], PERCENT)},
        ),
        Measured(
            "cache hit rate",
            cell(cache["hit_rate"], PERCENT),
            {"of all requests answered wrongly": cell(cache["false_hit_rate"], PERCENT)},
        ),
    ]


def four_metrics_table(report: Report) -> list[tuple[str, str, str]]:
    """The four metrics as text: name, value with interval, baseline beside it."""
    return [
        (one.name, str(one.cell), ", ".join(f"{name} {cell}" for name, cell in one.beside.items()))
        for one in four_metrics(report)
    ]
