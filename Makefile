# Two commands do all the set-up: `make reproduce` and `make test`. `make` alone prints help.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
READY := $(VENV)/.ready
# One thread pool a process: more would only fight over the cores.
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE := 1
.DEFAULT_GOAL := help
.PHONY: help reproduce test smoke lab generate-queries benchmark bench data record live sweep readme clean

help: ## print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# Torn down and built anew where the lock changed; left alone otherwise.
$(BUILT): requirements.lock
	@echo "building $(VENV) from requirements.lock, once; this takes some minutes"
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here: install Python 3.11, or name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11: name one with make PYTHON=…"; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@touch $(BUILT)

$(READY): $(BUILT) pyproject.toml
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

reproduce: $(READY) ## run all notebooks in order and write results/ (no key needed)
	@$(BIN)/python -m routerlab.lab.reproduce $(if $(MODE),--mode $(MODE))

smoke: $(READY) ## the same with smaller parameters, into .work/smoke/results
	@$(BIN)/python -m routerlab.lab.reproduce --smoke

test: $(READY) ## lint, type-check and test
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && echo "ruff: clean"
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

lab: $(READY) ## open JupyterLab on notebooks/
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

generate-queries: $(READY) ## run notebook 01 alone
	@$(BIN)/python -m routerlab.lab.reproduce --only 01_generate_queries

benchmark: $(READY) ## run notebook 04 alone, on the results that are there
	@$(BIN)/python -m routerlab.lab.reproduce --only 04_run_benchmark

bench: $(READY) ## measure the speed of routing against its targets
	@$(BIN)/python -m routerlab.lab.routebench

data: $(READY) ## fetch tokenizer files and public data, export the embedding
	@$(BIN)/python -m routerlab.lab.prepare

live: $(READY) ## run against the providers: make live BUDGET_USD=1.50 (needs keys)
	@BUDGET_USD=$(BUDGET_USD) $(BIN)/python -m routerlab.lab.reproduce --mode live

record: $(READY) ## as live, and keep the answers in data/recordings/ for MODE=replayed
	@BUDGET_USD=$(BUDGET_USD) $(BIN)/python -m routerlab.lab.reproduce --mode live --record

sweep: $(READY) ## route a folder of Parquet files: make sweep IN=… OUT=… [SCHEDULER=tcp://…]
	@$(BIN)/python -m routerlab.lab.sweep "$(IN)" "$(OUT)" $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

readme: $(READY) ## write the report's headline into README.md
	@$(BIN)/python -m routerlab.lab.readme

clean: ## remove environment, caches and work folders; results/ stays
	@rm -rf $(VENV) .cache .work .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
