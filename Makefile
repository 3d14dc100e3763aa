# One command each. Variables: PYTHON=path  EXTRAS=dev,sentence-transformers  VENV=dir  ARGS="..." (passed on)
PYTHON ?=
EXTRAS ?= dev
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
comma := ,
# What the environment was made from: while it is unchanged, no later call needs pip or a network.
RECIPE := $(shell cat pyproject.toml constraints.txt | cksum | tr -d ' ')
STAMP := $(VENV)/.made-from-$(RECIPE)-$(subst $(comma),+,$(EXTRAS))

.PHONY: help install assets run demo test test-faults soak test-properties check fix bench measure docs conformance clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 20

install: $(STAMP) assets ## the environment in .venv, and the model's weights

$(STAMP):
	@if [ ! -x $(BIN)/pip ]; then \
	  python=; \
	  for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer is needed$(if $(PYTHON), and $(PYTHON) is none). Install one, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; \
	  fi; \
	  if ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	    echo "$$("$$python" --version) cannot make an environment: it has no venv/ensurepip. On Debian and Ubuntu: apt install python3-venv. Or name another Python: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@find $(VENV) -maxdepth 1 -name '.made-from-*' ! -name '.made-from-$(RECIPE)-*' -delete
	@touch $(STAMP) $(VENV)/.made-from-$(RECIPE)-dev

assets: $(STAMP)
	@$(BIN)/reasoning-bank assets install || \
	  echo "The model's weights are not here: search works by keyword until 'make install' or 'reasoning-bank assets install --from PATH' succeeds." >&2

run: install ## the server over HTTP on 127.0.0.1, with snippets for clients
	@exec $(BIN)/reasoning-bank serve --transport http $(ARGS)

demo: install ## a real client stores, asks, compresses and reads the stats
	@$(BIN)/reasoning-bank demo $(ARGS)

test: install ## all tests
	@PYTHONWARNDEFAULTENCODING=1 PYTHONUNBUFFERED= $(BIN)/python -m pytest $(ARGS)

test-faults: install ## kill -9 under load, several processes, a destroyed index: the long version
	@$(BIN)/python -m tests.faults $(ARGS)

soak: install ## ten thousand mixed requests from 32 clients; fails when memory, descriptors, threads or tasks grow
	@$(BIN)/python -m tests.soak $(ARGS)

test-properties: install ## compression over 10,000 generated prompts for each property (hours; PROMPTS=n for fewer)
	@GENERATED_PROMPTS=$(or $(PROMPTS),10000) $(BIN)/python -m pytest tests/compression --timeout 0 $(ARGS) -k "any or whatever or every"

# pyright runs on Node: the one on this machine, else the one from PyPI.
check: ## format, lint, layers, types, and all tests with the coverage gate
	@$(MAKE) --no-print-directory install EXTRAS=$(if $(shell command -v node),dev,dev$(comma)node)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

fix: install ## format, and mend what a tool can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install ## what the bank promises, measured, and held to the ratios that are committed
	@$(BIN)/reasoning-bank bench --compare tests/benchmarks/results/bench.json $(ARGS)

measure: install ## every other benchmark, or ARGS="NAME ..."; results as JSON in tests/benchmarks/results
	@$(BIN)/python -m tests.benchmarks $(ARGS)

docs: install ## write the generated tables of README.md and config/default.toml
	@$(BIN)/python -m tests.reference

conformance: install ## the official MCP conformance suite (npm fetches Node 24)
	@$(BIN)/python -m tests.conformance $(ARGS)

clean: ## remove the environment and what tools left
	@rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks .coverage* build dist *.egg-info
