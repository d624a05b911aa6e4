"""report.html in a real browser: whole, quiet, within a phone's width, dark, on paper.

The browser is Debian's chromium: `apt-get install -y --no-install-recommends chromium`. Where it
is absent these tests are skipped, but never in CI.
"""

import json
import os
import re
from html.parser import HTMLParser

import browser
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_lab import small_report

from routerlab.errors import ResultsError
from routerlab.files import PROJECT_ROOT
from routerlab.lab import plots, story, tables
from routerlab.lab.htmlreport import citation, page, write_page
from routerlab.lab.report import Cell, check
from routerlab.lab.summary import markdown, write_summary

PHONE, DESK = 390, 1200
HOSTILE = '<script>alert("x")</script> & "quotes"'


@pytest.fixture
def real_browser():
    if browser.PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail(browser.INSTALL)
        pytest.skip(browser.INSTALL)


def full_report():
    """The small report with figures to draw, long names and a hostile text."""
    report = small_report()
    report["by_provider"]["a_provider_with_a_very_long_name_" + "x" * 60] = report["by_provider"][
        "openai"
    ]
    report["classification"]["notes"] = [HOSTILE]
    report["figures"] = {
        "confusion": f"A matrix, {HOSTILE}.",
        "latency_ecdf": "Times of decisions.",
        "unheard_of": "A figure that no section names.",
    }
    return report


def draw(folder, report):
    with plots.style():
        for number, (name, alt) in enumerate(report["figures"].items()):
            figure = Figure(figsize=(6 + 5 * number, 4))
            figure.subplots().plot([0, 1], [0, number])
            plots.save(figure, folder / "figures", name, alt)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    report = full_report()
    draw(folder, report)
    return write_page(folder, report)


COMMITTED = PROJECT_ROOT / "results" / "report.html"


@pytest.fixture(params=["made", *(["committed"] if COMMITTED.exists() else [])])
def shown(request, made):
    """A page drawn here, and that of the reference run where it is there."""
    return made if request.param == "made" else COMMITTED


@pytest.mark.parametrize(
    ("width", "dark", "paper"),
    [(PHONE, False, False), (PHONE, True, False), (DESK, False, False), (700, False, True)],
)
async def test_page_is_whole_quiet_and_within_its_width(real_browser, shown, width, dark, paper):
    async with browser.opened() as tab:
        await tab.show(shown, width, dark=dark, paper=paper)
        assert tab.console == []
        assert [url for url in tab.requested if not url.startswith(("file:", "data:"))] == []
        assert await tab.ask("document.scripts.length") == 0
        assert await tab.ask("document.documentElement.scrollWidth") <= width
        # Nothing sticks out but what lies in a box that scrolls by itself.
        assert not await tab.ask(
            "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right"
            " > innerWidth + 1 && !e.closest('.scroll, .paper')).map(e => e.outerHTML.slice(0, 90))"
        )
        images = await tab.ask("[...document.images].map(i => [i.naturalWidth, i.alt])")
        assert len(images) >= 3
        assert all(wide > 0 and alt.endswith(".") for wide, alt in images)
        assert await tab.ask("document.querySelector('.bars').getAttribute('aria-label').length")


async def test_dark_and_print_change_the_page_and_figures_stay_on_white(real_browser, made):
    colour = "getComputedStyle(document.querySelector('{}')).{}"
    page_of, ink_of = colour.format("body", "backgroundColor"), colour.format("h1", "color")
    paper_of = colour.format(".paper", "backgroundColor")
    async with browser.opened() as tab:
        seen = {}
        for name, how in {"light": {}, "dark": {"dark": True}, "print": {"paper": True}}.items():
            await tab.show(made, DESK, **how)
            seen[name] = [await tab.ask(one) for one in (page_of, ink_of, paper_of)]
        assert brightness(seen["light"][0]) > 200 > 60 > brightness(seen["dark"][0])
        assert brightness(seen["dark"][1]) > 200
        assert seen["dark"][2] == seen["light"][2] == "rgb(255, 255, 255)"
        assert seen["print"][:2] == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        assert await tab.ask("document.querySelector('nav').getClientRects().length") == 0
        assert await tab.ask("document.querySelector('details table').clientHeight") > 100
        assert (await tab.pdf()).startswith(b"%PDF")


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.names, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_every_value_is_escaped(made):
    text = made.read_text()
    tags = Tags(text)
    assert "script" not in tags.names
    assert HOSTILE in " ".join(tags.text)
    assert text.count("&lt;script&gt;") >= 2


def test_what_is_missing_is_said(tmp_path):
    report = full_report()
    del report["frontier"], report["frontier_details"]
    draw(tmp_path, report)
    text = page(report, tmp_path / "figures")
    assert "Missing:</b> no public outcome data" in text
    assert "Not drawn in this run:</b> cache_drift" in text
    assert "Missing: no public outcome data" in write_summary(tmp_path, report).read_text()
    (tmp_path / "figures" / "confusion.svg").unlink()
    with pytest.raises(ResultsError, match="run notebook 06"):
        page(report, tmp_path / "figures")


def test_both_pages_say_the_same(tmp_path):
    report = full_report()
    draw(tmp_path, report)
    read = " ".join(" ".join(Tags(write_page(tmp_path, report).read_text()).text).split())
    summary = write_summary(tmp_path, report).read_text()
    for section in story.sections(report):
        for words in (section.title, *section.words, *section.points):
            assert words in read
            assert words in summary
    assert all(name in summary for name in report["figures"])


def test_a_citation_names_the_run():
    report = small_report()
    report["provenance"].update(commit="abcdef0123456789", dirty=True)
    cited = citation(report)
    assert "year   = {2026}" in cited
    assert "commit abcdef012345 with local changes, simulated mode, seed 0" in cited


def test_markdown_keeps_bars_in_their_cells():
    table = tables.Table("T", ("a", "b"), {"g": [(Cell("x|y"), Cell("1", "0, 2"))]}, "of")
    assert markdown(table)[2:5] == [
        "| of | a | b |",
        "| --- | --- | --- |",
        r"| g | x\|y | 1 [0, 2] |",
    ]


def test_figures_come_in_two_sizes_and_the_same_bytes(tmp_path):
    report = {"figures": {"one": "A line."}}
    for folder in ("a", "b"):
        draw(tmp_path / folder, report)
    names = sorted(path.name for path in (tmp_path / "a" / "figures").iterdir())
    assert names == ["one.png", "one.svg", "one@2x.png"]
    for name in names:
        first, second = (tmp_path / folder / "figures" / name for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    small, large = (
        Image.open(tmp_path / "a" / "figures" / f"one{end}.png").size for end in ("", "@2x")
    )
    assert all(0.98 < twice / (2 * once) < 1.02 for once, twice in zip(small, large, strict=True))


def test_report_of_the_test_fits_the_schema():
    check(json.loads(json.dumps({"version": 1, **full_report()})))
