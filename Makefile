# What people and CI call. Set-up happens by itself, before the first command that needs it.
#
#   make demo              the main job on two real clusters and MirrorMaker 2, faults planted and found
#                          (KEEP=1 leaves it running, MIRROR_KILL=1 kills MirrorMaker 2 in the middle)
#   make test              lint, types and all tests but those that another one shows in less time
#   make test-long         those
#   make bench             what a worker costs, step by step, beside a plain floor: an hour
#                          (QUICK=1 in two minutes, PEERS=1 the same work done by others, LONG=1 a day's messages
#                          in an hour or more; all figures in bench.json)
#   make acceptance       every loading at 300,000 pairs against oracle, ledger, books and replay (PAIRS=n)
#   make simulate SEEDS=n  random schedules of the core against its oracle
#   make faults            the fault matrix on real clusters (ROWS=1,2,30-33: some of it; SEED=n: what seed n does)
#   make mutants           which small changes of the core its tests do not notice
#   make lint | setup | clean

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help setup test test-long lint demo bench acceptance simulate faults mutants clean

SEEDS ?= 500
SEED ?=
KEEP ?=
MIRROR_KILL ?=
ROWS ?=
PAIRS ?= 300000

# The first interpreter that is new enough; PYTHON=... on the command line names another one.
OLD_PYTHON := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  if $$p -c '$(OLD_PYTHON)' >/dev/null 2>&1; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:
	@sed -n 's/^#   //p' Makefile

setup: $(VENV)/.project .lab/.jars

# One line for each thing that is not there, and what to install.
$(VENV)/.python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(OLD_PYTHON)' 2>/dev/null; then \
	  echo "setup: Python 3.11 or later was not found: install it (Debian, Ubuntu: apt install python3 python3-venv)" >&2; exit 2; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "setup: $(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; fi
	@if ! command -v java >/dev/null && [ -z "$${JAVA_HOME:-}" ]; then \
	  echo "setup: java was not found: install a Java runtime, version 17 or later (Debian, Ubuntu: apt install openjdk-17-jre-headless)" >&2; exit 2; fi
	@if [ ! -e .lab/.jars ] && ! command -v mvn >/dev/null; then \
	  echo "setup: mvn was not found: install Apache Maven, version 3.8 or later (Debian, Ubuntu: apt install maven)" >&2; exit 2; fi
	@echo "setup: virtual environment"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.locked: requirements.lock $(VENV)/.python
	@echo "setup: locked wheels"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

# Packages are listed in the installed project's metadata: it is made anew when one may have been added.
$(VENV)/.project: pyproject.toml $(wildcard agents/__init__.py tables/__init__.py cutover_app/__init__.py) $(VENV)/.locked
	@echo "setup: the project itself"
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

.lab/.jars: cutover_app/lab/pom.xml $(VENV)/.project
	@echo "setup: Kafka's jars"
	@$(BIN)/python -m cutover_app.lab.jars
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -m "not long and not alone" --numprocesses 3 --dist loadgroup
	$(BIN)/python -m pytest -m alone

test-long: setup
	$(BIN)/python -m pytest -m long

demo: setup
	@KEEP=$(KEEP) MIRROR_KILL=$(MIRROR_KILL) $(BIN)/python -m cutover_app.lab.demo

bench: setup
	@$(BIN)/python -m cutover_app.lab.bench $(if $(QUICK),--quick) $(if $(PEERS),--peers) $(if $(LONG),--long) $(if $(RUNS),--runs $(RUNS))

acceptance: setup
	@$(BIN)/python -m cutover_app.lab.run --pairs $(PAIRS)

simulate: setup
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

faults: setup
	@$(BIN)/python -m tests.faults --rows "$(ROWS)" $(if $(SEED),--seed $(SEED))

mutants: setup
	@$(BIN)/python -m tests.mutation

clean:
	rm -rf $(VENV) .lab build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
