# The only verbs; CI uses the same. Each says in one line what it does, and is quiet otherwise.
# `make PYTHON=python3.12 test` uses another interpreter; `make CI=true check` changes no file.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.NOTPARALLEL: # the verbs share the environment, the caches and the terminal

# The first of these that runs and is new enough; CI's default is 3.11.
ifndef PYTHON
PYTHON := $(shell for one in python3.11 python3.12 python3.13 python3; do \
  $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done)
ifeq ($(PYTHON),)
PYTHON := python3.11
endif
endif
EXAMPLES ?= 1000
REQUESTS ?= 20000
FORGERIES ?= 1000000
SEEDS ?= 2000
# Of the tests: one more than there are cores, because many wait for processes and servers.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))

VENV := .venv
RUN := $(VENV)/bin/python
# Named after the interpreter, so that asking for another one makes a new environment.
READY := $(VENV)/.ready-$(notdir $(PYTHON))
# Both names: pip before 25.3 reads the first when it builds, later ones the second.
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
  $(RUN) -m pip install --quiet --disable-pip-version-check

# What decides, held to full branch coverage: all of the engine but its shell.
PURE := --include='*/durably/wire/*,*/durably/core/*,*/durably/engine/*' \
  --omit='*/engine/ahead.py,*/engine/alarms.py,*/engine/attempts.py,*/engine/background.py,*/engine/begins.py,*/engine/control.py,*/engine/dispatcher.py,*/engine/idle.py,*/engine/invokers.py,*/engine/journals.py,*/engine/keyring.py,*/engine/leases.py,*/engine/news.py,*/engine/parents.py,*/engine/pins.py,*/engine/plans.py,*/engine/remote.py,*/engine/rooms.py,*/engine/service.py,*/engine/sessions.py,*/engine/sharing.py,*/engine/starts.py,*/engine/tips.py,*/engine/waiters.py'

# Shows what a command said only when it failed.
quietly = said=$$($(1) 2>&1) || { printf '%s\n' "$$said" >&2; exit 1; }

.PHONY: setup demo fmt lint type unit test check fuzz chaos mutants conformance bench docs dist

setup: $(READY)
	@echo "setup: $(VENV) is up to date ($$($(RUN) --version))"

$(READY): pyproject.toml constraints.txt
	@echo "setup: installing the development environment into $(VENV)"
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON): install it, or name another with PYTHON=python3.x (3.11 or later)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) cannot make a virtual environment: install the package $(notdir $(PYTHON))-venv" >&2; exit 1; }
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

demo: $(READY)
	@echo "demo: 300 orders are fulfilled, in a process that is killed twice, and the ledger is checked"
	@$(RUN) -m examples.order_fulfilment.demo

fmt: $(READY)
ifeq ($(CI),true)
	@echo "fmt: checking the format (CI: nothing is changed)"
	@$(call quietly,$(RUN) -m ruff format --check .)
else
	@echo "fmt: sorting imports and formatting"
	@$(call quietly,$(RUN) -m ruff check --select I --fix .)
	@$(call quietly,$(RUN) -m ruff format .)
endif

lint: $(READY)
	@echo "lint: ruff, and the order of the layers"
	@$(RUN) -m ruff check --quiet --output-format concise .
	@$(call quietly,$(VENV)/bin/lint-imports --no-logo)

type: $(READY)
	@echo "type: mypy and pyright, both strict, and what users see of the types"
	@$(call quietly,$(RUN) -m mypy)
	@$(call quietly,$(RUN) -m pyright)
	@$(call quietly,$(RUN) scripts/check_types.py)

unit: $(READY)
	@echo "unit: rules and values, without I/O"
	@$(RUN) -m pytest -q tests/unit

test: $(READY)
	@echo "test: every test, every doctest, and the floors of coverage"
	@$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report= --doctest-modules tests src
	@$(call quietly,$(RUN) -m coverage report --fail-under=95)
	@$(call quietly,$(RUN) -m coverage report --fail-under=100 $(PURE))
	@echo "test: branch coverage $$($(RUN) -m coverage report --format=total) %, and 100 % of what decides"

check: fmt lint type

fuzz: $(READY)
	@echo "fuzz: simulated worlds from $(SEEDS) seeds"
	@$(RUN) -m tests.simulator.main --seeds $(SEEDS)
	@echo "fuzz: the properties, $(EXAMPLES) examples each; $(REQUESTS) hostile requests; $(FORGERIES) forgeries"
	@EXAMPLES=$(EXAMPLES) $(RUN) -m pytest -q -n auto --hypothesis-profile=long tests/properties
	@$(RUN) -m tests.server.fuzz --requests $(REQUESTS)
	@$(RUN) -m tests.server.forgeries --count $(FORGERIES)

chaos: $(READY)
	@echo "chaos: real processes are killed, and what is left is judged"
	@$(RUN) -m tests.chaos.main $(if $(STORE),--store '$(STORE)') $(if $(KILLS),--kills '$(KILLS)') $(if $(SECONDS),--seconds '$(SECONDS)')

mutants: $(READY)
	@echo "mutants: defects put into the code, which the tests and simulated worlds must notice"
	@$(RUN) -m tests.mutants.main

conformance: $(READY)-conformance
	@echo "conformance: the official suite, against our server with our handlers"
	@$(RUN) -m tests.conformance.main $(if $(REQUIREMENTS),--requirements '$(REQUIREMENTS)')

# It asks for a Python that it does not need: it runs unchanged on 3.11.
$(READY)-conformance: $(READY)
	@echo "conformance: installing the official validator"
	@$(PIP_INSTALL) --ignore-requires-python aws-durable-execution-conformance-tests
	@touch $@

bench: $(READY)-bench
	@echo "bench: ours beside peers and floors, one table"
	@$(RUN) -m benchmarks.main

$(READY)-bench: $(READY)
	@echo "bench: installing the peers"
	@$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

docs: $(READY)
	@echo "docs: writing the reference from the docstrings"
	@$(RUN) -m docs.build

dist: $(READY)
	@echo "dist: building, and trying the wheel in an empty environment"
	@rm -rf dist
	@$(call quietly,$(RUN) -m build --no-isolation --outdir dist)
	@$(RUN) scripts/check_dist.py
