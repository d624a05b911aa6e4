"""The cost-quality frontier in words and tables: who wins, what was published, what was left out.

Does not know: learners, data, plots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routerlab.lab.metrics import Metric
from routerlab.lab.published import SAW_ITS_ROWS, published

NAMES = {
    "random": "random mix",
    "length_only": "length only",
    "tfidf": "TF-IDF + logistic regression",
    "tier": "tier policy, untrained",
    "learned": "learned",
    "oracle": "oracle",
}
"""The routers, as they are called in tables and figures."""

BENCHMARKS = {"mmlu": "MMLU", "gsm8k": "GSM8K", "mt_bench": "MT-Bench", "llmrouter": "LLMRouter"}
SETTINGS = {
    "labels_1500": "1,500 labelled rows of the same benchmark, test on the rest",
    "five_fold": "the same benchmark, cross-validated in five folds",
    "source_split": "the benchmark's own split, without leaked rows",
    "leave_one_domain_out": "no row of the tested domain",
    "other_benchmarks_only": "other benchmarks of the same models alone",
}
"""Who is trained on what, as `outcome_settings` has it."""

Frontier = Mapping[str, Mapping[str, Mapping[str, Any]]]
_COLUMNS = ("apgr", "cpt50", "cpt80")


def as_dicts(judged: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Metric]]]]) -> Any:
    """Figures in the form of report.json: benchmark, setting, router, figure."""
    return {
        benchmark: {
            setting: {
                router: {key: metric.as_dict() for key, metric in figures.items()}
                for router, figures in routers.items()
            }
            for setting, routers in settings.items()
        }
        for benchmark, settings in judged.items()
    }


def in_order(frontier: Frontier) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Benchmark, setting and its routers, in the order of `BENCHMARKS` and `SETTINGS`."""
    return [
        (benchmark, setting, frontier[benchmark][setting])
        for benchmark in BENCHMARKS
        for setting in SETTINGS
        if setting in frontier.get(benchmark, {})
    ]


def verdicts(frontier: Frontier) -> list[str]:
    """A sentence a benchmark and setting: who has the best APGR, and what was published."""
    return [_verdict(*row) for row in in_order(frontier)]


def _verdict(benchmark: str, setting: str, routers: Mapping[str, Any]) -> str:
    able = {name: figures for name, figures in routers.items() if name != "oracle"}
    best = max(able, key=lambda name: float(able[name]["apgr"]["value"]))
    said = f"{BENCHMARKS[benchmark]}, {setting}: learned has APGR {_shown(able['learned'])}"
    if best != "learned":
        said += f"; {NAMES[best]} beats it with {_shown(able[best])}"
    if theirs := published(benchmark):
        unlike = benchmark not in SAW_ITS_ROWS or setting != "labels_1500"
        caveat = " (trained on other data)" if unlike else ""
        said += f"; best published {theirs[0]['apgr']:.3f}{caveat}"
    if gain := able["learned"].get("gain"):
        word = "beats" if gain["value"] > 0 else "loses to"
        said += (
            f"; at any price it {word} the best single model by {abs(gain['value']):.3f} "
            f"({gain['low']:+.3f} to {gain['high']:+.3f}) for "
            f"{able['learned']['spending']['value']:.0%} of its cost"
        )
        top = max(able, key=lambda name: float(able[name]["gain"]["value"]))
        if top in ("length_only", "tfidf"):
            said += f"; {NAMES[top]} has {able[top]['gain']['value']:+.3f} there"
    return said + "."


def _shown(figures: Mapping[str, Any]) -> str:
    apgr = figures["apgr"]
    return f"{apgr['value']:.3f} ({apgr['low']:.3f} to {apgr['high']:.3f})"


def _cell(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def table(frontier: Frontier, benchmark: str) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of one benchmark by setting and router, cells with intervals; published ones last."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for setting, routers in frontier[benchmark].items():
        for name, figures in routers.items():
            rows[setting, NAMES[name]] = {key: _cell(value) for key, value in figures.items()}
    for row in published(benchmark):
        shown = {key: f"{row[key]:.3f}" for key in _COLUMNS}
        rows["published", row["router"]] = shown
    return rows
