"""The report's tables as cells, for every page that shows them.

Does not know: Markdown, HTML, how a figure was computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routerlab.lab.cache_plots import ARMS, STREAMS
from routerlab.lab.frontier_words import BENCHMARKS, NAMES, SETTINGS, Frontier, in_order
from routerlab.lab.published import published
from routerlab.lab.report import MS, PERCENT, Cell, cell
from routerlab.lab.scoring import SETS

Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under heads, in groups where `grouped_by` names what they are grouped by.

    `ours` is the first cell of the rows, or the head of the column, to stand out; a
    `folded` table is one to open at will.
    """

    caption: str
    heads: tuple[str, ...]
    groups: Mapping[str, Sequence[Row]]
    grouped_by: str = ""
    ours: str = ""
    folded: bool = False

    def is_words(self, column: int) -> bool:
        """Whether a column is to be read, not compared: it has a cell that is no number."""
        cells = [row[column] for rows in self.groups.values() for row in rows]
        return column == 0 or any(one.value[:1] not in _NUMBER_STARTS for one in cells)


CLASSIFIERS = {
    "classifier": "classifier",
    "tfidf": "TF-IDF + logistic regression",
    "nearest_neighbour": "nearest neighbour",
    "keywords": "keywords",
    "length_only": "length only",
    "majority": "majority",
}
_SCORES = {
    "accuracy": ("accuracy", PERCENT),
    "macro_f1": ("macro-F1", "{:z.3f}"),
    "qwk": ("QWK", "{:z.3f}"),
    "ece": ("ECE", "{:z.3f}"),
    "under_routing": ("too low", PERCENT),
    "over_routing": ("too high", PERCENT),
}
_PARTS = {
    "route_ms": ("route (ms)", MS),
    "cost_usd": ("cost a request (USD)", "${:z.5f}"),
    "accuracy": ("accuracy", PERCENT),
    "hit_rate": ("cache hit rate", PERCENT),
}
_STAGES = {
    "exact": "exact layer",
    "encode": "encoding",
    "semantic": "semantic layer",
    "classify": "classifier",
    "policy": "policy",
}
_SPEEDS = {
    "exact": "exact hit, in memory, median",
    "sqlite_exact": "exact hit, SQLite, median",
    "decision": "verifying one pair of texts, median",
    "semantic_10k": "semantic look-up among 10,000, median",
    "semantic_100k": "semantic look-up among 100,000, median",
    "put_p95_100k": "storing into 100,000, 95th percentile",
    "sqlite_put_p95": "storing into SQLite, 95th percentile",
}
_SERVED = {"paraphrases_served": "paraphrases served", "near_misses_served": "near misses served"}
_RATES = {
    "hit_rate": ("hit", PERCENT),
    "false_hit_rate": ("false hit", "{:z.2%}"),
    "correct_hit_rate": ("correct", PERCENT),
    "audits": ("audits", "{:z,.0f}"),
}
_FRONTIER = {"apgr": "APGR", "cpt50": "CPT(50)", "cpt80": "CPT(80)"}
_NONE = Cell("–")
_NUMBER_STARTS = "0123456789$+-–"


def breakdown(name: str, parts: Mapping[str, Any]) -> Table:
    """The four metrics by tier or provider; a part without labelled requests has no accuracy."""
    heads = (name, "requests", *(head for head, _ in _PARTS.values()))
    rows = [
        (Cell(key), Cell(f"{part['route_ms']['n']:,}"), *_cells(part, _PARTS))
        for key, part in parts.items()
    ]
    return Table(f"The four metrics by {name}", heads, {"": rows})


def stages(latency: Mapping[str, Any]) -> Table:
    """Milliseconds by stage of a route, in their order."""
    found = latency["stages_ms"]
    rows = [
        (Cell(_STAGES.get(key, key)), cell(found[key], "{:z.3f}"), Cell(f"{found[key]['n']:,}"))
        for key in _ordered(found, _STAGES)
    ]
    return Table("Where the time goes", ("stage", "median (ms)", "requests"), {"": rows})


def classification(section: Mapping[str, Any]) -> Table:
    """The classifier beside its baselines on each set of queries that was scored."""
    groups = {}
    for key, title in SETS.items():
        if key in section:
            scored = {"classifier": section[key], **section[key]["baselines"]}
            groups[title] = [
                (Cell(CLASSIFIERS.get(name, name)), *_cells(scored[name], _SCORES))
                for name in _ordered(scored, CLASSIFIERS)
            ]
    heads = ("model", *(head for head, _ in _SCORES.values()))
    caption = "The classifier beside its baselines"
    return Table(caption, heads, groups, "queries", CLASSIFIERS["classifier"])


