"""Figures of the classifier: confusion, reliability, learning curve, cost of routing too low.

Does not know: how the scores came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from routerlab.lab.plots import COLOURS, GREY, LINES, titled
from routerlab.lab.scoring import SETS, hardest
from routerlab.policies import UNDER_ROUTING_COST
from routerlab.types import TIERS

MARKERS = ("o", "s", "^")


def confusion(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """Labelled tier against predicted tier, on each set that nothing was trained on."""
    sets = [name for name in ("benchmark", "real_dev") if name in section]
    figure = Figure(figsize=(4.6 * len(sets) + 0.6, 4.8))
    alts, titles = [], []
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(sets))), sets, strict=True):
        counts = np.array(section[name]["confusion"]["counts"])
        sns.heatmap(
            counts,
            annot=True,
            fmt="d",
            cmap="Blues",
            cbar=False,
            square=True,
            linewidths=1,
            xticklabels=list(TIERS),
            yticklabels=list(TIERS),
            ax=axes,
        )
        axes.set(xlabel="predicted tier", ylabel="labelled tier")
        axes.set_title(SETS[name], fontsize=10.5, fontweight="normal", color=GREY)
        right, total = int(np.trace(counts)), int(counts.sum())
        under, over = int(np.tril(counts, -1).sum()), int(np.triu(counts, 1).sum())
        titles.append(f"{right} of {total} {SETS[name]}")
        alts.append(f"{SETS[name]}: {right} of {total} right, {under} too low, {over} too high")
    figure.suptitle("Right tier: " + ", ".join(titles), fontweight="bold", fontsize=12)
    figure.text(0.01, 0.01, f"measured; {mode} mode", color=GREY, fontsize=9)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    return figure, f"Confusion matrices of the tier classifier. {'; '.join(alts)}."


def reliability(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """How often the classifier is right, by how sure it says it is."""
    figure = Figure(figsize=(6.2, 5.2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="as sure as right")
    for i, (name, title) in enumerate(SETS.items()):
        if name not in section:
            continue
        bins = section[name]["reliability"]
        axes.plot(
            [one["confidence"] for one in bins],
            [one["accuracy"] for one in bins],
            color=COLOURS[i],
            linestyle=LINES[i],
            marker=MARKERS[i],
            label=f"{title}: ECE {section[name]['ece']['value']:.3f}",
        )
    percent = mpl.ticker.PercentFormatter(1, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlim=(0.2, 1), ylim=(0, 1.02), xlabel="mean probability of the chosen tier")
    axes.set_ylabel("share that is right")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    name = hardest(section)
    error = section[name]["ece"]
    titled(
        axes,
        f"Off by {error['value']:.1%} on average on {SETS[name]}",
        f"Ten even bins, {error['n']} queries there; measured, {mode} mode",
    )
    return figure, (
        f"Reliability diagram of the tier classifier; expected calibration error on "
        f"{SETS[name]} {error['value']:.3f} ({error['low']:.3f} to {error['high']:.3f})."
    )


def learning_curve(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """Accuracy on sets nothing was trained on, by the number of training queries."""
    curve = section["learning_curve"]
    rows = [point["rows"] for point in curve]
    figure = Figure()
    axes = figure.subplots()
    told = []
    for i, name in enumerate(name for name in SETS if name in curve[0]):
        metrics = [point[name] for point in curve]
        values = [metric["value"] for metric in metrics]
        axes.plot(
            rows, values, color=COLOURS[i], linestyle=LINES[i], marker=MARKERS[i], label=SETS[name]
        )
        low, high = [m["low"] for m in metrics], [m["high"] for m in metrics]
        axes.fill_between(rows, low, high, color=COLOURS[i], alpha=0.12)
        told.append(f"{SETS[name]} {values[0]:.0%} to {values[-1]:.0%}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows, [str(row) for row in rows])
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.set(xlabel="training queries", ylabel="accuracy")
    axes.legend(loc="lower right")
    titled(
        axes,
        f"From {rows[0]} to {rows[-1]} training queries",
        f"Whole families drawn at random, one draw; 95 % intervals; measured, {mode} mode",
    )
    return figure, f"Learning curve from {rows[0]} to {rows[-1]} queries: {'; '.join(told)}."


def decision_costs(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """Shares routed too low and too high, by what routing too low is said to cost."""
    curve = section["decision_costs"]
    costs = [point["cost"] for point in curve]
    figure = Figure()
    axes = figure.subplots()
    series = (
        ("under_routing", "routed too low"),
        ("over_routing", "routed too high"),
        ("accuracy", "right tier"),
    )
    for i, (key, label) in enumerate(series):
        axes.plot(
            costs,
            [point[key]["value"] for point in curve],
            color=COLOURS[i],
            linestyle=LINES[i],
            marker=MARKERS[i],
            label=label,
        )
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.set(xlabel="cost of routing too low (too high costs 1)", ylabel="share of queries")
    axes.set_ylim(0, 1.18)
    axes.axvline(UNDER_ROUTING_COST, color=GREY, linewidth=1, label="the default")
    axes.legend(loc="upper center", ncols=2)
    first, last = curve[0], curve[-1]
    titled(
        axes,
        f"Too low: {first['under_routing']['value']:.0%} down to "
        f"{last['under_routing']['value']:.0%} of queries",
        f"{SETS[hardest(section)]}, {first['accuracy']['n']} queries; measured, {mode} mode",
    )
    return figure, (
        f"Share of queries routed too low by the cost of doing so: "
        f"{first['under_routing']['value']:.1%} at {first['cost']:g}, "
        f"{last['under_routing']['value']:.1%} at {last['cost']:g}."
    )
