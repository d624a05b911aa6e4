"""The figures of the report, each as SVG and PNG with one style.

Titles and alt texts are computed from the data; the subtitle names the mode. Does not know: how
the data came about.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from routerlab.files import write_atomically
from routerlab.lab.benchmark import ROUTED

# Okabe and Ito's palette, told apart by colour-blind readers; line styles tell the same in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#595959"
LINES = ("-", "--", ":", "-.")
DPI = 200
_LETTERS_AN_INCH = 9.6
"""Of a title, on average."""
PATHS = {"exact": "exact hit", "semantic": "semantic hit", "miss": "model chosen"}
POLICIES = {
    ROUTED: "routed, with cache",
    "routed_no_cache": "routed, no cache",
    "oracle": "oracle by label, no cache",
    "always_cheapest": "always cheapest",
    "random": "random",
    "always_strongest": "always strongest",
}


@contextmanager
def style() -> Iterator[None]:
    """The one style; SVG text stays text and SVG bytes do not change from run to run."""
    settings: Any = {
        "svg.hashsalt": "routerlab",
        "svg.fonttype": "none",
        "font.size": 10.5,
        "axes.titlesize": 12.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E6E6E6",
        "axes.axisbelow": True,
        "figure.figsize": (7.2, 4.4),
        "figure.dpi": 120,
        "savefig.dpi": DPI,
        "axes.prop_cycle": cycler(color=COLOURS),
    }
    with mpl.rc_context(settings):
        yield


def titled(axes: Axes, title: str, subtitle: str) -> None:
    """Title over subtitle, both flush left; a title wider than all axes has several lines."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    right = max(one.get_position().x1 for one in figure.axes)
    width = (right - axes.get_position().x0) * figure.get_size_inches()[0]
    axes.set_title(textwrap.fill(title, round(width * _LETTERS_AN_INCH)), pad=24)
    axes.text(0, 1.025, subtitle, transform=axes.transAxes, color=GREY, fontsize=9)


def save(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Write `name.svg`, `name.png` and, of twice its pixels, `name@2x.png`.

    Each carries the alt text and is written whole or not at all.
    """
    described = {"svg": {"Date": None, "Title": alt}, "png": {"Software": None, "Description": alt}}
    for file, dpi in ((f"{name}.svg", DPI), (f"{name}.png", DPI), (f"{name}@2x.png", 2 * DPI)):
        kind = file.rsplit(".", 1)[1]
        drawn = partial(
            figure.savefig, format=kind, dpi=dpi, metadata=described[kind], bbox_inches="tight"
        )
        write_atomically(folder / file, drawn)


@dataclass(frozen=True)
class Picture:
    """A figure as a notebook and its HTML page show it, with its alt text."""

    png: bytes
    alt: str

    def _repr_html_(self) -> str:
        source = base64.b64encode(self.png).decode()
        alt = html.escape(self.alt, quote=True)
        return f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{source}">'


def pictures(drawn: Mapping[str, tuple[Figure, str]]) -> dict[str, Picture]:
    """Pictures of figures with their alt texts, by name."""
    found = {}
    for name, (figure, alt) in drawn.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        found[name] = Picture(buffer.getvalue(), alt)
    return found


def latency_ecdf(rows: pd.DataFrame, mode: str) -> tuple[Figure, str]:
    """Share of decisions made within a time, by the path that they took."""
    routed = rows[rows.arm == ROUTED]
    figure = Figure()
    axes = figure.subplots()
    medians = []
    for (status, label), colour, line in zip(PATHS.items(), COLOURS, LINES, strict=False):
        times = np.sort(routed[routed.cache == status].route_ms.to_numpy(dtype=float))
        if not len(times):
            continue
        shares = np.arange(1, len(times) + 1) / len(times)
        axes.step(times, shares, where="post", color=colour, linestyle=line, linewidth=2)
        median = float(np.median(times))
        medians.append(f"{label}, median {median:.2f} ms (n = {len(times)})")
        axes.plot([], [], color=colour, linestyle=line, linewidth=2, label=medians[-1])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
    axes.set(xlabel="time to route (ms, log scale)", ylabel="share of decisions", ylim=(0, 1.02))
    # Below the axes, where it hides no curve.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
    whole = float(routed.route_ms.median())
    titled(
        axes,
        f"Half of all decisions take less than {whole:.1f} ms",
        f"Measured, in-process; {mode} mode, {len(routed)} requests",
    )
    return figure, "Cumulative share of routing decisions by time: " + "; ".join(medians) + "."


def cost_by_policy(cost: Mapping[str, Any], mode: str) -> tuple[Figure, str]:
    """USD of the same traffic under each policy, with intervals."""
    named = {label: cost[f"{key}_usd"] for key, label in POLICIES.items()}
    figure = Figure()
    axes = figure.subplots()
    labels = list(named)[::-1]
    values = [named[label]["value"] for label in labels]
    errors = [
        [named[label]["value"] - named[label]["low"] for label in labels],
        [named[label]["high"] - named[label]["value"] for label in labels],
    ]
    colours = [COLOURS[0] if label.startswith("routed") else "#A6A6A6" for label in labels]
    axes.barh(labels, values, xerr=errors, color=colours, ecolor=GREY, capsize=3, height=0.62)
    for place, label in enumerate(labels):
        axes.annotate(
            f"${named[label]['value']:.3f}",
            (named[label]["high"], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlabel("cost of the traffic (USD, list prices)")
    axes.margins(x=0.14)
    axes.grid(visible=False, axis="y")
    saved = cost["saved"]
    texts = "synthetic answers of equal length" if mode == "simulated" else "the providers' usage"
    titled(
        axes,
        f"Routing with cache saves {saved['value']:.0%} "
        f"({saved['low']:.0%} to {saved['high']:.0%}) against the strongest",
        f"{mode} mode: {texts}; {saved['n']} requests, 95 % intervals over query families",
    )
    told = "; ".join(f"{label} ${metric['value']:.4f}" for label, metric in named.items())
    return figure, f"Cost of the same traffic by policy: {told}."
