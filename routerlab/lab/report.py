"""Gathers the notebooks' sections into report.json, checks it, and writes the summary page.

Each notebook leaves one JSON section; the report is their union with provenance. Does not know:
how a figure was computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from routerlab.errors import ResultsError
from routerlab.files import write_json, write_text
from routerlab.lab.frontier_words import summary_lines
from routerlab.lab.scoring import SETS
from routerlab.lab.sweep_plan import paragraph

REPORT_VERSION = 1
SECTIONS_FOLDER = "sections"
REPORT_FILE = "report.json"
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


def shown(metric: Mapping[str, float], style: str = "{:.3f}") -> str:
    """A metric as text: value and interval."""
    value, low, high = (style.format(metric[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


PERCENT = "{:.1%}"
USD = "${:.4f}"
MS = "{:.2f}"


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


def four_metrics_table(report: Report) -> list[tuple[str, str, str]]:
    """The four metrics: name, value with interval, baseline beside it."""
    classified = report["classification"]["benchmark"]
    majority = classified["baselines"]["majority"]["accuracy"]
    cost, cache, latency = report["cost"], report["cache"], report["latency"]
    return [
        (
            "latency to route, median (ms)",
            shown(latency["route_ms"]["p50"], MS),
            f"95th percentile {shown(latency['route_ms']['p95'], MS)}",
        ),
        (
            "cost of the traffic (USD)",
            shown(cost["routed_usd"], USD),
            f"always strongest {shown(cost['always_strongest_usd'], USD)}, "
            f"always cheapest {shown(cost['always_cheapest_usd'], USD)}",
        ),
        (
            "accuracy of the tier, benchmark",
            shown(classified["accuracy"], PERCENT),
            f"majority {shown(majority, PERCENT)}",
        ),
        (
            "cache hit rate",
            shown(cache["hit_rate"], PERCENT),
            f"of all requests answered wrongly from the cache "
            f"{shown(cache['false_hit_rate'], PERCENT)}",
        ),
    ]


def write_summary(results: Path, report: Report) -> Path:
    """A page for a write-up; every number comes from the report."""
    made = report["provenance"]
    lines = [
        "# Which model should answer this query, and when need none answer at all?",
        "",
        headline(report),
        "",
        f"Mode: **{made['mode']}**. "
        + (
            "Texts and delays of the providers are synthetic; routing time, classification, cache "
            "hits, token counts and list-price costs are measured."
            if made["mode"] == "simulated"
            else "Answers come from the providers or from recordings of them."
        ),
        "",
        "| metric | value [95 % interval] | beside it |",
        "| --- | --- | --- |",
        *(f"| {name} | {value} | {beside} |" for name, value, beside in four_metrics_table(report)),
        "",
        *_breakdown("tier", report["by_tier"]),
        *_breakdown("provider", report["by_provider"]),
        *_classification(report["classification"]),
        *_streaming(report["streaming"]),
        *(
            summary_lines(report["frontier"], report["frontier_details"])
            if "frontier" in report
            else ()
        ),
        *(
            ("## Beyond one machine", "", paragraph(report["sweep"]), "")
            if "sweep" in report
            else ()
        ),
        "## Figures",
        "",
        *(f"![{alt}](figures/{name}.png)\n" for name, alt in report["figures"].items()),
        "## Where these numbers come from",
        "",
        f"Commit `{made['commit'][:12]}`{' with local changes' if made['dirty'] else ''}, "
        f"seed {made['seed']}, prices of {made['price_date']}, lock `{made['lock_sha256'][:12]}`, "
        f"{made['started']}. Reproduce with `make reproduce`; all figures are in `report.json`.",
        "",
    ]
    write_text(results / SUMMARY_FILE, "\n".join(lines))
    return results / SUMMARY_FILE


def _breakdown(name: str, parts: Mapping[str, Any]) -> list[str]:
    def cell(part: Mapping[str, Any], metric: str, style: str) -> str:
        return shown(part[metric], style) if metric in part else "no labelled request"

    return [
        f"## By {name}",
        "",
        f"| {name} | requests | route (ms) | cost a request (USD) | accuracy | cache hit rate |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {key} | {part['route_ms']['n']} | {cell(part, 'route_ms', MS)} | "
            f"{cell(part, 'cost_usd', '${:.5f}')} | {cell(part, 'accuracy', PERCENT)} | "
            f"{cell(part, 'hit_rate', PERCENT)} |"
            for key, part in parts.items()
        ),
        "",
    ]


_COLUMNS = {
    "accuracy": ("accuracy", PERCENT),
    "macro_f1": ("macro-F1", "{:.3f}"),
    "qwk": ("QWK", "{:.3f}"),
    "ece": ("ECE", "{:.3f}"),
    "under_routing": ("too low", PERCENT),
    "over_routing": ("too high", PERCENT),
}


def _streaming(section: Mapping[str, Any]) -> list[str]:
    at_once, right = section["concurrent"], section["faults_as_expected"]
    return [
        "## Streams under faults and load",
        "",
        f"A stream of 2,000 chunks takes {shown(section['overhead_ratio'], MS)} times what the "
        f"raw SDK takes. Of {at_once['streams']} streams at once {at_once['lost']} were lost and "
        f"{at_once['mixed']} mixed up; over {at_once['rounds']} rounds memory grew by "
        f"{at_once['growth_mb']:.1f} MB. Of {right['n']} scripted faults, each at every provider, "
        f"{shown(right, PERCENT)} ended as they must.",
        "",
        "| fault on the wire | how the answer ends |",
        "| --- | --- |",
        *(f"| {fault} | {outcome} |" for fault, outcome in section["faults"].items()),
        "",
    ]


def _classification(section: Mapping[str, Any]) -> list[str]:
    heads = [head for head, _ in _COLUMNS.values()]
    lines = [
        "## The classifier beside its baselines",
        "",
        f"| queries | model | {' | '.join(heads)} |",
        "| --- " * (len(heads) + 2) + "|",
    ]
    verdicts = []
    for key, title in SETS.items():
        if key in section:
            scored = {"classifier": section[key], **section[key]["baselines"]}
            for name, one in scored.items():
                cells = (
                    shown(one[column], style) if column in one else "-"
                    for column, (_, style) in _COLUMNS.items()
                )
                lines.append(f"| {title} | {name} | {' | '.join(cells)} |")
            best = max(scored, key=lambda name: float(scored[name]["accuracy"]["value"]))
            verdicts.append(f"On the {title} the most accurate is {best}.")
    made = section["training"]
    misled = made["against_shortcuts"]
    verdicts.append(
        f"Trained on {made['kept']:,} of {made['rows']:,} written queries, those on which a "
        f"second, blind labelling agreed ({shown(made['readers_agree'], PERCENT)}); length "
        f"misjudges {misled['length']['value']:.0%} of them, keywords "
        f"{misled['keywords']['value']:.0%}, both {misled['both']['value']:.0%}. To classify one "
        f"query beyond its encoding takes {shown(section['classify_ms'], MS)} ms (median)."
    )
    left_out = [f"Left out: {note}" for note in section.get("notes", ())]
    return [*lines, "", " ".join(verdicts), "", *left_out, ""]
