"""The model card that people read, written beside the one that is checked on loading.

Does not know: the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routerlab.classifier import ModelCard
from routerlab.files import write_text
from routerlab.lab.queries import TRAINING_FILE


def write_card(folder: Path, card: ModelCard, scores: Mapping[str, Any]) -> Path:
    """The model card that people read, beside the one that is checked on loading."""
    lines = [
        "# Model card: the complexity classifier",
        "",
        "Sorts a query into simple, medium, complex or reasoning by what a good answer demands "
        "(`data/complexity-rubric.md`). Made by `notebooks/02_train_classifier.ipynb`.",
        "",
        f"- Parts: {card.estimator}.",
        f"- Embedding: {card.embedder_id}.",
        f"- Trained on {card.training_rows} queries, `{TRAINING_FILE.name}`, sha256 "
        f"`{card.training_sha256}`; seed {card.seed}; scikit-learn {card.sklearn_version}.",
        "- Tier shares it expects where it is used: "
        + ", ".join(f"{tier} {share:.0%}" for tier, share in card.priors.items())
        + ".",
        "- The queries were written to briefs and labelled twice by language models, which read "
        "the rubric; none is a user's. Both passes agreeing says that the rubric is clear, not "
        "that people would.",
        "- Not for: judging how good an answer is, or languages and fields that its training "
        "queries hardly touch; nineteen in twenty are English.",
        "",
        "| queries | accuracy | macro-F1 | QWK | ECE |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in ("train_cv", "benchmark", "real_dev"):
        if name in scores:
            one = scores[name]
            cells = [
                f"{one[key]['value']:.3f} [{one[key]['low']:.3f}, {one[key]['high']:.3f}]"
                for key in ("accuracy", "macro_f1", "qwk", "ece")
            ]
            lines.append(f"| {name}, {one['accuracy']['n']} | {' | '.join(cells)} |")
    write_text(folder / "README.md", "\n".join([*lines, ""]))
    return folder / "README.md"
