"""Writes report.html: one file without script, figures inside, that opens from disk.

Every value passes through the template's escaping. Does not know: what the report says, how a
figure was computed.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from routerlab.errors import ResultsError
from routerlab.files import write_text
from routerlab.lab.plots import POLICIES
from routerlab.lab.report import PAGE_FILE, USD, Cell, Report, cell, four_metrics, headline
from routerlab.lab.story import HERO, QUESTION, method, mode_words, sections

_VIEWBOX = re.compile(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_USUAL_POINTS = [518.0, 317.0]
_PIXELS_A_POINT = 96 / 72


@dataclass(frozen=True)
class Figure:
    """A figure inside the page: `source` is a data URI, `width` and `height` are CSS pixels."""

    name: str
    source: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class Bar:
    """A policy's cost; `share`, `low` and `high` are per cent of the longest interval's end."""

    label: str
    cell: Cell
    share: float
    low: float
    high: float


def write_page(results: Path, report: Report) -> Path:
    """Write report.html from the report and the `figures` folder beside it.

    `ResultsError` where a figure that the report names is not there.
    """
    write_text(results / PAGE_FILE, page(report, results / "figures"))
    return results / PAGE_FILE


def page(report: Report, folder: Path) -> str:
    """The page as text; `folder` holds `name.svg` of every figure that the report names."""
    made = report["provenance"]
    figures = {
        name: _figure(folder, name, alt, made["mode"]) for name, alt in report["figures"].items()
    }
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(
        _packaged("report.html.jinja")
    ).render(
        style=Markup(_packaged("report.css")),  # noqa: S704  our own file
        question=QUESTION,
        headline=headline(report),
        made=made,
        date=made["started"][:10],
        mode_words=mode_words(made["mode"]),
        bars=cost_bars(report["cost"]),
        hero_claim=hero_claim(report["cost"]),
        hero_alt=report["figures"].get(HERO, "Cost of the same traffic by policy."),
        hero_caption=method(HERO, made["mode"]),
        metrics=four_metrics(report),
        sections=sections(report),
        figures=figures,
        citation=citation(report),
    )


def cost_bars(cost: dict[str, Any]) -> list[Bar]:
    """The policies that were measured, the cheapest way to answer all of them first."""
    named = {label: cost[f"{key}_usd"] for key, label in POLICIES.items() if f"{key}_usd" in cost}
    most = max([metric["high"] for metric in named.values()], default=0) or 1
    return [
        Bar(
            label,
            cell(metric, _dollars(most)),
            *(round(100 * metric[key] / most, 2) for key in ("value", "low", "high")),
        )
        for label, metric in named.items()
    ]


def hero_claim(cost: dict[str, Any]) -> str:
    """What the hero figure shows, in a sentence."""
    routed, strongest = cost["routed_usd"], cost["always_strongest_usd"]
    style = _dollars(strongest["high"])
    return (
        f"The same {routed['n']:,} requests cost {style.format(routed['value'])} routed with cache "
        f"and {style.format(strongest['value'])} on the strongest model alone"
    )


def _dollars(most: float) -> str:
    return "${:z,.2f}" if most >= 1 else USD


def citation(report: Report) -> str:
    """A BibTeX entry of this very run."""
    made = report["provenance"]
    year = dt.datetime.fromisoformat(made["started"]).year
    changed = " with local changes" if made["dirty"] else ""
    return (
        f"@misc{{routerlab{year}_{made['commit'][:7]},\n"
        "  title  = {routerlab: a laboratory for LLM routing},\n"
        "  author = {{The routerlab maintainers}},\n"
        f"  year   = {{{year}}},\n"
        f"  note   = {{Report of {made['started'][:10]}, commit {made['commit'][:12]}{changed}, "
        f"{made['mode']} mode, seed {made['seed']}, prices of {made['price_date']}}}\n"
        "}"
    )


def _figure(folder: Path, name: str, alt: str, mode: str) -> Figure:
    path = folder / f"{name}.svg"
    try:
        drawn = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} is missing: run notebook 06 again") from error
    size = _VIEWBOX.search(drawn)
    points = [float(side) for side in size.groups()] if size else _USUAL_POINTS
    width, height = (round(side * _PIXELS_A_POINT) for side in points)
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"
    return Figure(name, source, width, height, alt, method(name, mode))


def _packaged(name: str) -> str:
    return files("routerlab.lab").joinpath(name).read_text(encoding="utf-8")
