"""Keeps the README's line of result equal to the committed report; a test holds the two together.

Does not know: anything else in the README.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from routerlab.errors import DataError
from routerlab.files import PROJECT_ROOT, RESULTS_DIR, write_text
from routerlab.lab.report import REPORT_FILE, headline

README = PROJECT_ROOT / "README.md"
_LINE = re.compile(r"(<!-- result -->\n).*?(\n<!-- /result -->)", re.DOTALL)


def with_result(text: str, results: Path = RESULTS_DIR) -> str:
    """The README with the headline of the report in `results`; `DataError` without its place."""
    report = json.loads((results / REPORT_FILE).read_text(encoding="utf-8"))
    mode = report["provenance"]["mode"]
    line = f"**{headline(report)}** ({mode} mode; intervals are 95 %.)"
    written, times = _LINE.subn(lambda found: found[1] + line + found[2], text)
    if times != 1:
        raise DataError("README.md must hold the lines <!-- result --> and <!-- /result --> once")
    return written


def main() -> int:
    """Command line of `make readme`."""
    write_text(README, with_result(README.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
