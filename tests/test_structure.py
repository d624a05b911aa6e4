"""The shape of the project: floors, sizes, imports, exports, notebooks, environment."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import routerlab
from routerlab.files import PROJECT_ROOT, sha256_file
from routerlab.lab.readme import with_result
from routerlab.lab.report import check
from routerlab.lab.reproduce import LIVE, NOTEBOOKS, SMOKE

PACKAGE = PROJECT_ROOT / "routerlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOK_FILES = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_serving_floor_never_imports_the_lab():
    for path in MODULES:
        if "lab" not in path.relative_to(PACKAGE).parts:
            assert not any(n.startswith("routerlab.lab") for n in imported(path)), path


def test_serving_floor_has_no_lab_libraries():
    heavy = {"pandas", "matplotlib", "seaborn", "papermill", "aiohttp"}
    for path in MODULES:
        if "lab" not in path.relative_to(PACKAGE).parts:
            assert not {n.split(".")[0] for n in imported(path)} & heavy, path


# Floors within the serving floor, lowest first: a module imports from its own floor or below.
FLOORS = [
    {"errors", "files", "types", "query"},
    {
        "catalog",
        "tokens",
        "embedding",
        "weights",
        "onnxgraph",
        "billing",
        "breaker",
        "flight",
        "blas",
        "batching",
    },
    {"cues", "surface"},
    {"tiermodel", "outcome_model"},
    {"classifier", "policies", "cache", "providers", "attempts"},
    {"outcome_policy"},
    {"pipeline", "judge"},
    {"router"},
    {"streaming"},
]


def test_imports_point_one_way():
    level = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    for path in MODULES:
        top = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if top in ("lab", "__init__"):
            continue
        assert top in level, f"{top} has no floor: give it one"
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "routerlab" and len(parts) > 1 and parts[1] in level:
                assert level[parts[1]] <= level[top], f"{path} imports {name}"


def test_no_module_has_over_300_lines():
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 300, path


def test_every_module_says_what_it_is():
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_import_is_cheap():
    code = "import sys, routerlab; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "torch", "openai", "anthropic", "sklearn", "onnxruntime"}
    assert "routerlab.router" not in loaded


def test_exports_are_pinned():
    assert routerlab.__all__ == [
        "TIERS",
        "Catalog",
        "Completion",
        "LLMRouter",
        "RouteDecision",
        "RouterLabError",
        "SemanticCache",
        "StreamChunk",
        "StreamMetadata",
        "StreamingRouter",
        "Usage",
        "load_catalog",
    ]
    for name in routerlab.__all__:
        assert getattr(routerlab, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = routerlab.nothing_like_this


def test_no_pickle_is_read():
    for path in MODULES:
        assert not imported(path) & {"pickle", "joblib", "dill", "cloudpickle"}, path


def test_conda_environment_installs_the_lock():
    text = (PROJECT_ROOT / "environment.yml").read_text()
    assert re.findall(r"^ +- (.*)$", text, re.MULTILINE) == [
        "conda-forge",
        "python=3.11",
        "pip",
        "pip:",
        "-r requirements.lock",
        "-e .",
    ]


def lock() -> dict[str, str]:
    lines = (PROJECT_ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_lock_pins_all_that_is_installed():
    command = [sys.executable, "-m", "pip", "freeze", "--all", "--exclude-editable"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    installed = dict(line.split("==") for line in frozen if "==" in line)
    installed = {name: version.split("+")[0] for name, version in installed.items()}
    pinned = lock()
    wrong = {
        name: (installed.get(name), v) for name, v in pinned.items() if installed.get(name) != v
    }
    assert not wrong
    assert set(installed) - set(pinned) <= {"pip"}
    assert pinned["torch"] == "2.13.0"


def test_project_asks_for_what_the_lock_has():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names <= {name.lower() for name in lock()}


def test_notebooks_are_those_that_are_run():
    assert [path.stem for path in NOTEBOOK_FILES] == list(NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOK_FILES, ids=lambda p: p.stem)
def test_notebook_is_clean_and_flat(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert 15 <= len(book.cells) <= 25
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
    opening = book.cells[0].source
    assert all(word in opening for word in ("**Reads**", "**Writes**", "**Costs**"))
    assert "assert " in code[-1].source
    for cell in code:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 5


def test_run_parameters_exist_in_their_notebooks():
    import papermill

    for parameters in (SMOKE, LIVE):
        for name, given in parameters.items():
            known = papermill.inspect_notebook(str(PROJECT_ROOT / "notebooks" / f"{name}.ipynb"))
            assert set(given) <= set(known)


def test_makefile_help_names_every_command():
    shown = subprocess.run(["make"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    wanted = [
        "reproduce",
        "test",
        "smoke",
        "lab",
        "generate-queries",
        "benchmark",
        "bench",
        "data",
        "live",
        "record",
        "sweep",
        "clean",
    ]
    assert all(f"make {name}" in shown.stdout for name in wanted)


def test_readme_names_every_file_and_says_what_the_report_says():
    readme = (PROJECT_ROOT / "README.md").read_text()
    for path in MODULES:
        folder, name = path.parent.name, path.name
        assert name in readme or folder in ("cache", "providers") or name == "__init__.py", path
    for notebook in NOTEBOOKS:
        assert notebook in readme
    assert with_result(readme) == readme


def test_committed_results_hold_together():
    """The reference run is whole: the report fits its schema and came from the committed inputs."""
    results = PROJECT_ROOT / "results"
    report = json.loads((results / "report.json").read_text())
    check(report)
    for name, digest in report["provenance"]["inputs"].items():
        assert sha256_file(PROJECT_ROOT / "data" / name) == digest, name
    assert report["provenance"]["lock_sha256"] == sha256_file(PROJECT_ROOT / "requirements.lock")
    for name in report["figures"]:
        assert (results / "figures" / f"{name}.svg").exists()
        assert (results / "figures" / f"{name}.png").exists()
        assert (results / "figures" / f"{name}@2x.png").exists()
    assert (results / "report.html").exists()


def test_results_schema_is_valid_json_schema():
    import jsonschema

    schema = json.loads((PACKAGE / "lab" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
