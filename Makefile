# Every target sets up what it needs on a machine that has Python (3.11 or newer) and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Tests start many interpreters, which read the bytecode that another one has kept.
unexport PYTHONDONTWRITEBYTECODE

# Lambda runs 3.13, so that is taken where it is found, on the PATH or among pyenv's versions.
PYTHON := $(shell for v in 3.13 3.12 3.11; do for p in "$$(command -v python$$v 2>/dev/null)" "$$HOME"/.pyenv/versions/$$v.*/bin/python; do if [ -x "$$p" ] && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; exit; fi; done; done; command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Without bytecode: Python compiles a module at its first import, and most modules are never imported.
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile
# Tools whose needs clash with those of development.
SCAN := build/scan
SCAN_READY := $(SCAN)/.ready
MUTATION_READY := $(VENV)/.mutation-ready
CLIENT := build/client
CLIENT_READY := $(CLIENT)/.ready
LOCKED := $(wildcard layers/*/requirements.txt)
TESTS ?= tests
# More than two processors have, because tests with a stack wait most of their time.
WORKERS ?= 4
# Per cent of the lines of the package and the functions that make test has to run.
COVERED := 98
SEEDS ?= 1000
START ?= 0
ACCOUNTS ?= 1000
RATE ?= 4
CASES ?= 300
SEED ?= 1
MUTANTS ?= 200
ONLY ?= *
PATIENCE ?= 4

# $(call needs,target,VARIABLE,pattern,what it has to be): a value that the target cannot use is refused before anything is made.
needs = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $(shell [[ '$(subst ','\'',$($(2)))' =~ $(3) ]] && echo fits),,$(error $(2)=$($(2)) is not $(4))))
comma := ,
COUNT := ^0*[1-9][0-9]{0,8}$$
NUMBER := ^[0-9]{1,18}$$
$(call needs,simulate,SEEDS,$(COUNT),a whole number above 0)
$(call needs,simulate,START,$(NUMBER),a whole number from 0)
$(call needs,batch,ACCOUNTS,^0*[1-9][0-9]{0$(comma)6}$$,a whole number from 1 to 9999999)
$(call needs,batch,RATE,^[0-9]*[1-9][0-9]*(\.[0-9]+)?$$|^[0-9]+\.[0-9]*[1-9][0-9]*$$,a number above 0)
$(call needs,desk,REVIEWERS,^[12]?$$,1 or 2)
$(call needs,up,REVIEWERS,^[012]?$$,0$(comma) 1 or 2)
$(call needs,fuzz,CASES,$(COUNT),a whole number above 0)
$(call needs,fuzz test-deep mutants,SEED,$(NUMBER),a whole number from 0)
$(call needs,mutants test-deep,MUTANTS,^0*[1-9][0-9]{0$(comma)8}$$|^all$$,a whole number above 0 or all)
$(call needs,mutants test-deep,PATIENCE,$(COUNT),a whole number above 0)
# The rule for stack names: docs/deploying.md.
$(call needs,smoke,STACK,^([a-z][a-z0-9-]{0$(comma)26})?$$,a name of at most 27 lower-case letters$(comma) digits and hyphens)
$(if $(filter smoke,$(MAKECMDGOALS)),$(if $(filter default %-keys,$(STACK)),$(error STACK=$(STACK) is not a name that a stack may have: it is not default and does not end with -keys)))
$(call needs,test,WORKERS,$(NUMBER)|^auto$$,a whole number from 0 or auto)
ifneq ($(filter test,$(MAKECMDGOALS)),)
# Up to the first option, TESTS holds paths, each perhaps with the name of a test after ::.
MISSING := $(shell for test in $(TESTS); do [[ $$test == -* ]] && break; [ -e "$${test%%::*}" ] || echo "$$test"; done)
$(if $(MISSING),$(error TESTS=$(TESTS): there is no $(MISSING)))
endif

.PHONY: free-ports pictures types style bytecode lint-and-bytecode help setup hooks demo up down desk test check test-dynamodb test-deep lint simulate crash-points overload bench batch openapi client reference fuzz tour lock scan advisories sbom mutants clean permissions smoke rehearse keep-release

help:  ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: $(READY)  ## Make .venv

$(READY): requirements-dev.txt $(LOCKED) pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version) if sys.version_info < (3, 11) else None'
	"$(PYTHON)" -m venv $(VENV)
	$(INSTALL) $(LOCKED:%=-r %)
	$(INSTALL) -r requirements-dev.txt
	$(INSTALL) --no-deps -e .
	@touch $(READY)

demo: $(READY)  ## Verify an account of each scenario on an embedded stack: a table that explains each verdict, build/demo.html
	$(BIN)/python -m local.demo

# First, because .venv takes minutes.
free-ports:
	@"$(PYTHON)" -m local.ports

up: free-ports $(READY)  ## Leave an embedded stack running: REVIEWERS=1 or 2 for reviews, STRIPE_API_BASE=URL of another server, BRIDGE=address for containers
	@REVIEWERS='$(REVIEWERS)' $(BIN)/python -m local.stack up

down: $(READY)  ## Stop it
	@$(BIN)/python -m local.stack down

desk: $(READY)  ## Run the review desk with close matches that wait, until Ctrl-C (needs npm): REVIEWERS=2 if two people have to approve
	@$(BIN)/python -m local.desk --reviewers $(or $(REVIEWERS),1)

hooks: $(READY)  ## Have Git check style and types before each commit
	$(BIN)/pre-commit install

lint: $(READY)  ## Check style, types and the template
	@$(MAKE) --no-print-directory -j 2 types style

types: $(READY)
	$(BIN)/mypy

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cfn-lint template.yaml

# Imports what the tests import, so that their workers find its bytecode instead of compiling it all at once.
bytecode: $(READY)
	@$(BIN)/python -m pytest -q --collect-only $(TESTS) >/dev/null 2>&1 || true

lint-and-bytecode: $(READY)
	@$(MAKE) --no-print-directory -j 2 types style bytecode

check: lint-and-bytecode  ## Check style and types, and run quick tests that start no stack, with small counts: for every save
	MATCHER_PAIRS=2000 HOSTILE_DELIVERIES=1000 FUZZ_EXAMPLES=2 \
	  $(BIN)/python -m pytest -q -n 2 -m "not emulator and not e2e and not slow" tests/unit tests/conformance tests/integration

# Of all tests, which lines they run, where Python can say so without a tracer (3.12 and newer).
MEASURED = $(if $(filter tests,$(TESTS)),$(shell $(BIN)/python -c 'import sys; print("--cov --cov-report= --cov-fail-under=$(COVERED)" * hasattr(sys, "monitoring"))'))

# With TESTS, nothing is linted, because a file under work may not be clean yet.
test: $(if $(filter tests,$(TESTS)),lint-and-bytecode,bytecode) $(CLIENT_READY)  ## Run the tests: all that proves a promise. TESTS=path for some, without lint; WORKERS=n processes
	$(BIN)/python -m pytest -n $(WORKERS) $(MEASURED) $(TESTS)

test-dynamodb: $(READY) $(CLIENT_READY)  ## Run the sandbox's and the end-to-end tests with all tables in Amazon's own DynamoDB engine
	REQUIRE_JUDGES=1 $(BIN)/python -m pytest -q -n 2 -p tests.amazons_dynamodb -m "not slow and not emulator" \
	  tests/integration tests/e2e --ignore tests/integration/store --ignore tests/e2e/test_permissions.py --ignore tests/e2e/test_rehearsals.py

test-deep: $(READY)  ## Run the long versions, for hours: simulations, all crash points, permissions, fuzzing, overload, benchmarks
	$(MAKE) simulate SEEDS=10000
	$(MAKE) crash-points
	$(MAKE) overload
	$(MAKE) fuzz CASES=300
	MATCHER_PAIRS=1000000 FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -q tests/unit/test_matcher_fuzz.py
	HOSTILE_DELIVERIES=100000 FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -q tests/integration/test_hostile_deliveries.py
	REVIEWS_WALKED=10000 $(BIN)/python -m pytest -q tests/integration/store/test_review_queue.py
	REVIEW_ROUNDS=2000 $(BIN)/python -m pytest -q tests/integration/store/test_racing_reviewers.py
	$(MAKE) permissions
	SMOKE_AT_WORK=1 $(BIN)/python -m pytest -q tests/e2e/test_smoke_at_work.py
	$(MAKE) rehearse
	$(MAKE) test-dynamodb
	$(MAKE) bench
	$(MAKE) mutants

simulate: $(READY)  ## Run fault schedules: SEEDS=n, START=n to begin elsewhere
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --start $(START)

.PHONY: workflows
workflows: $(READY)  ## Print which states each outcome of the workflows enters, on three interpreters
	$(BIN)/python -m tests.support.interpreters

overload: $(READY)  ## Offer up to five times the work that Stripe's rate limit allows, in virtual time
	$(BIN)/python -m tests.simulation.overload

bench: $(READY)  ## Measure: table, build/bench.json, build/bench.png; TOPICS="size cold warm cost memory webhooks matching batch page" for some
	$(BIN)/python -m tests.benchmarks.run $(TOPICS)

pictures: $(READY)  ## Draw the pictures of the docs anew (needs Chromium and npm)
	$(BIN)/python -m tools.draw_dashboard
	$(BIN)/python -m tools.draw_bench
	$(BIN)/python -m tools.draw_demo
	$(BIN)/python -m pytest -q tests/integration/test_desk_screens.py -k test_each_screen
	$(BIN)/python -m tools.draw_desk

openapi: $(READY)  ## Write the OpenAPI document anew; EXAMPLES=1 records the answers in it anew, too
	$(if $(EXAMPLES),$(BIN)/python -m tests.support.example_answers)
	$(BIN)/python -m local.openapi

reference: $(READY)  ## Write the pages of docs/reference anew, from the code
	$(BIN)/python -m tools.reference

fuzz: $(READY)  ## Call every route with what its schema allows and with what not: CASES=n of each kind, SEED=n
	FUZZ_EXAMPLES=$(CASES) FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -s -q tests/integration/test_fuzzed_requests.py

smoke: $(READY)  ## Say what works in a deployed stack: STACK=name REGION=region, TOKEN=... with JWT; LOCAL=1 after make up
	@TOKEN='$(TOKEN)' $(BIN)/python -m tools.smoke $(if $(LOCAL),--local,) --stack '$(or $(STACK),$(if $(LOCAL),titleholder))' --region '$(or $(REGION),$(if $(LOCAL),us-east-1))'

rehearse: $(READY)  ## Rehearse recovery and upgrades on an embedded stack: PROCEDURES="point-in-time upgrade" for some, FROM=release
	FROM='$(FROM)' $(BIN)/python -m local.rehearse $(PROCEDURES)

keep-release: $(READY)  ## Keep what this release stores and sends, so that later ones are held to it: VERSION=0.3.0
	$(BIN)/python -m tests.simulation.keep_release '$(VERSION)'

permissions: $(READY)  ## Take each permission away from its role and check that a call is refused
	$(BIN)/python -m tools.permissions

tour: $(READY)  ## Call every route on an embedded stack; STRIPE_API_BASE=... against another server
	$(BIN)/python -m local.tour

batch: $(READY)  ## Run a batch in virtual time: ACCOUNTS=n; LIVE=1 on an embedded stack, at RATE=calls a second
	$(BIN)/python -m $(if $(LIVE),local.run_batch $(ACCOUNTS) --rate $(RATE),tests.simulation.run_batch $(ACCOUNTS))

crash-points: $(READY)  ## Kill every function at every external call
	$(BIN)/python -m tests.simulation.run --crash-points

$(SCAN_READY): requirements-scan.txt
	"$(PYTHON)" -m venv $(SCAN)
	$(SCAN)/bin/python -m pip install -q --disable-pip-version-check -r requirements-scan.txt
	@touch $(SCAN_READY)

$(CLIENT_READY): requirements-client.txt
	"$(PYTHON)" -m venv $(CLIENT)
	$(CLIENT)/bin/python -m pip install -q --disable-pip-version-check --no-compile -r requirements-client.txt
	@touch $(CLIENT_READY)

client: $(READY) $(CLIENT_READY)  ## Generate a Python client from the OpenAPI document: build/titleholder_client
	$(BIN)/python -m tests.support.generated_client

lock: $(SCAN_READY)  ## Pin what the layers' requirements.in need, with hashes
	cd layers && for layer in $(patsubst layers/%/requirements.txt,%,$(LOCKED)); do \
	  (cd $$layer && ../../$(SCAN)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" requirements.in -o requirements.txt) || exit 1; done

scan: $(READY) $(SCAN_READY)  ## Look for weaknesses in the template, and judge its policies by AWS's tables, and the workflows
	$(SCAN)/bin/checkov --file template.yaml --framework cloudformation --compact --quiet --skip-download
	$(BIN)/python -m tools.policies
	$(BIN)/cfn-lint build/deployed.json
	$(SCAN)/bin/python -W ignore -m tools.judge_policies
	$(BIN)/python -m tools.asl

advisories: $(SCAN_READY)  ## Look the deployed packages up in the advisory database (needs the Internet)
	$(SCAN)/bin/pip-audit --strict --disable-pip $(LOCKED:%=-r %)

sbom: $(SCAN_READY)  ## Say what is deployed: build/sbom.cdx.json, build/licences.txt
	$(SCAN)/bin/python -m tools.sbom

$(MUTATION_READY): requirements-mutation.txt $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-mutation.txt
	@touch $(MUTATION_READY)

mutants: $(MUTATION_READY)  ## Change the pure modules and see that their tests notice: MUTANTS=n or all of the matcher's, SEED=n, ONLY='domain.*'
	$(BIN)/python -m tools.mutation --sample $(MUTANTS) --seed $(SEED) --only '$(ONLY)' --patience $(PATIENCE)

clean:  ## Remove what was built
	rm -rf $(VENV) build .aws-sam
