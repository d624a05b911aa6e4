"""Runs the notebooks in order through papermill and puts their results in place when all is done.

Everything is written to a folder beside the results; the previous results stay until the last
notebook has succeeded. Does not know: what the notebooks do.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from routerlab.errors import ModeError, NotebookError, ResultsError, RouterLabError
from routerlab.files import PROJECT_ROOT, RESULTS_DIR, write_json
from routerlab.lab.prepare import prepare
from routerlab.lab.provenance import manifest
from routerlab.lab.report import (
    PAGE_FILE,
    REPORT_FILE,
    SUMMARY_FILE,
    four_metrics_table,
    load_section,
)

NOTEBOOKS_DIR = PROJECT_ROOT / "notebooks"
WORK_DIR = PROJECT_ROOT / ".work"
NOTEBOOKS = (
    "00_explore",
    "01_generate_queries",
    "02_train_classifier",
    "03_calibrate_cache",
    "04_run_benchmark",
    "05_cost_quality_frontier",
    "06_plot_metrics",
)
SMOKE: Mapping[str, Mapping[str, Any]] = {
    "02_train_classifier": {"train_share": 0.06},
    "03_calibrate_cache": {
        "seeds": 2,
        "quora_train": 300,
        "quora_pool": 500,
        "quora_stream": 300,
        "clinc_pool": 300,
        "clinc_stream": 200,
        "family_share": 0.1,
        "cache_sizes": [500, 2_000],
    },
    "04_run_benchmark": {
        "bench_queries": 12,
        "sweep_queries": 12,
        "requests": 40,
        "streams": 3,
        "sensitivity_streams": 2,
        "zipf_exponents": [0.0, 0.8],
        "cache_sizes": [10, 100],
        "ttl_hours": [1],
        "overhead_pairs": 2,
        "concurrent_streams": 50,
        "memory_rounds": 5,
    },
    "05_cost_quality_frontier": {
        "benchmarks": ["mt_bench"],
        "draws": 1,
        "candidate_draws": 0,
    },
}
LIVE: Mapping[str, Mapping[str, Any]] = {
    # No follow-ups: one model's answers vary, and a replay must find the turns that were recorded.
    "04_run_benchmark": {
        "requests": 30,
        "follow_up": 0.0,
        "time_scale": 1.0,
        "overhead_pairs": 2,
    },
}
CELL_SECONDS = 1_200


@dataclass(frozen=True)
class Run:
    """What to run, with which parameters, and where the results go."""

    results: Path = RESULTS_DIR
    notebooks: Sequence[str] = NOTEBOOKS
    mode: str = "simulated"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folder: Path = NOTEBOOKS_DIR
    html: bool = True


def run(plan: Run) -> Path:
    """Run the notebooks; the results folder. `NotebookError` names notebook and cell.

    Keys and budget reach the notebooks through the environment alone: papermill stores every
    parameter in the notebook.
    """
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    staging = _staging(plan)
    try:
        executed = staging / "executed"
        executed.mkdir(exist_ok=True)
        bar = tqdm(plan.notebooks, desc="notebooks", unit="notebook", position=0)
        for name in bar:
            bar.set_postfix_str(name)
            common = {"results_dir": str(staging), "mode": plan.mode, "started": started}
            _execute(plan, name, {**common, **plan.parameters.get(name, {})}, executed)
            if plan.mode == "live":
                _lower_budget(staging, name)
        if plan.html:
            _export_html(executed)
        write_json(staging / "manifest.json", manifest(staging))
        _swap(staging, plan.results)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return plan.results


def _lower_budget(staging: Path, name: str) -> None:
    """What one notebook spent is gone from the budget of the next."""
    spent = float(load_section(staging, name).get("spent_usd", 0.0))
    os.environ["BUDGET_USD"] = f"{max(0.0, float(os.environ['BUDGET_USD']) - spent):.6f}"


def _staging(plan: Run) -> Path:
    """A fresh folder beside the results; a part of the notebooks starts from the present ones."""
    try:
        plan.results.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{plan.results.name}-", dir=plan.results.parent))
        staging.chmod(0o755)
    except OSError as error:
        raise ResultsError(
            f"cannot write beside {plan.results}: {error.strerror}. Make {plan.results.parent} "
            "writable, or choose another folder with --results"
        ) from error
    if plan.results.exists() and not os.access(plan.results, os.W_OK):
        shutil.rmtree(staging)
        raise ResultsError(f"{plan.results} is read-only: make it writable or use --results")
    if tuple(plan.notebooks) != NOTEBOOKS and plan.results.is_dir():
        shutil.copytree(plan.results, staging, dirs_exist_ok=True)
    return staging


def _execute(plan: Run, name: str, given: Mapping[str, Any], executed: Path) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source = plan.folder / f"{name}.ipynb"
    known = papermill.inspect_notebook(str(source))
    asked = {key: value for key, value in given.items() if key != "started" or key in known}
    if unknown := sorted(set(asked) - set(known)):
        raise NotebookError(
            f"notebook {name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}"
        )
    try:
        papermill.execute_notebook(
            str(source),
            str(executed / f"{name}.ipynb"),
            parameters=asked,
            kernel_name="python3",
            cwd=str(plan.folder),
            start_timeout=120,
            execution_timeout=CELL_SECONDS,
            # Else the whole notebook is written after every cell; a failed one is kept anyway.
            request_save_on_cell_execute=False,
            progress_bar={"desc": name, "position": 1, "leave": False},
        )
    except PapermillExecutionError as error:
        kept = WORK_DIR / "failed" / f"{name}.ipynb"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed / f"{name}.ipynb", kept)
        raise NotebookError(
            f"notebook {name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}\n"
            f"Nothing in {plan.results} was changed; the notebook as it ran is {kept}"
        ) from error


def _export_html(executed: Path) -> None:
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    exporter = HTMLExporter(preprocessors=[CoalesceStreamsPreprocessor])  # type: ignore[no-untyped-call]
    for notebook in sorted(executed.glob("*.ipynb")):
        body, _ = exporter.from_filename(str(notebook))
        notebook.with_suffix(".html").write_text(body, encoding="utf-8")


def _swap(staging: Path, results: Path) -> None:
    """Put the new folder where the old one was; between the two renames nothing is lost."""
    old = staging.with_name(f"{staging.name}-old")
    if results.exists():
        results.rename(old)
    try:
        staging.rename(results)
    except OSError:
        if old.exists():
            old.rename(results)
        raise
    shutil.rmtree(old, ignore_errors=True)


def print_result(results: Path) -> None:
    """The four metrics with intervals, and where the report and the figures are."""
    report = json.loads((results / REPORT_FILE).read_text(encoding="utf-8"))
    rows = four_metrics_table(report)
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [
        f"{name:<{widths[0]}}  {value:<{widths[1]}}  ({beside})" for name, value, beside in rows
    ]
    lines += [
        "",
        f"mode     {report['provenance']['mode']}",
        f"report   {results / REPORT_FILE}",
        f"page     {results / PAGE_FILE}",
        f"summary  {results / SUMMARY_FILE}",
        *(
            f"figure   {results / 'figures' / name}.svg (.png, @2x.png)"
            for name in report["figures"]
        ),
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _plan(arguments: argparse.Namespace) -> Run:
    parameters: Mapping[str, Mapping[str, Any]] = {}
    results = arguments.results
    if arguments.smoke:
        parameters = SMOKE
        results = results or WORK_DIR / "smoke" / "results"
    if arguments.mode != "simulated":
        parameters = LIVE
        results = results or WORK_DIR / arguments.mode / "results"
    if arguments.record:
        parameters = {"04_run_benchmark": {**LIVE["04_run_benchmark"], "record": True}}
    if arguments.mode == "live" and not os.environ.get("BUDGET_USD"):
        raise ModeError("live mode spends money: name the most it may spend, BUDGET_USD=1.50")
    notebooks = (arguments.only,) if arguments.only else NOTEBOOKS
    return Run(results or RESULTS_DIR, notebooks, arguments.mode, parameters)


def main() -> int:
    """Command line; the exit status is 1 for an error that says what to do, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m routerlab.lab.reproduce")
    parser.add_argument("--smoke", action="store_true", help="smaller parameters, under .work/")
    parser.add_argument("--only", choices=NOTEBOOKS, help="run just this notebook")
    parser.add_argument("--mode", choices=("simulated", "replayed", "live"), default="simulated")
    parser.add_argument("--record", action="store_true", help="keep the live answers for replay")
    parser.add_argument("--results", type=lambda text: Path(text).resolve(), default=None)
    arguments = parser.parse_args()
    try:
        plan = _plan(arguments)
        prepare()
        if plan.mode == "live":
            from routerlab.lab.live import confirm_budget

            confirm_budget(plan.parameters["04_run_benchmark"]["requests"])
        results = run(plan)
    except RouterLabError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the previous results are as they were\n")
        return 130
    if (results / REPORT_FILE).exists():
        print_result(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
