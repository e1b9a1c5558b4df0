# Needs GNU make, Python 3.11 or newer and the package registries; npm too, for the tests beside the original tool.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

# It needs pg to speak to PostgreSQL and does not bring it.
NPM_VEX := @vektormemory/vex@0.8.8
NPM_PG := pg@8
export VEX_NPM_DIR ?= $(CURDIR)/.cache/npm-vex
NPM_READY := $(VEX_NPM_DIR)/.ready-$(notdir $(NPM_VEX))-$(NPM_PG)

# The first Python that is new enough; `make PYTHON=...` names another.
PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(python) -c 'import sys; sys.version_info >= (3, 11) and print("$(python)")' 2>/dev/null)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

.PHONY: help venv demo test lint format package bench npm-vex try-npm-vex clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## an editable install with everything for development, in .venv

$(READY): pyproject.toml
	$(if $(PYTHON),,$(error Python 3.11 or newer is needed, e.g. make PYTHON=python3.12))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY) ## a tour of the command line on a small VEKTOR database
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/demo.sh

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY) ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: lint try-npm-vex ## lint, then the everyday suite
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

# The suite runs on a wheel that was built from the sdist, in a folder where the checkout cannot be imported.
# Tests marked slow (faults on the way) run on the checkout alone. mypy reads the installed package: there, and only there, connectors/ is vexarrow.connectors.
package: $(READY) try-npm-vex ## sdist, wheel from the sdist, and the suite on the installed wheel
	rm -rf build dist *.egg-info
	$(BIN)/python -m build --outdir dist
	@set -eux; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(BIN)/python -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/pip" install --quiet "$$(echo dist/*.whl)[dev]"; \
	"$$scratch/venv/bin/pip" check; \
	cp -R tests pyproject.toml "$$scratch"; \
	cd "$$scratch"; \
	venv/bin/mypy --package vexarrow; \
	venv/bin/pytest -n $(WORKERS) --dist loadfile -m "not slow"

bench: $(READY) try-npm-vex ## every benchmark, one after another; each rewrites its results
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks

npm-vex: $(NPM_READY) ## the original tool, for the tests that run it beside ours

$(NPM_READY):
	mkdir -p "$(VEX_NPM_DIR)"
	npm install --prefix "$(VEX_NPM_DIR)" --no-audit --no-fund $(NPM_VEX) $(NPM_PG)
	@touch "$@"

# Without npm, or without a network, its tests skip, or fail where VEX_REQUIRE names them.
try-npm-vex:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory npm-vex || echo "npm-vex: not installed" >&2; fi

clean: ## remove all that make made
	rm -rf $(VENV) .cache build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
