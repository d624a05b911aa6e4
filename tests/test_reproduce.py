"""The runner on real notebooks through papermill: the whole loop, failures, what is left behind."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from routerlab.errors import NotebookError, ResultsError
from routerlab.files import PROJECT_ROOT
from routerlab.lab import reproduce
from routerlab.lab.provenance import manifest
from routerlab.lab.report import check
from routerlab.lab.reproduce import NOTEBOOKS, Run, run


def notebook(folder: Path, name: str, *cells: str) -> None:
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, folder / f"{name}.ipynb")


PARAMETERS = 'results_dir = ""\nmode = ""'
WRITES = "from pathlib import Path\nPath(results_dir, 'made.txt').write_text(mode)"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "report.json").write_text("the last good one")
    return folder


def test_results_are_put_in_place_at_the_end(tmp_path, results):
    notebook(tmp_path, "one", PARAMETERS, WRITES)
    plan = Run(results, ("one",), folder=tmp_path, html=False)
    run(plan)
    assert (results / "made.txt").read_text() == "simulated"
    assert (results / "executed" / "one.ipynb").exists()
    assert json.loads((results / "manifest.json").read_text()).keys() >= {"made.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {"results", "one.ipynb"}


def test_a_failed_cell_is_named_and_the_last_results_stay(tmp_path, results, monkeypatch):
    monkeypatch.setattr(reproduce, "WORK_DIR", tmp_path / "work")
    notebook(tmp_path, "one", PARAMETERS, WRITES)
    notebook(tmp_path, "two", PARAMETERS, "fine = 1", "raise ValueError('out of cheese')")
    before = files(results)
    with pytest.raises(NotebookError, match="notebook two failed in cell 3: ValueError: out of"):
        run(Run(results, ("one", "two"), folder=tmp_path, html=False))
    assert files(results) == before
    assert (tmp_path / "work" / "failed" / "two.ipynb").exists()
    assert not list(tmp_path.glob(".results-*"))


def test_unknown_parameters_are_refused(tmp_path, results):
    notebook(tmp_path, "one", PARAMETERS, WRITES)
    plan = Run(results, ("one",), parameters={"one": {"sped": 1}}, folder=tmp_path, html=False)
    with pytest.raises(NotebookError, match="no parameter sped"):
        run(plan)


@pytest.mark.parametrize("place", ["/proc/routerlab/results", "{file}/results"])
def test_a_place_that_cannot_be_written_says_so(tmp_path, place):
    (tmp_path / "file").write_text("")
    target = Path(place.format(file=tmp_path / "file"))
    with pytest.raises(ResultsError, match="--results"):
        run(Run(target, NOTEBOOKS))


def test_the_command_ends_with_1_and_a_sentence(tmp_path):
    command = [sys.executable, "-m", "routerlab.lab.reproduce", "--mode", "live"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, check=False)
    assert done.returncode == 1
    assert "BUDGET_USD" in done.stderr
    assert "Traceback" not in done.stderr


def test_smoke_from_end_to_end(tmp_path):
    """All notebooks, small parameters, into a folder of its own; then one notebook again."""
    target = tmp_path / "results"
    command = [sys.executable, "-m", "routerlab.lab.reproduce", "--smoke", "--results", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads((target / "report.json").read_text())
    check(made)
    assert made["provenance"]["mode"] == "simulated"
    for line in ("latency to route", "cost of the traffic", "accuracy", "hit rate", "report.json"):
        assert line in done.stdout
    for name in made["figures"]:
        assert (target / "figures" / f"{name}.svg").exists()
        assert (target / "figures" / f"{name}.png").exists()
        assert (target / "figures" / f"{name}@2x.png").exists()
    assert (target / "report.html").exists()
    assert json.loads((target / "manifest.json").read_text()) == manifest(target)
    assert {path.stem for path in (target / "executed").glob("*.html")} == set(NOTEBOOKS)
    assert str(target / "report.json") in done.stdout

    written = (target / "report.json").stat().st_mtime_ns
    again = subprocess.run(
        [*command, "--only", "01_generate_queries"],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        check=False,
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert (target / "report.json").stat().st_mtime_ns == written
