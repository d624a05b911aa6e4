"""Writes summary.md, the report as a page for a portfolio.

Does not know: what the report says, how a figure was computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from routerlab.files import write_text
from routerlab.lab.report import SUMMARY_FILE, Report, four_metrics_table, headline
from routerlab.lab.story import HERO, QUESTION, Section, mode_words, sections
from routerlab.lab.tables import Table


def write_summary(results: Path, report: Report) -> Path:
    """A page for a write-up; every number comes from the report."""
    made, figures = report["provenance"], report["figures"]
    lines = [
        f"# {QUESTION}",
        "",
        headline(report),
        "",
        f"Mode: **{made['mode']}**. {mode_words(made['mode'])}",
        "",
        *([_figure(HERO, figures[HERO])] if HERO in figures else []),
        "| metric | value [95 % interval] | beside it |",
        "| --- | --- | --- |",
        *(f"| {name} | {value} | {beside} |" for name, value, beside in four_metrics_table(report)),
        "",
        *(line for section in sections(report) for line in _section(section, figures)),
        "## Where these numbers come from",
        "",
        f"Commit `{made['commit'][:12]}`{' with local changes' if made['dirty'] else ''}, "
        f"seed {made['seed']}, prices of {made['price_date']}, lock `{made['lock_sha256'][:12]}`, "
        f"{made['started']}. Reproduce with `make reproduce`; all figures are in `report.json`, "
        "the same page with captions and definitions in `report.html`.",
        "",
    ]
    write_text(results / SUMMARY_FILE, "\n".join(lines))
    return results / SUMMARY_FILE


def _section(section: Section, figures: dict[str, str]) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    if section.missing:
        yield from (f"Missing: {section.missing}", "")
    for words in section.words:
        yield from (words, "")
    for table in section.tables:
        yield from markdown(table)
    notes = [*section.points, *(f"Left out: {note}" for note in section.left_out)]
    if notes:
        yield from (*(f"- {note}" for note in notes), "")
    yield from (_figure(name, figures[name]) for name in section.figures if name in figures)


def markdown(table: Table) -> list[str]:
    """A table in Markdown under its caption, groups as its first column."""
    first = [table.grouped_by] if table.grouped_by else []
    lines = [f"**{table.caption}**", "", _row([*first, *table.heads])]
    lines.append("| --- " * (len(first) + len(table.heads)) + "|")
    for group, rows in table.groups.items():
        lines += [_row([*([group] if first else []), *map(str, row)]) for row in rows]
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"


def _figure(name: str, alt: str) -> str:
    return f"![{alt}](figures/{name}.png)\n"
