"""Figures of the semantic cache: hits against false hits, and their drift as it fills.

Does not know: how the streams were served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from routerlab.lab.plots import COLOURS, GREY, LINES, titled

STREAMS = {
    "qqp": "Quora questions",
    "clinc": "CLINC utterances",
    "paraphrases": "benchmark paraphrases and near misses",
}
ARMS = {
    "none": "no cache",
    "exact": "exact only",
    "static_0.8": "cosine 0.8",
    "static_0.9": "cosine 0.9",
    "static_0.95": "cosine 0.95",
    "no_verifier": "cosine, controlled",
    "no_controller": "verifier, frozen",
    "whole": "verifier, controlled",
}
_MARKERS = {"static_0.8": "v", "static_0.9": "^", "static_0.95": "D", "no_verifier": "s"}
_DRIFT = ("static_0.95", "no_controller", "no_verifier", "whole")


def hits_against_false_hits(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """Correct hits by false hits as the threshold moves, a panel a stream, with the arms marked."""
    shown = [name for name in STREAMS if name in section["curves"]]
    bound = section["max_false_hit_rate"]
    figure = Figure(figsize=(4.4 * len(shown) + 0.6, 4.9))
    told = []
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for (kind, points), colour, line in zip(
            section["curves"][name].items(), (COLOURS[1], COLOURS[0]), LINES[1::-1], strict=True
        ):
            _, hit, false = np.array(points).T
            axes.plot(
                false,
                hit - false,
                color=colour,
                linestyle=line,
                linewidth=2,
                label=f"{kind}, frozen",
            )
        for arm, label in ARMS.items():
            if arm in ("none", "exact", "no_controller"):
                continue
            one = section["streams"][name][arm]
            x, y = one["false_hit_rate"]["value"], one["correct_hit_rate"]["value"]
            ours = arm == "whole"
            axes.plot(
                x,
                y,
                marker="*" if ours else _MARKERS[arm],
                markersize=15 if ours else 7,
                color=COLOURS[0] if ours else COLOURS[1],
                markeredgecolor="white",
                linestyle="none",
                label=label,
            )
        whole = section["streams"][name]["whole"]
        told.append(
            f"{STREAMS[name]}: the whole cache serves {whole['hit_rate']['value']:.1%} of them, "
            f"{whole['false_hit_rate']['value']:.2%} wrongly"
        )
        axes.axvline(bound, color=GREY, linewidth=1, linestyle=":")
        axes.annotate(
            f"bound {bound:.0%}",
            (bound, 0.01),
            xycoords=("data", "axes fraction"),
            xytext=(4, 2),
            textcoords="offset points",
            color=GREY,
            fontsize=9,
        )
        most = max(
            3.2 * bound, 1.15 * section["streams"][name]["static_0.9"]["false_hit_rate"]["value"]
        )
        axes.set(xlim=(0, most), xlabel="wrong answers, of look-ups", title=STREAMS[name])
        inside = [
            h - f for points in section["curves"][name].values() for _, h, f in points if f <= most
        ]
        axes.set_ylim(0, 1.15 * max(inside))
        axes.set_title(STREAMS[name], fontsize=10.5, fontweight="normal", color=GREY)
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=1))
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    first = figure.axes[0]
    first.set_ylabel("right answers, of look-ups")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(_verdict(section), fontweight="bold", fontsize=12, x=0.01, ha="left")
    figure.text(
        0.01,
        0.91,
        f"mean of {_seeds(section)} seeded streams; measured, labels as judge; {mode} mode",
        color=GREY,
        fontsize=9,
    )
    figure.tight_layout(rect=(0, 0.13, 1, 0.93))
    return figure, f"Right against wrong answers from the cache. {'; '.join(told)}."


def drift(section: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """False hits by quarter of the hardest stream, frozen thresholds against controlled ones."""
    name = next(name for name in STREAMS if name in section["streams"])
    arms, bound = section["streams"][name], section["max_false_hit_rate"]
    figure = Figure()
    axes = figure.subplots()
    quarters = np.arange(1, 5)
    told = []
    for place, (arm, colour, line) in enumerate(zip(_DRIFT, COLOURS[::-1], LINES, strict=False)):
        rates = arms[arm]["false_hit_rate_by_quarter"]
        values = np.array([rate["value"] for rate in rates])
        spread = np.abs(np.array([[r["low"], r["high"]] for r in rates]).T - values)
        axes.errorbar(
            quarters + 0.04 * (place - 1.5),
            values,
            yerr=spread,
            color=colour,
            linestyle=line,
            marker="osD^"[place],
            capsize=3,
            linewidth=2,
            label=ARMS[arm],
        )
        told.append(f"{ARMS[arm]} {', '.join(f'{value:.2%}' for value in values)}")
    axes.axhline(bound, color=GREY, linewidth=1, linestyle=":")
    axes.annotate(f"bound {bound:.0%}", (0.62, bound), va="bottom", color=GREY, fontsize=9)
    axes.set(
        xlabel="quarter of the stream, as the cache fills",
        ylabel="wrong answers, of look-ups",
        xticks=quarters,
        xlim=(0.6, 4.4),
    )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes.legend(frameon=False)
    frozen, held = (
        arms[a]["false_hit_rate_by_quarter"][-1]["value"] for a in ("static_0.95", "whole")
    )
    titled(
        axes,
        f"In the last quarter {frozen:.1%} wrong with a frozen cosine, {held:.1%} controlled",
        f"{STREAMS[name]}, {_seeds(section)} seeds, 95 % intervals; measured; {mode} mode",
    )
    return figure, f"False-hit rate by quarter, {STREAMS[name]}: {'; '.join(told)}."


def _verdict(section: Mapping[str, Any]) -> str:
    name = next(name for name in STREAMS if name in section["streams"])
    whole = section["streams"][name]["whole"]
    return (
        f"{STREAMS[name]}: {whole['correct_hit_rate']['value']:.1%} of look-ups answered rightly "
        f"without a model, {whole['false_hit_rate']['value']:.1%} wrongly"
    )


def _seeds(section: Mapping[str, Any]) -> int:
    streams = section["streams"]
    return int(next(iter(streams.values()))["whole"]["hit_rate"]["n"])
