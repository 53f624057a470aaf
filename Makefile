# `make demo` and `make test` work from a fresh clone, in either order; all they ask for is Python and make.

# 3.12 first: for 3.13 there is no wheel that brings a Redis along (the demonstration needs one).
CANDIDATES := python3.12 python3.11 python3.13 python3
PYTHON     ?=
# PyTorch's own index of CPU builds, for an installation without CUDA; and, where known, the SHA-256 of its file.
TORCH_INDEX_URL ?=
TORCH_SHA256    ?=
VENV       := .venv
BIN        := $(VENV)/bin
INSTALLED  := $(VENV)/.installed
LOCKS      := requirements
ARGS       ?=
# Two processes, a file each at a time: many tests wait for servers. Each has its own Kafka and Redis.
TOGETHER   := -n 2 --dist loadfile --no-loadscope-reorder

# Exits 0 for a Python that can make our virtual environment: 3.11 to 3.13, with venv and pip's wheels.
SUITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench lab lock sbom clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## Install everything into .venv (again only when pyproject.toml or a lock changed)

$(INSTALLED): requirements.lock $(wildcard $(LOCKS)/*.lock) pyproject.toml
	@python=''; \
	if ! $(BIN)/python -c '$(SUITS)' >/dev/null 2>&1 || ! $(BIN)/pip --version >/dev/null 2>&1; then \
	  for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
	    if "$$candidate" -c '$(SUITS)' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo 'No suitable Python found. Needed: Python 3.11, 3.12 or 3.13 with its venv module' >&2; \
	    echo '(on Debian and Ubuntu: apt-get install python3-venv). Looked for: $(or $(PYTHON),$(CANDIDATES)).' >&2; \
	    echo 'Another one: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3.12' >&2; \
	    exit 1; \
	  fi; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing into $(VENV) with $$($(BIN)/python -V). The first time takes minutes: PyTorch alone is some GB."
	PIP_DISABLE_PIP_VERSION_CHECK=1 TORCH_INDEX_URL='$(TORCH_INDEX_URL)' TORCH_SHA256='$(TORCH_SHA256)' \
	  $(LOCKS)/install $(BIN)/python dev
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(INSTALLED)

demo: install ## Simulate a fleet under attack and watch the alerts (ARGS='--seconds 20 --json')
	$(BIN)/autodeep demo $(ARGS)

test: check ## Check, then run every test that can run here (ARGS='-k windows')
	$(BIN)/python -m pytest $(TOGETHER) $(ARGS)

check: install ## Lint, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## Throughput and latency on Apache Kafka itself (ARGS=--json)
	$(BIN)/python -m bench pipeline $(ARGS)

lab: install ## Real attack tools and sensors in network namespaces, Kafka and a worker (root, Debian; ARGS=--json)
	$(BIN)/python -m bench lab $(ARGS)

lock: install ## Resolve the locks again; what they pin stays, unless ARGS=--upgrade or ARGS='--upgrade-package redis'
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCKS)/resolve $(VENV)/lock/bin/uv $(ARGS)

sbom: install ## List what is installed in .venv as a CycloneDX bill of materials, dist/sbom.json
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o dist/sbom.json $(BIN)/python

clean: ## Remove what make made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
