"""What must be at hand before the notebooks run: tokenizer files and the exported embedding.

Each step is skipped where its result is there. Does not know: notebooks, results.
"""

from __future__ import annotations

import sys

from routerlab.embedding import MiniLMEmbedder
from routerlab.errors import DataError, RouterLabError
from routerlab.lab.datasets import fetch_all
from routerlab.lab.encodings import ensure_encodings


def prepare() -> None:
    """Get everything; what cannot be had is said, and only the embedding is indispensable."""
    try:
        for line in ensure_encodings():
            _say(f"tokenizer files  {line}")
    except DataError as error:
        _say(f"tokenizer files  {error}")
    MiniLMEmbedder().load()
    _say("embedding        ready")
    for line in fetch_all():
        _say(f"public data      {line}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main() -> int:
    """Command line of `make data`."""
    try:
        prepare()
    except RouterLabError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
