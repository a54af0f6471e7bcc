# Every target sets up what it needs on a machine that has Python (3.11 or newer) and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Lambda runs 3.13, so that is taken where it is found, on the PATH or among pyenv's versions.
PYTHON := $(shell for v in 3.13 3.12 3.11; do for p in "$$(command -v python$$v 2>/dev/null)" "$$HOME"/.pyenv/versions/$$v.*/bin/python; do if [ -x "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; exit; fi; done; done; command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?= tests
SEEDS ?= 1000
START ?= 0

.PHONY: help setup demo up down test lint simulate crash-points bench clean

help:  ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: $(READY)  ## Make .venv

$(READY): requirements-dev.txt layers/dependencies/requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version) if sys.version_info < (3, 11) else None'
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $(READY)

demo: $(READY)  ## Run the main job on an embedded stack
	$(BIN)/python -m local.demo

up: $(READY)  ## Leave an embedded stack running
	@$(BIN)/python -m local.stack up

down: $(READY)  ## Stop it
	@$(BIN)/python -m local.stack down

lint: $(READY)  ## Check style, types and the template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml

test: lint  ## Pass the tests
	$(BIN)/python -m pytest $(TESTS)

simulate: $(READY)  ## Run fault schedules: SEEDS=n, START=n to begin elsewhere
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --start $(START)

bench: $(READY)  ## Measure
	$(BIN)/python tests/benchmarks/matching_speed.py

crash-points: $(READY)  ## Kill every function at every external call
	$(BIN)/python -m tests.simulation.run --crash-points

clean:  ## Remove what was built
	rm -rf $(VENV) build .aws-sam
