# Every target works from any folder (make -C path/to/clone …) and installs nothing outside the clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Always as make was started from the clone, whichever folder the caller stood in.
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
WORKERS ?= 2
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

LOCK := pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

.PHONY: help install run test check format bench torture lock docs screenshots clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(ROOT)/Makefile

install: $(VENV)/.installed ## Make .venv with everything pinned in requirements.lock

# uv installs the lock in seconds; it is itself pinned, with its hash, in a lock of its own.
# Compiled now, every start is a second or more faster, the first one too.
$(VENV)/.installed: $(ROOT)/requirements.lock $(ROOT)/requirements-uv.lock $(ROOT)/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Readside needs Python 3.11 or newer on PATH." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(ROOT)/requirements-uv.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r $(ROOT)/requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --offline -e $(ROOT)
	@touch $@

run: install ## Start the whole shop with demo data; Ctrl-C ends it
	@cd $(ROOT) && exec $(BIN)/readside up --demo

test: install ## Run every test against real databases, by WORKERS=2 processes (0: in one, for a debugger)
	@cd $(ROOT) && $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(PYTEST_ARGS)

check: install ## Lint, format, types, import rules
	@cd $(ROOT) && $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

format: install ## Format and fix what can be fixed
	@cd $(ROOT) && $(BIN)/ruff check --fix . ; $(BIN)/ruff format $(ROOT)

bench: install ## Measure and draw: make bench PART="query lag" (all but the long ones without)
	@cd $(ROOT) && $(BIN)/python -m bench $(PART) $(BENCH_ARGS)

torture: install ## Trade under faults and judge: make torture SECONDS=600 SEED=7
	@cd $(ROOT) && $(BIN)/python -m tests.torture --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

lock: install ## Pin anew what pyproject.toml asks for (hashes, no index URLs)
	@cd $(ROOT) && echo uv | $(BIN)/uv $(LOCK) - -o requirements-uv.lock
	@cd $(ROOT) && $(BIN)/uv $(LOCK) --group dev pyproject.toml -o requirements.lock

docs: install ## Write docs/events.md from the code
	@cd $(ROOT) && $(BIN)/python -m readside.event_catalog

screenshots: install ## Take pictures of every page of the console into docs/images (needs Chromium)
	@cd $(ROOT) && $(BIN)/python -m tests.browser.screenshots

clean: ## Remove .venv and caches (never the data directory)
	rm -rf $(VENV) $(ROOT)/.mypy_cache $(ROOT)/.ruff_cache $(ROOT)/.pytest_cache $(ROOT)/.hypothesis
