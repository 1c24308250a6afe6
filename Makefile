# `make setup` once, then `make test`, `make check`. Each target is one line.
# Everything lives in .venv; a second call of `setup` costs nothing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
HOOK = $(shell git rev-parse --git-path hooks/pre-commit 2>/dev/null)

# The first Python that is ours, looked for only when a venv has to be made.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
NO_PYTHON := cellwright needs Python 3.11 or 3.12, and none is on the PATH. Install one (on Debian: apt install python3.11 python3.11-venv), or name it: make setup PYTHON=/path/to/python3.11
NO_VENV := This Python can make no virtual environment: its venv or ensurepip is missing. Install it (on Debian: apt install python3-venv, or python3.11-venv), then run make again.

# Python keeps what it compiles, also where it is told not to: hundreds of processes would compile it again.
export PYTHONDONTWRITEBYTECODE :=

# Tests write into memory where it has room for them (8 GiB): an emulated day syncs thousands of times.
IN_MEMORY = $(shell [ "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -ge 8388608 ] 2>/dev/null && [ -w /dev/shm ] && echo TMPDIR=/dev/shm)

.PHONY: help setup demo test check inspect style types imports docs format trace release-proof museum peers lock

help: ## say what can be asked for
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 22

setup: .venv/.installed-dev .venv/.hooked ## install everything that developing needs, and the git hook

demo: .venv/.installed ## run the CAR-T batch (WIRE=1: over real wires, SEED=n: another donor)
	@$(BIN)/cellwright demo $(if $(WIRE),--wire) $(if $(SEED),--seed $(SEED))

test: .venv/.installed-dev ## run the tests
	@$(IN_MEMORY) $(BIN)/pytest -n 2 -m "not release_proof" tests

check: inspect test ## everything that CI runs

inspect: style types imports docs ## all of check but the tests

style: .venv/.installed-dev ## format and lint
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: .venv/.installed-dev ## types, strict
	@$(BIN)/basedpyright

imports: .venv/.installed-dev ## who may import whom
	@$(BIN)/lint-imports --no-logo

docs: .venv/.installed-dev ## build the documentation into build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: .venv/.installed-dev ## rewrite the sources in the house's form
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

trace: .venv/.installed-dev ## requirements and their tests, and what emulation can't show
	@$(BIN)/python -m tests.trace

release-proof: .venv/.installed-dev ## the long proofs, before a release
	@ended=0; $(BIN)/pytest -n 2 -m release_proof -o "python_files=test_*.py release_proof_*.py" tests || ended=$$?; $(BIN)/python -m tests.release_proof; exit $$ended

peers: .venv/.installed ## kill cellwright and its peers at one job (ARGS="--jobs 1": shorter)
	@$(BIN)/python -m tests.peers.run $(ARGS)

museum: .venv/.installed-dev ## plant faults of the kernel, one at a time, and say which test catches each
	@$(IN_MEMORY) $(BIN)/python -m tests.museum

lock: .venv/.installed-dev ## pin again; add UPGRADE=1 for the newest that are allowed
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --build-deps-for editable --output-file requirements.lock pyproject.toml && $(COMPILE) $(if $(UPGRADE),--upgrade) --output-file requirements-dev.lock requirements-dev.in

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }; "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(NO_VENV)" >&2; exit 1; }; "$(PYTHON)" -m venv --clear .venv

.venv/.installed: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing what cellwright runs on into .venv" && $(PIP) install --require-hashes -r requirements.lock && $(PIP) install --no-deps --no-build-isolation --editable . && touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	@echo "Installing what it is built, checked and documented with" && $(PIP) install --require-hashes -r requirements-dev.lock && touch $@

.venv/.hooked: .ci/pre-commit | .venv/bin/python
	@if [ -z "$(HOOK)" ]; then echo "No git here: no hook installed."; elif [ -e "$(HOOK)" ] && ! cmp -s "$(HOOK)" .ci/pre-commit && ! grep -q cellwright "$(HOOK)"; then echo "$(HOOK) is your own: left as it is."; else mkdir -p "$(dir $(HOOK))" && install -m 755 .ci/pre-commit "$(HOOK)"; fi; touch $@
