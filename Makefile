# Two commands matter: "make demo" shows what this does, "make test" says whether it works.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test fmt constraints

PYTHON ?= python3
BIN := .venv/bin
PIP := pip --disable-pip-version-check --quiet

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.installed  ## .venv with the pinned versions; does nothing where it stands

# pip takes its time over torch: say so once, then stay quiet. The stamp lies inside .venv, so that removing it is enough to begin again.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gansweep needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@echo "installing into .venv (minutes, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## search, confirm and promote a generator of digits: minutes on 2 cores
	@$(BIN)/gansweep submit configs/digits.yaml
	@$(BIN)/gansweep promote digits

test: setup  ## every check: format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

fmt: setup  ## format, and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# A fresh environment, so that nothing stays only because it once was there; torch without its local version ("+cpu"),
# so that the same line fits a machine with GPUs.
constraints:  ## take the newest versions of everything but torch, and pin them
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(PYTHON) -m venv "$$tmp/venv"; \
	"$$tmp"/venv/bin/$(PIP) install 'torch==2.13.0' -e '.[dev]'; \
	{ echo '# Every package of the environment that the checks ran in. Written by: make constraints'; \
	  "$$tmp"/venv/bin/$(PIP) freeze --all --exclude-editable | sed -E -e '/^nvidia-ml-py==/b' -e '/^(pip==|nvidia-|cuda-|triton==)/d; s/^(torch==[^+]*).*/\1/'; } > constraints.txt
