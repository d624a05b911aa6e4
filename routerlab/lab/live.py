"""Before money is spent: what a live run would cost, whether the budget and the keys allow it.

Does not know: how the run goes on.
"""

from __future__ import annotations

import os
import sys

from routerlab.catalog import Catalog, load_catalog
from routerlab.errors import BudgetError, DataError, MissingKey, ModeError
from routerlab.lab.asking import model_at_hand
from routerlab.lab.benchmark import estimate_usd
from routerlab.lab.datasets import load_real_dev
from routerlab.lab.generation import GENERATOR, estimate_generation
from routerlab.lab.labelling import LABELLER, estimate_labelling
from routerlab.lab.queries import load_benchmark, load_variants
from routerlab.lab.traffic import make_traffic
from routerlab.providers.endpoints import LiveEndpoints


def providers_with_key(catalog: Catalog) -> list[str]:
    """Names of the providers whose key is in the environment."""
    found = []
    for provider in catalog.providers.values():
        try:
            LiveEndpoints().connect(provider)
        except MissingKey:
            continue
        found.append(provider.name)
    return found


def confirm_budget(requests: int, seed: int = 0) -> float:
    """Print the estimate (USD) of a live run and return it.

    `ModeError` without any key, `BudgetError` where the estimate passes BUDGET_USD.
    """
    catalog = load_catalog()
    named = providers_with_key(catalog)
    if not named:
        variables = ", ".join(provider.key_env for provider in catalog.providers.values())
        raise ModeError(f"live mode needs at least one key: set one or more of {variables}")
    text = os.environ.get("BUDGET_USD", "")
    try:
        budget = float(text)
    except ValueError:
        raise BudgetError(f"BUDGET_USD is {text!r}: set a number such as 1.50") from None
    traffic = make_traffic(load_benchmark(), load_variants(), requests=requests, seed=seed)
    parts = {
        f"{requests} requests by 6 policies": estimate_usd(traffic, catalog, seed),
        "writing 100 queries": estimate_generation(catalog, _asked(GENERATOR, catalog)).usd,
        "labelling queries": estimate_labelling(
            catalog, _asked(LABELLER, catalog), _texts_to_label()
        ).usd,
    }
    estimate = sum(parts.values())
    told = ", ".join(f"{what} ${usd:.2f}" for what, usd in parts.items())
    sys.stderr.write(
        f"live run: keys for {', '.join(named)}; estimated ${estimate:.2f} ({told}) "
        f"of a budget of ${budget:.2f}\n"
    )
    if estimate > budget:
        raise BudgetError(
            f"the estimate of ${estimate:.2f} passes the budget of ${budget:.2f}: raise "
            "BUDGET_USD, or lower `requests` in notebooks/04_run_benchmark.ipynb"
        )
    return estimate


def _asked(preferred: str, catalog: Catalog) -> str:
    return model_at_hand(preferred, catalog, LiveEndpoints())


def _texts_to_label() -> list[str]:
    texts = [query.text for query in load_benchmark()]
    try:
        return texts + [query.text for query in load_real_dev()]
    except DataError:
        return texts  # without network and mirror, notebook 02 labels the benchmark alone
