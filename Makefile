# `make quickstart` and `make test` each need nothing but Python 3.11+, make and about 3 GB of disk.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: quickstart test test-slow test-recipes test-vllm check bench clean

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/.installed  ## three rounds that improve a small model, offline, on a CPU
	test -e $${RONDO_HOME:-rondo-home}/experiments/quickstart.yaml || $(BIN)/rondo init quickstart
	$(BIN)/rondo run quickstart

test: $(VENV)/.installed  ## the tests that every change must pass
	$(BIN)/python -m pytest -n $(JOBS)

test-slow: $(VENV)/.installed  ## SIGKILL at random moments, four experiments at once, a real Dagster server
	$(BIN)/python -m pytest -m slow -n $(JOBS)

test-recipes: $(VENV)/.installed  ## every shipped recipe, two rounds
	$(BIN)/python -m pytest -m recipes -n $(JOBS)

test-vllm: $(VENV)/.installed  ## vLLM itself, under the Python that RONDO_VLLM_PYTHON names (none: that of the environment)
	RONDO_VLLM_PYTHON=$(RONDO_VLLM_PYTHON) $(BIN)/python -m pytest -m vllm tests/generate/vllm

check: $(VENV)/.installed  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed  ## figures, side by side with a plain loop or a peer
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
