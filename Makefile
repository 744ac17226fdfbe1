# Tandem: `make run` starts a server, `make test` checks everything. Both set up what they need.

# The newest Python that is new enough, or an error that says what is missing.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
NODE_BIN := $(VENV)/node/node_modules/.bin
# The page has no build step: these only check it.
PAGE_TOOLS := typescript@5.9 @biomejs/biome@2.6.8
# Other people's clients, with which the tests call.
PEERS := werift@0.22.9 node-datachannel@0.33.4 peerjs@1.5.5 y-webrtc@10.3.0 yjs@13.6.33 ws@8.23.0 esbuild@0.25.12
ARGS ?= --port 8443
TESTS ?= tests
# Two workers suit the smallest machine that the suite is timed for; browsers run one at a time.
WORKERS ?= 2
# A failing test fails. Where others use the machine, too, a browser or a peer may starve for longer
# than any patience: there, AGAIN="--reruns 1" gives such a test one more try, and says so.
AGAIN ?=
# For `make fuzz`, all targets together.
MINUTES ?= 1

.PHONY: help run test components lint format types page-types coverage fuzz bench clean

help: ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.runtime ## Start a server on this machine; ARGS="--port 8443"
	$(BIN)/python -m signaling $(ARGS)

test: $(VENV)/.dev components lint types page-types ## Check and test everything
	@[ "$$(id -u)" = 0 ] || echo "tests/netlab is left out: network namespaces need root"
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup -m "not alone" $(AGAIN) $(TESTS)
	$(BIN)/pytest -q -m alone $(AGAIN) $(TESTS)

components: $(VENV)/.dev
	@$(BIN)/python -m tests.support.components

lint: $(VENV)/.dev $(VENV)/.node ## Style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if [ ! -x $(NODE_BIN)/biome ]; then echo "lint: the page is left out, npm is missing"; \
	else echo "biome check"; $(NODE_BIN)/biome check --error-on-warnings --config-path .ci static tests/browser; fi

format: $(VENV)/.dev $(VENV)/.node ## Format Python and the page's code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	@if [ -x $(NODE_BIN)/biome ]; then $(NODE_BIN)/biome format --write --config-path .ci static tests/browser; fi

types: $(VENV)/.dev ## Types of the Python code
	$(BIN)/mypy

page-types: $(VENV)/.node ## Types of the page
	@if [ ! -x $(NODE_BIN)/tsc ]; then echo "page-types: left out, npm is missing"; \
	else echo "tsc -p static/jsconfig.json"; $(NODE_BIN)/tsc --noEmit -p static/jsconfig.json; fi

coverage: $(VENV)/.dev ## Lines and branches that unit tests reach; fails below the floor in pyproject.toml
	$(BIN)/python -m coverage run -m pytest -q -p no:cacheprovider tests/unit
	$(BIN)/python -m coverage report

fuzz: $(VENV)/.dev ## Explore all fuzz targets, and let the corpus grow; MINUTES=10
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

bench: $(VENV)/.dev ## Measure the hub beside minimal hubs in Go and Node, and the relay
	$(BIN)/python -m tests.bench.bench_hub
	$(BIN)/python -m tests.bench.bench_forward

clean: ## Remove what was set up
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed: apt-get install python3 python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.node: Makefile | $(VENV)/bin/python
	@if command -v npm >/dev/null; then \
	npm install --silent --no-fund --no-audit --no-save --prefix $(VENV)/node $(PAGE_TOOLS) $(PEERS); fi
	@touch $@
