"""What the report says, section by section: words, tables and figures, all from report.json.

Does not know: Markdown, HTML, files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routerlab.lab import tables, traffic_story
from routerlab.lab.cache_plots import STREAMS
from routerlab.lab.published import SOURCE
from routerlab.lab.report import MS, PERCENT, Report, shown
from routerlab.lab.scoring import SETS
from routerlab.lab.sweep_plan import paragraph
from routerlab.lab.tables import CLASSIFIERS, Table

QUESTION = "Which model should answer this query, and when need none answer at all?"
HERO = "cost_by_policy"


@dataclass(frozen=True)
class Section:
    """A part of the report; `missing` says why there is nothing but its title."""

    anchor: str
    title: str
    words: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    missing: str = ""


_MEASURED, _RECORDED = "measured", "recorded outcomes of real models"
_FIGURES = {
    HERO: ("The same requests under each policy, at list prices; intervals resample whole "
           "families of queries", ""),
    "latency_ecdf": ("Every routed request, timed in-process from text to decision", _MEASURED),
    "confusion": ("Labels under the rubric against the classifier's tier, on queries that nothing "
                  "was trained on", _MEASURED),
    "reliability": ("Queries in bins of the probability that the classifier gave its tier, "
                    "against the share that was right", _MEASURED),
    "learning_curve": ("Accuracy of the classifier trained on growing shares of its queries, the "
                       "test queries fixed", _MEASURED),
    "decision_costs": ("The same probabilities, decided at growing costs of sending a query too "
                       "low", _MEASURED),
    "cache_hits": ("Seeded streams of look-ups into a filling cache; lines move a frozen "
                   "threshold, marks are the ways to decide; labels are the judge", _MEASURED),
    "cache_drift": ("The hardest stream cut into quarters, mean of seeds with 95 % intervals",
                    _MEASURED),
    "waterfall": ("What routing, exact hits and semantic hits each take off the bill of always "
                  "calling the strongest model, in this order and in the reverse", ""),
    "sensitivity": ("The same kind of traffic with other Zipf exponents and cache sizes, replayed "
                    "in process", ""),
    "frontier": ("Held-out questions whose answers by each model were scored by others; bands "
                 "resample questions", _RECORDED),
    "frontier_llmrouter": ("Held-out questions whose answers by each model were scored by others; "
                           "bands resample questions", _RECORDED),
    "call_performance": ("Recovered share of the gap between weak and strong model, by share of "
                         "calls to the strong one", _RECORDED),
    "routing_edge": ("Score of the router less that of a random mix at equal spending, by domain",
                     _RECORDED),
    "apgr": ("Average recovered gap by benchmark and by what the router was trained on, with "
             "95 % intervals", _RECORDED),
}  # fmt: skip


def method(name: str, mode: str) -> str:
    """The caption of a figure: how it was made, and in which mode."""
    how, kind = _FIGURES.get(name, ("Drawn from report.json", _MEASURED))
    synthetic = "synthetic answers" if mode == "simulated" else "the providers' usage"
    return f"{how}. {(kind or synthetic).capitalize()}; {mode} mode."


def mode_words(mode: str) -> str:
    """What is synthetic and what is measured in a mode."""
    if mode == "simulated":
        return (
            "Texts and delays of the providers are synthetic; routing time, classification, cache "
            "hits, token counts and list-price costs are measured."
        )
    return "Answers come from the providers or from recordings of them."


def sections(report: Report) -> list[Section]:
    """The sections after the headline and the four metrics, in their order."""
    found = [
        _traffic(report),
        _parts(report),
        _latency(report["latency"]),
        _classifier(report["classification"]),
        _cache(report["cache"]),
        _frontier(report),
        _streaming(report["streaming"]),
        _counts(report["billing"]),
        *([_sweep(report["sweep"])] if "sweep" in report else []),
    ]
    named = {HERO, *(name for section in found for name in section.figures)}
    if further := tuple(name for name in report["figures"] if name not in named):
        found.append(Section("further", "Further figures", figures=further))
    return found


def _traffic(report: Report) -> Section:
    drawn = ("waterfall", "sensitivity")
    told, made = traffic_story.words(report), traffic_story.tables(report)
    return Section("traffic", traffic_story.TITLE, told, (), made, drawn)


def _parts(report: Report) -> Section:
    words = (
        "Requests are counted under the tier and the provider that the router chose, also where "
        "the cache then answered them."
    )
    both = (("tier", report["by_tier"]), ("provider", report["by_provider"]))
    made = tuple(tables.breakdown(name, parts) for name, parts in both)
    return Section("parts", "By tier and by provider", (words,), tables=made)


def _latency(section: Mapping[str, Any]) -> Section:
    p50, p95 = (shown(section["route_ms"][key], MS) for key in ("p50", "p95"))
    words = f"A decision takes {p50} ms at the median and {p95} ms at the 95th percentile."
    told = (words, _speed(section)) if "encode_ratio" in section else (words,)
    made = (tables.stages(section),)
    return Section("latency", "Time to decide", told, (), made, ("latency_ecdf",))


def _speed(section: Mapping[str, Any]) -> str:
    ratio, hit = shown(section["encode_ratio"], MS), shown(section["exact_hit_ms"])
    beyond = shown(section["route_beyond_encode_ms"], MS)
    rates = ", ".join(
        f"{rate['value']:.0f} at {callers}" for callers, rate in section["throughput"].items()
    )
    return (
        f"To encode one query takes {ratio} times what sentence-transformers' default takes with "
        f"the same weights in the same run; a route adds {beyond} ms to its encode, an exact hit "
        f"takes {hit} ms (medians). Routes a second by callers at once: {rates}; the event loop "
        f"was never held for more than {section['loop_blocked_ms']:.0f} ms."
    )


def _classifier(section: Mapping[str, Any]) -> Section:
    points = []
    for key, title in SETS.items():
        if key in section:
            scored = {"classifier": section[key], **section[key]["baselines"]}
            best = max(scored, key=lambda name: float(scored[name]["accuracy"]["value"]))
            accuracy = shown(scored[best]["accuracy"], PERCENT)
            named = CLASSIFIERS.get(best, best)
            points.append(f"Most accurate on the {title}: {named}, {accuracy}.")
    made = section["training"]
    misled = made["against_shortcuts"]
    words = (
        f"Trained on {made['kept']:,} of {made['rows']:,} written queries, those on which a "
        f"second, blind labelling agreed ({shown(made['readers_agree'], PERCENT)}); length "
        f"misjudges {misled['length']['value']:.0%} of them, keywords "
        f"{misled['keywords']['value']:.0%}, both {misled['both']['value']:.0%}. To classify one "
        f"query beyond its encoding takes {shown(section['classify_ms'], MS)} ms (median)."
    )
    drawn = ("confusion", "reliability", "learning_curve", "decision_costs")
    return Section(
        "classifier",
        "The classifier beside its baselines",
        (words,),
        tuple(points),
        (tables.classification(section),),
        drawn,
        tuple(section.get("notes", ())),
    )


def _cache(section: Mapping[str, Any]) -> Section:
    whole = (
        f"Of the benchmark's requests {shown(section['hit_rate'], PERCENT)} need no model: "
        f"{section['exact_hits']['value']:.1%} are exact hits, "
        f"{section['semantic_hits']['value']:.1%} semantic ones; of all requests "
        f"{shown(section['false_hit_rate'], PERCENT)} get a wrong answer that way. The bound set "
        f"for that is {section['max_false_hit_rate']:.1%}."
    )
    points, made, missing = [], [], []
    streams = section.get("streams", {})
    for key, title in STREAMS.items():
        if key in streams:
            points.append(_held(title, streams[key]))
        else:
            missing.append(f"stream of {title}: not measured in this run")
    if streams:
        made.append(tables.cache_streams(streams))
    if "served" in section["calibration"]:
        made.append(tables.served(section["calibration"]))
    if "latency_ms" in section:
        made.append(tables.cache_speed(section["latency_ms"]))
    return Section(
        "cache",
        "The cache",
        (whole,),
        tuple(points),
        tuple(made),
        ("cache_hits", "cache_drift"),
        tuple(section.get("notes") or missing),
    )


def _held(title: str, arms: Mapping[str, Any]) -> str:
    whole, frozen = arms["whole"], arms["static_0.95"]
    last = (arm["false_hit_rate_by_quarter"][-1]["value"] for arm in (whole, frozen))
    return (
        f"{title[0].upper()}{title[1:]}: the whole cache answers "
        f"{shown(whole['correct_hit_rate'], PERCENT)} of look-ups rightly and "
        f"{shown(whole['false_hit_rate'], '{:z.2%}')} wrongly; in the last quarter of the stream "
        "{:z.2%} are wrong, against {:z.2%} with a cosine frozen at 0.95.".format(*last)
    )


def _frontier(report: Report) -> Section:
    anchor, title = "frontier", "Cost and quality on public outcomes of real models"
    details = report.get("frontier_details", {})
    notes = tuple(details.get("notes", ()))
    if not report.get("frontier"):
        why = "no public outcome data was at hand in this run. Fetch it with `make data`."
        return Section(anchor, title, left_out=notes, missing=why)
    words = (
        "Who is trained on what is told by the setting; the tier policy is trained on none of it. "
        "APGR is the share of the gap between the weak and the strong model that a router "
        "recovers, averaged over all shares of strong calls: a random mix has 0.5. CPT(50) is the "
        f"share of strong calls that recovers half of the gap. Published rows: {SOURCE}."
    )
    drawn = ("frontier", "call_performance", "apgr", "frontier_llmrouter", "routing_edge")
    found = report["frontier"]
    made = (tables.apgr(found), tables.outcomes(found))
    return Section(anchor, title, (words,), tuple(details["verdicts"]), made, drawn, notes)


def _streaming(section: Mapping[str, Any]) -> Section:
    at_once, right = section["concurrent"], section["faults_as_expected"]
    words = (
        f"A stream of 2,000 chunks takes {shown(section['overhead_ratio'], MS)} times what the "
        f"raw SDK takes. Of {at_once['streams']:,} streams at once {at_once['lost']} were lost "
        f"and {at_once['mixed']} mixed up; over {at_once['rounds']} rounds memory grew by "
        f"{at_once['growth_mb']:.1f} MB. Of {right['n']} scripted faults, each at every provider, "
        f"{shown(right, PERCENT)} ended as they must."
    )
    first = f"First text of a model after {shown(section['ttft_ms'], MS)} ms"
    if "ttft_cached_ms" in section:
        first += f", of the cache after {shown(section['ttft_cached_ms'], MS)} ms"
    return Section(
        "streaming",
        "Streams under faults and load",
        (words, f"{first} (median)."),
        tuple(_sentence(note) for note in section.get("notes", ())),
        (tables.faults(section),),
    )


def _counts(section: Mapping[str, Any]) -> Section:
    words = (
        f"The whole run is billed at ${section['total_usd']['value']:.2f}; the token counts of "
        f"{shown(section['usage_from_provider'], PERCENT)} of the calls are those that the "
        "provider reported."
    )
    made = (tables.token_counts(section),)
    notes = tuple(_sentence(note) for note in section.get("notes", ()))
    return Section("counts", "Token counts and bills", (words,), notes, made)


def _sweep(section: Mapping[str, Any]) -> Section:
    return Section("sweep", "Beyond one machine", (paragraph(section),))


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."
