"""What others published on the same data: RouteLLM's routers between the same two models.

Source: Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665,
tables 1 to 3, the rows with augmented training data; shares of strong calls are rounded to a tenth
of a per cent. For MMLU the augmentation is 1,500 labelled questions of MMLU itself; for GSM8K and
MT-Bench it is preferences by a judge model, so those routers saw no row of the benchmark. Does not
know: our figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SOURCE = "RouteLLM, arXiv 2406.18665, tables 1 to 3"


@dataclass(frozen=True)
class Published:
    """A router's published figures; `cpt50` and `cpt80` are shares of strong calls."""

    router: str
    apgr: float
    cpt50: float
    cpt80: float


ROUTELLM: dict[str, tuple[Published, ...]] = {
    "mmlu": (
        Published("similarity-weighted ranking", 0.603, 0.354, 0.716),
        Published("causal LLM (Llama 3 8B)", 0.600, 0.355, 0.703),
        Published("matrix factorization", 0.597, 0.355, 0.714),
        Published("BERT", 0.572, 0.413, 0.722),
    ),
    "gsm8k": (
        Published("causal LLM (Llama 3 8B)", 0.622, 0.336, 0.633),
        Published("similarity-weighted ranking", 0.568, 0.412, 0.722),
        Published("matrix factorization", 0.565, 0.388, 0.726),
        Published("BERT", 0.531, 0.448, 0.791),
    ),
    "mt_bench": (
        Published("matrix factorization", 0.802, 0.134, 0.313),
        Published("similarity-weighted ranking", 0.759, 0.232, 0.360),
        Published("BERT", 0.751, 0.196, 0.340),
        Published("causal LLM (Llama 3 8B)", 0.679, 0.315, 0.488),
    ),
}
"""By benchmark, the best first."""


SAW_ITS_ROWS = ("mmlu",)
"""Benchmarks of which the published routers saw labelled rows."""


def published(benchmark: str) -> list[dict[str, Any]]:
    """The published rows of a benchmark, best first; none where nobody published on it."""
    return [asdict(row) for row in ROUTELLM.get(benchmark, ())]
