"""Figures of the cost-quality frontier: cost and score, calls and gap, APGR by setting, domains.

Does not know: how the figures came about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from routerlab.lab.frontier_words import BENCHMARKS, NAMES
from routerlab.lab.outcome_settings import SETTINGS
from routerlab.lab.plots import COLOURS, GREY, LINES, titled
from routerlab.lab.published import published

STYLES = {
    "learned": (COLOURS[0], LINES[0], "o"),
    "tfidf": (COLOURS[1], LINES[1], "s"),
    "length_only": (COLOURS[4], LINES[2], "^"),
    "tier": (COLOURS[3], LINES[3], "D"),
    "random": (GREY, LINES[2], "x"),
}
"""Colour, line and marker of each router; the oracle is an area."""

Details = Mapping[str, Any]
_MOST_DOMAINS = 14


def figures(section: Mapping[str, Any], mode: str) -> dict[str, tuple[Figure, str]]:
    """Every figure that the section has data for, by name, with its alt text."""
    details = section["frontier_details"]
    makers: dict[str, Callable[[], tuple[Figure, str]]] = {}
    if "mmlu" in details["curves"]:
        makers["frontier"] = lambda: frontier(section, "mmlu", mode)
        makers["call_performance"] = lambda: call_performance(section, "mmlu", mode)
    if "llmrouter" in details["curves"]:
        makers["frontier_llmrouter"] = lambda: frontier(section, "llmrouter", mode)
        makers["routing_edge"] = lambda: edges(section, "llmrouter", mode)
    if section["frontier"]:
        makers["apgr"] = lambda: apgr(section, mode)
    return {name: make() for name, make in makers.items()}


def frontier(section: Mapping[str, Any], benchmark: str, mode: str) -> tuple[Figure, str]:
    """Score by cost of each router, the gap to the oracle shaded, single and published routers."""
    drawn = section["frontier_details"]["curves"][benchmark]
    figure = Figure(figsize=(8.4, 5.4))
    axes = figure.subplots()
    curves = {name: _scaled(curve) for name, curve in drawn["routers"].items()}
    learned, oracle = curves["learned"], curves["oracle"]
    grid = np.linspace(learned["cost"][0], max(learned["cost"]), 200)
    ours, best = (_at(curve, grid) for curve in (learned, oracle))
    axes.fill_between(grid, ours, best, color=COLOURS[5], alpha=0.16, label="gap to the oracle")
    axes.fill_between(learned["cost"], learned["low"], learned["high"], color=COLOURS[0], alpha=0.2)
    for name, (colour, line, _) in STYLES.items():
        width = 2.4 if name == "learned" else 1.5
        axes.plot(
            curves[name]["cost"], curves[name]["score"], color=colour, linestyle=line,
            linewidth=width, label=NAMES[name],
        )  # fmt: skip
    for model, one in drawn["singles"].items():
        axes.plot(one["cost"] * 1e3, one["score"], "k.", markersize=8)
        axes.annotate(
            model.split("/")[-1],
            (one["cost"] * 1e3, one["score"]),
            xytext=(5, -10),
            textcoords="offset points",
            fontsize=7.5,
        )
    _published_by_cost(axes, benchmark, drawn["singles"])
    shown = [one["score"] for one in drawn["singles"].values()]
    axes.set_ylim(bottom=min(min(ours), sorted(shown)[-min(len(shown), 6)]) - 0.02)
    axes.set(xlabel="cost (USD for 1,000 queries, list prices)", ylabel="mean score")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    setting = drawn["setting"]
    found = section["frontier"][benchmark][setting]
    over, regret = found["learned"]["over_zero"], found["learned"]["regret"]
    titled(
        axes,
        f"{BENCHMARKS[benchmark]}: routing adds {over['value']:+.3f} at equal spending, "
        f"the oracle {over['value'] + regret['value']:+.3f}",
        f"{SETTINGS[setting]}; {over['n']} test rows, band 95 %; recorded outcomes of real "
        f"models, {mode} mode",
    )
    return figure, (
        f"Mean score by cost on {BENCHMARKS[benchmark]}. Averaged over the cost range the learned "
        f"router is {over['value']:.3f} above a random mix of single models "
        f"({over['low']:.3f} to {over['high']:.3f}) and {regret['value']:.3f} below the oracle."
    )


def _scaled(curve: Mapping[str, list[float]]) -> dict[str, Any]:
    order = np.argsort(curve["cost"], kind="stable")
    found = {name: np.asarray(values)[order] for name, values in curve.items()}
    return {**found, "cost": found["cost"] * 1e3}


def _at(curve: Mapping[str, Any], grid: Any) -> Any:
    return np.interp(grid, curve["cost"], curve["score"])


def _published_by_cost(axes: Axes, benchmark: str, singles: Mapping[str, Any]) -> None:
    rows = published(benchmark)
    if not rows:
        return
    cheap, strong = (np.array([one["cost"] * 1e3, one["score"]]) for one in singles.values())
    points = []
    for row in rows:
        for calls, closed in ((row["cpt50"], 0.5), (row["cpt80"], 0.8)):
            points.append(cheap + (strong - cheap) * [calls, closed])
    axes.plot(
        *np.array(points).T, linestyle="none", marker="*", markersize=9, color="black",
        markerfacecolor="none", label="published (RouteLLM)",
    )  # fmt: skip


def call_performance(section: Mapping[str, Any], benchmark: str, mode: str) -> tuple[Figure, str]:
    """The share of the gap that is closed by the share of strong calls, the threshold marked."""
    details = section["frontier_details"]
    drawn = details["curves"][benchmark]
    figure = Figure(figsize=(7.6, 5))
    axes = figure.subplots()
    for name, (colour, line, _) in STYLES.items():
        curve = drawn["routers"][name]
        axes.plot(
            curve["share"], curve["recovered"], color=colour, linestyle=line,
            linewidth=2.2 if name == "learned" else 1.5, label=NAMES[name],
        )  # fmt: skip
    rows = published(benchmark)
    for marker, key, closed in (("*", "cpt50", 0.5), ("P", "cpt80", 0.8)):
        axes.plot(
            [row[key] for row in rows], [closed] * len(rows), linestyle="none", marker=marker,
            color="black", markerfacecolor="none", markersize=9,
            label=f"published, {closed:.0%} of the gap",
        )  # fmt: skip
    percent = mpl.ticker.PercentFormatter(1, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlabel="calls to the strong model", ylabel="gap recovered (PGR)", ylim=(-0.05, 1.15))
    chosen = details["thresholds"][benchmark]
    calls, recovered = chosen["calls"], chosen["recovered"]
    axes.axvline(calls["value"], color=GREY, linewidth=1)
    axes.errorbar(
        calls["value"], recovered["value"],
        yerr=[[recovered["value"] - recovered["low"]], [recovered["high"] - recovered["value"]]],
        color=COLOURS[2], marker="o", markersize=8, capsize=3,
        label=f"chosen threshold, {chosen['threshold']:.3f}",
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize=9)
    titled(
        axes,
        f"{BENCHMARKS[benchmark]}: {recovered['value']:.0%} of the gap with {calls['value']:.0%} "
        "strong calls",
        f"Threshold set on {SETTINGS[drawn['setting']].split(',')[0]} rows to close "
        f"{chosen['wanted']:.0%}; measured on {calls['n']} others; {mode} mode",
    )
    return figure, (
        f"Share of the performance gap recovered by share of strong calls on "
        f"{BENCHMARKS[benchmark]}; the threshold chosen on training rows sends "
        f"{calls['value']:.1%} of test queries to the strong model, recovers "
        f"{recovered['value']:.1%} and saves {chosen['saved']['value']:.1%} of its cost."
    )


def apgr(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """APGR of each router in each setting, with intervals; published figures as stars."""
    rows = [(b, s) for b, settings in section["frontier"].items() for s in settings]
    figure = Figure(figsize=(8.4, 1.4 + 0.62 * len(rows)))
    axes = figure.subplots()
    for place, (benchmark, setting) in enumerate(rows):
        for shift, (name, (colour, _, marker)) in zip(_SHIFTS, STYLES.items(), strict=True):
            one = section["frontier"][benchmark][setting][name]["apgr"]
            axes.errorbar(
                one["value"], place + shift, color=colour, marker=marker, markersize=5, capsize=2,
                xerr=[[one["value"] - one["low"]], [one["high"] - one["value"]]],
                linestyle="none", label=NAMES[name] if place == 0 else None,
            )  # fmt: skip
        theirs = [row["apgr"] for row in published(benchmark)]
        axes.plot(theirs, [place] * len(theirs), "*", color="black", markerfacecolor="none")
    axes.axvline(0.5, color=GREY, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{BENCHMARKS[b]}\n{s}" for b, s in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="APGR (a random mix has 0.5)", xlim=(0, 1.6))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    first = {key: section["frontier"][rows[0][0]][rows[0][1]][key]["apgr"] for key in STYLES}
    wins = sum(_best(section, *row) == "learned" for row in rows)
    titled(
        axes,
        f"The learned policy is first in {wins} of {len(rows)} settings",
        f"95 % intervals; stars: published, each on its own training data; {mode} mode",
    )
    return figure, (
        f"APGR by benchmark, setting and router. The learned policy has the best APGR in {wins} of "
        f"{len(rows)} settings; in the first, {rows[0][0]} {rows[0][1]}, it has "
        f"{first['learned']['value']:.3f}."
    )


_SHIFTS = (-0.24, -0.12, 0.0, 0.12, 0.24)


def _best(section: Mapping[str, Any], benchmark: str, setting: str) -> str:
    found = section["frontier"][benchmark][setting]
    return max(STYLES, key=lambda name: float(found[name]["apgr"]["value"]))


def edges(section: Mapping[str, Any], benchmark: str, mode: str) -> tuple[Figure, str]:
    """By domain, what routing adds to the score or takes from it."""
    rows = section["frontier_details"]["domains"][benchmark]
    shown = rows if len(rows) <= _MOST_DOMAINS else [*rows[:7], *rows[-7:]]
    figure = Figure(figsize=(7.6, 1.5 + 0.3 * len(shown)))
    axes = figure.subplots()
    edge = [row["edge"] for row in shown]
    colours = [COLOURS[1] if value < 0 else COLOURS[0] for value in edge]
    axes.barh([f"{row['domain']} ({row['n']})" for row in shown], edge, color=colours)
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean score of the router less that of what it is compared with")
    lost = [row["domain"] for row in rows if row["edge"] < 0]
    titled(
        axes,
        f"{BENCHMARKS[benchmark]}: routing loses in {len(lost)} of {len(rows)} domains",
        f"Test rows in brackets; against the best single model or a random mix; {mode} mode",
    )
    worst, top = rows[0], rows[-1]
    return figure, (
        f"What routing adds by domain of {BENCHMARKS[benchmark]}: from {worst['edge']:+.3f} in "
        f"{worst['domain']} to {top['edge']:+.3f} in {top['domain']}; it loses in {len(lost)} of "
        f"{len(rows)}."
    )
