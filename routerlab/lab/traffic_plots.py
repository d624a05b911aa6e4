"""Figures of the traffic: what each part of the router saves, and how that hangs on the traffic.

Does not know: how the streams were served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from routerlab.lab.plots import COLOURS, GREY, LINES

_STEP_COLOURS = {
    "routing": COLOURS[0],
    "exact cache": COLOURS[2],
    "semantic cache": COLOURS[4],
}
_ORDERS = {"forward": "routing first", "reverse": "cache first"}
_SETTINGS = {
    "zipf_exponent": "Zipf exponent of popularity",
    "max_entries": "cache size (entries)",
    "ttl_hours": "answers kept for (hours)",
}
_LINES = {"saved": "saved against the strongest", "hit_rate": "answered from the cache"}


def figures(
    cost: Mapping[str, Any], sensitivity: Mapping[str, Any], mode: str
) -> dict[str, tuple[Figure, str]]:
    """All of them with their alt texts, by name."""
    return {
        "waterfall": waterfall(cost, mode),
        "sensitivity": sensitivity_curves(sensitivity, mode),
    }


def waterfall(cost: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """From always the strongest to the whole router, part by part, in both orders."""
    falls, streams = cost["waterfall"], cost["by_policy"]["routed"]["usd"]["n"]
    figure = Figure(figsize=(9.2, 4.8))
    told = []
    for axes, (order, label) in zip(
        figure.subplots(1, 2, sharey=True), _ORDERS.items(), strict=True
    ):
        _fall(axes, falls, order)
        axes.set_title(label, fontsize=10.5, fontweight="normal", color=GREY)
        parts = ", ".join(
            f"{one['step']} {one['share']['value']:.1%} "
            f"({one['share']['low']:.1%} to {one['share']['high']:.1%})"
            for one in falls[order]
        )
        told.append(f"{label}: {parts}")
    figure.axes[0].set_ylabel("USD a stream, list prices")
    first, reverse = ({one["step"]: one["share"]["value"] for one in falls[o]} for o in _ORDERS)
    most = max(first, key=lambda step: float(first[step]))
    _headed(
        figure,
        0.905,
        f"{most.capitalize()} saves {first[most]:.0%} when it comes first, "
        f"{reverse[most]:.0%} when it comes last"
        if most == "routing"
        else f"{most.capitalize()} saves most: {first[most]:.0%}",
        f"Share of the strongest's cost; {streams} streams, in process, synthetic answers; "
        f"95 % intervals over query families; {mode} mode",
    )
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    return figure, f"Waterfall of savings against always the strongest. {'; '.join(told)}."


def _headed(figure: Figure, height: float, title: str, subtitle: str) -> None:
    """Title over the whole figure, the subtitle at a height of it."""
    figure.suptitle(title, fontweight="bold", fontsize=12.5, x=0.01, ha="left")
    figure.text(0.01, height, subtitle, color=GREY, fontsize=9)


def _fall(axes: Axes, falls: Mapping[str, Any], order: str) -> None:
    start, end = falls["start_usd"]["value"], falls["end_usd"]["value"]
    axes.bar(0, start, color="#A6A6A6", width=0.62)
    level = start
    for place, one in enumerate(falls[order], 1):
        saved = one["usd"]
        low, high = saved["value"] - saved["low"], saved["high"] - saved["value"]
        axes.bar(
            place,
            -saved["value"],
            bottom=level,
            color=_STEP_COLOURS[one["step"]],
            hatch=("", "//", "..")[list(_STEP_COLOURS).index(one["step"])],
            edgecolor="white",
            width=0.62,
        )
        axes.plot([place - 1.31, place + 0.31], [level, level], color=GREY, linewidth=0.8)
        level -= saved["value"]
        axes.errorbar(place, level, yerr=[[high], [low]], color=GREY, capsize=3)
        axes.annotate(
            f"−{one['share']['value']:.1%}",
            (place, level + saved["value"]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
        )
    last = len(falls[order]) + 1
    axes.bar(last, end, color=COLOURS[0], width=0.62)
    for place, value in ((0, start), (last, end)):
        axes.annotate(
            f"${value:.2f}",
            (place, value),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
        )
    steps = [one["step"].replace(" ", "\n") for one in falls[order]]
    axes.set_xticks(range(last + 1), ["always\nstrongest", *steps, "whole\nrouter"])
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, 1.1 * start)


def sensitivity_curves(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """Savings and hits as popularity, cache size and lifetime change, one at a time."""
    shown = [name for name in _SETTINGS if section.get(name)]
    figure = Figure(figsize=(3.4 * len(shown) + 0.4, 4.6))
    told, panels = [], figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        points = section[name]
        x = np.array([point["value"] for point in points], dtype=float)
        for (key, label), colour, line, marker in zip(
            _LINES.items(), COLOURS, LINES, "os", strict=False
        ):
            values = np.array([point[key]["value"] for point in points])
            spread = np.abs(np.array([[p[key]["low"], p[key]["high"]] for p in points]).T - values)
            axes.errorbar(
                x,
                values,
                yerr=spread,
                color=colour,
                linestyle=line,
                marker=marker,
                capsize=3,
                linewidth=2,
                label=label,
            )
            ends = (points[0], points[-1])
            told.append(
                f"{_SETTINGS[name]} from {ends[0]['value']:g} to {ends[1]['value']:g}: {label} "
                f"from {ends[0][key]['value']:.1%} to {ends[1][key]['value']:.1%}"
            )
        if name != "zipf_exponent":
            axes.set_xscale("log")
            axes.set_xticks(x, [f"{value:g}" for value in x])
            axes.minorticks_off()
        axes.set_xlabel(_SETTINGS[name])
    panels[0].set_ylim(0, 1)
    panels[0].yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False)
    hits = [point["hit_rate"]["value"] for name in shown for point in section[name]]
    saved = [point["saved"]["value"] for name in shown for point in section[name]]
    _headed(
        figure,
        0.9,
        f"Hits range from {min(hits):.0%} to {max(hits):.0%} with the traffic and the cache, "
        f"savings from {min(saved):.0%} to {max(saved):.0%}",
        f"{section['streams']} streams of {section['requests']:,} requests a point, in process, "
        f"synthetic answers; 95 % intervals over streams; {mode} mode",
    )
    figure.tight_layout(rect=(0, 0.07, 1, 0.92))
    return figure, f"Sensitivity to the traffic and the cache. {'; '.join(told)}."