def cache_streams(streams: Mapping[str, Any]) -> Table:
    """Hits, false hits and correct hits of every stream and arm, as shares of the look-ups."""
    groups = {
        title: [
            (Cell(ARMS.get(arm, arm)), *_cells(streams[key][arm], _RATES))
            for arm in _ordered(streams[key], ARMS)
            if arm != "none"
        ]
        for key, title in STREAMS.items()
        if key in streams
    }
    heads = ("cache", *(head for head, _ in _RATES.values()))
    return Table("Streams of look-ups, by cache", heads, groups, "stream", ARMS["whole"])


def served(calibration: Mapping[str, Any]) -> Table:
    """Shares of our paraphrases and near misses that each way to decide serves."""
    found = calibration["served"]
    rows = [
        (Cell(name), *(cell(one[key], PERCENT) for key in _SERVED)) for name, one in found.items()
    ]
    caption = "Pairs of questions: served where the answer is the same, and where it is not"
    return Table(caption, ("way to decide", *_SERVED.values()), {"": rows}, ours="verifier")


def cache_speed(latency_ms: Mapping[str, Any]) -> Table:
    """Milliseconds of the cache alone, the encoding left out."""
    rows = [
        (Cell(_SPEEDS.get(key, key)), cell(latency_ms[key], "{:z.3f}"))
        for key in _ordered(latency_ms, _SPEEDS)
    ]
    return Table("Speed of the cache, without encoding", ("operation", "ms"), {"": rows})


def apgr(frontier: Frontier) -> Table:
    """APGR by benchmark and setting, a column a router; the best published one beside them."""
    groups: dict[str, list[Row]] = {}
    for benchmark, setting, routers in in_order(frontier):
        theirs = published(benchmark)
        best = Cell(f"{theirs[0]['apgr']:.3f}") if theirs else _NONE
        found = (cell(routers[name]["apgr"]) if name in routers else _NONE for name in NAMES)
        groups.setdefault(BENCHMARKS[benchmark], []).append((Cell(SETTINGS[setting]), *found, best))
    heads = ("what the router was trained on", *NAMES.values(), "best published")
    caption = "Share of the gap between weak and strong model that a router recovers (APGR)"
    return Table(caption, heads, groups, "benchmark", NAMES["learned"])


def outcomes(frontier: Frontier) -> Table:
    """Every router by benchmark and setting, published ones last."""
    groups: dict[str, list[Row]] = {}
    for benchmark, setting, routers in in_order(frontier):
        groups.setdefault(BENCHMARKS[benchmark], []).extend(
            (Cell(setting), Cell(title), *(cell(routers[name][key]) for key in _FRONTIER))
            for name, title in NAMES.items()
            if name in routers
        )
    for benchmark in (name for name in BENCHMARKS if name in frontier):
        groups.setdefault(BENCHMARKS[benchmark], []).extend(
            (Cell("published"), Cell(row["router"]), *(Cell(f"{row[k]:.3f}") for k in _FRONTIER))
            for row in published(benchmark)
        )
    heads = ("setting", "router", *_FRONTIER.values())
    return Table(
        "Every router, with the share of strong calls", heads, groups, "benchmark", "", True
    )


def faults(streaming: Mapping[str, Any]) -> Table:
    """How an answer ends under each fault of the wire."""
    rows = [(Cell(fault), Cell(outcome)) for fault, outcome in streaming["faults"].items()]
    return Table("Faults on the wire", ("fault", "how the answer ends"), {"": rows})


def token_counts(billing: Mapping[str, Any]) -> Table:
    """What was counted beside what others published."""
    rows = [
        (Cell(one["name"]), Cell(f"{one['expected']:g}"), Cell(f"{one['got']:g}"))
        for one in billing["references"]
    ]
    return Table(
        "Counts and bills against published ones", ("case", "published", "ours"), {"": rows}
    )


def _cells(metrics: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> Row:
    return tuple(
        cell(metrics[key], style) if key in metrics else _NONE
        for key, (_, style) in columns.items()
    )


def _ordered(found: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """The keys of `found`: the known ones in their order, then the others."""
    return [*(key for key in known if key in found), *(key for key in found if key not in known)]
