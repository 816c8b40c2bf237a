# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin
TRACE ?= demo/input_bound.pt.trace.json.gz

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1: /' | column -t -s: -l 2

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# What tests and checks need, such as torch, is ten times as much.
.venv/.ready: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[hta]'
	touch $@

setup: .venv/.ready ## Make the environment in .venv

demo: .venv/.installed ## Analyze a sample trace: verdict here, full report in demo/report.html
	@test -f $(TRACE) || $(BIN)/python sample_traces/simulate.py --out demo --scenario input_bound
	$(BIN)/perfkit analyze $(TRACE) --html demo/report.html
	@echo "The report: demo/report.html"

test: .venv/.ready ## Run the tests
	$(BIN)/python -m pytest -n auto

lint: .venv/.ready ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.ready ## Write docs/rules from the rules
	$(BIN)/python -m docs.make_rules

bench: .venv/.ready ## Time a 500 MB trace (see benchmarks/README.md for the rest)
	$(BIN)/python benchmarks/scaling.py

clean: ## Remove the environment and what demo made
	rm -rf .venv demo build *.egg-info

.PHONY: help setup demo test lint format docs bench clean
