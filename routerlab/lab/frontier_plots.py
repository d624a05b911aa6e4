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
from matplotlib.patheffects import withStroke

from routerlab.lab.frontier import hull
from routerlab.lab.frontier_words import BENCHMARKS, NAMES, SETTINGS, in_order
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
_MOST_SINGLES = 5


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
    """Score by strong calls (two models) and by cost, the gap to the oracle shaded.

    Published routers stand among calls, which is what they report.
    """
    curves = section["frontier_details"]["curves"][benchmark]
    panels = 2 if published(benchmark) else 1
    figure = Figure(figsize=(11.8 if panels == 2 else 8.4, 5))
    figure.subplots_adjust(wspace=0.24)
    places = np.atleast_1d(figure.subplots(1, panels, sharey=True))
    if panels == 2:
        _by_calls(places[0], benchmark, curves)
    _by_cost(places[-1], curves)
    places[0].set_ylabel("mean score")
    places[0].legend(
        loc="upper left", bbox_to_anchor=(0, -0.13), frameon=False, ncols=3, fontsize=9
    )
    setting = curves["setting"]
    over, regret = (section["frontier"][benchmark][setting]["learned"][k] for k in _AIQ)
    titled(
        places[0],
        f"{BENCHMARKS[benchmark]}: routing adds {over['value']:+.3f} at equal spending, "
        f"an oracle would add {over['value'] + regret['value']:+.3f}",
        f"{SETTINGS[setting]}; {over['n']:,} test rows, bands 95 %; recorded outcomes, {mode} mode",
    )
    return figure, (
        f"Mean score on {BENCHMARKS[benchmark]} by cost. Averaged over the cost range the learned "
        f"router is {over['value']:.3f} above a random mix of single models "
        f"({over['low']:.3f} to {over['high']:.3f}) and {regret['value']:.3f} below the oracle."
    )


_AIQ = ("over_zero", "regret")


def _by_calls(axes: Axes, benchmark: str, curves: Mapping[str, Any]) -> None:
    by_cost = sorted(curves["singles"].values(), key=lambda one: float(one["cost"]))
    cheap, strong = (one["score"] for one in by_cost)
    share = curves["routers"]["learned"]["share"]
    scores = {
        name: {
            key: cheap + (strong - cheap) * np.asarray(curve[key])
            for key in ("recovered", "recovered_low", "recovered_high")
        }
        for name, curve in curves["routers"].items()
    }
    ours, best = scores["learned"], scores["oracle"]["recovered"]
    axes.fill_between(
        share, ours["recovered"], best, color=COLOURS[5], alpha=0.16, label="gap to the oracle"
    )
    low, high = ours["recovered_low"], ours["recovered_high"]
    axes.fill_between(share, low, high, color=COLOURS[0], alpha=0.2)
    for name in STYLES:
        _line(axes, name, share, scores[name]["recovered"])
    rows = published(benchmark)
    calls = [row[key] for row in rows for key in ("cpt50", "cpt80")]
    levels = [cheap + (strong - cheap) * closed for _ in rows for closed in (0.5, 0.8)]
    axes.plot(calls, levels, "*", color="black", markerfacecolor="none", label="published")
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.set_xlabel("calls to the strong model")


def _by_cost(axes: Axes, curves: Mapping[str, Any]) -> None:
    single = curves["singles"]
    names, costs = list(single), np.array([one["cost"] * 1e3 for one in single.values()])
    scores = np.array([one["score"] for one in single.values()])
    routers = {name: _scaled(curve) for name, curve in curves["routers"].items()}
    grid = np.linspace(costs.min(), costs.max(), 300)
    ours, best = (
        np.interp(grid, routers[name]["cost"], routers[name]["score"])
        for name in ("learned", "oracle")
    )
    top = np.maximum.accumulate(best)
    axes.fill_between(grid, ours, top, color=COLOURS[5], alpha=0.16, label="gap to the oracle")
    learned = routers["learned"]
    axes.fill_between(
        learned["cost"], learned["score_low"], learned["score_high"], color=COLOURS[0], alpha=0.2
    )
    for name in STYLES:
        if name != "random":
            _line(axes, name, routers[name]["cost"], routers[name]["score"])
    # The zero router: what a random mix of single models reaches.
    xs, ys = hull(costs, scores)
    _line(axes, "random", [*xs, costs.max()], [*ys, ys[-1]])
    shown = scores >= np.sort(scores)[-min(len(scores), _MOST_SINGLES)]
    axes.plot(costs[shown], scores[shown], "k.", markersize=8)
    for name, x, y in zip(
        np.array(names)[shown], costs[shown], scores[shown], strict=True
    ):  # fmt: skip
        right = x > costs.mean()
        axes.annotate(
            name.split("/")[-1], (x, y), xytext=(-5, 6) if right else (5, -11),
            textcoords="offset points", fontsize=7.5, ha="right" if right else "left",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
    axes.set_xlabel("cost (USD for 1,000 queries, list prices)")


def _line(axes: Axes, name: str, x: Any, y: Any) -> None:
    colour, line, _ = STYLES[name]
    width = 2.4 if name == "learned" else 1.5
    axes.plot(x, y, color=colour, linestyle=line, linewidth=width, label=NAMES[name])


def _scaled(curve: Mapping[str, list[float]]) -> dict[str, Any]:
    order = np.argsort(curve["cost"], kind="stable")
    named = ("cost", "score", "score_low", "score_high")
    found = {name: np.asarray(curve[name])[order] for name in named}
    return {**found, "cost": found["cost"] * 1e3}


def call_performance(section: Mapping[str, Any], benchmark: str, mode: str) -> tuple[Figure, str]:
    """The share of the gap that is closed by the share of strong calls, the threshold marked."""
    details = section["frontier_details"]
    drawn = details["curves"][benchmark]
    figure = Figure(figsize=(7.6, 5))
    axes = figure.subplots()
    for name in STYLES:
        curve = drawn["routers"][name]
        _line(axes, name, curve["share"], curve["recovered"])
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
        f"Threshold set on the labelled rows to close {chosen['wanted']:.0%}; measured on "
        f"{calls['n']:,} others; {mode} mode",
    )
    return figure, (
        f"Share of the performance gap recovered by share of strong calls on "
        f"{BENCHMARKS[benchmark]}; the threshold chosen on training rows sends "
        f"{calls['value']:.1%} of test queries to the strong model, recovers "
        f"{recovered['value']:.1%} and saves {chosen['saved']['value']:.1%} of its cost."
    )


def apgr(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """APGR of each router in each setting, with intervals; published figures as stars."""
    rows = [(benchmark, setting) for benchmark, setting, _ in in_order(section["frontier"])]
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
        f"{len(rows)} settings; on {rows[0][0]}, {rows[0][1]}, it has "
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
