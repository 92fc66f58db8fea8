# make demo and make test need only Python 3.11 or newer: each makes .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
# How many processes run tests, each its own modules with engines of its own: many tests wait, so that three keep two
# CPUs busy. 0: this one alone, for a debugger.
WORKERS ?= 3

BIN := $(VENV)/bin
RUN := $(VENV)/.installed-orchestrator
DEV := $(VENV)/.installed-dev
# In the order of the folders: what takes long comes first.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# What the guest agent is compiled from: installing compiles it.
AGENT := hatch_build.py $(wildcard guest/*.c guest/*.h)
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(BIN)/python -m pip install --quiet --quiet

# An environment for development can run everything, so that one stamp is enough.
READY := $(if $(wildcard $(DEV)),$(DEV),$(RUN))

.DELETE_ON_ERROR:
.PHONY: help demo test test-long check generate check-generated docs dist bench clean

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(READY) ## Start real sandboxes on this machine and use them over HTTP, then over gRPC
	@$(BIN)/python examples/demo.py

test: $(DEV) ## Run the tests (PYTEST_ARGS="-k exec" runs some of them)
	@$(PYTEST) $(PYTEST_ARGS)

test-long: $(DEV) ## Run the tests with many more random examples
	@$(PYTEST) --hypothesis-profile=long $(PYTEST_ARGS)

check: $(DEV) ## Lint, check format and types, and that the generated code is up to date
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/mypy hatch_build.py $(wildcard benchmarks/*.py benchmarks/*/*.py docs/*.py docs/ext/*.py examples/*.py)
	@$(BIN)/python -m codegen --check

generate: $(DEV) ## Regenerate generated/ from specs/
	@$(BIN)/python -m codegen

check-generated: $(DEV) ## Fail where generated/ differs from specs/, or the specs from each other
	@$(BIN)/python -m codegen --check

docs: $(DEV) ## Build the documentation: build/docs/index.html
	@$(BIN)/python -m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --quiet docs build/docs
	@echo "build/docs/index.html"

dist: $(DEV) ## Build the packages into dist/ and check them
	@rm -rf dist
	@echo "Compiling the guest agent for two machines (a minute and a half the first time) ..."
	@FLASH_SANDBOX_AGENTS="x86_64 aarch64" ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/build/zig \
		$(BIN)/python -m build --quiet --no-isolation --outdir dist .
	@FLASH_SANDBOX_DIST=$(CURDIR)/dist $(BIN)/python -m pytest --quiet tests/integration/test_package.py $(PYTEST_ARGS)
	@ls dist/*

bench: $(DEV) ## Measure beside floors and peers, and write benchmarks/RESULTS.md (15 minutes; ONLY=calls one part)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

clean: ## Remove .venv, caches and builds
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist flash_sandbox/orchestrator/guest/bin
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) not found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# pip is silent while it compiles.
$(RUN) $(DEV): SAY = @echo "Compiling the guest agent (about a minute without a C compiler) ..."

$(RUN): pyproject.toml $(AGENT) | $(BIN)/python
	@echo "Installing flash-sandbox and its orchestrator into $(VENV) ..."
	$(SAY)
	@$(PIP) --editable '.[orchestrator]'
	@touch $@

$(DEV): pyproject.toml $(AGENT) | $(BIN)/python
	@echo "Installing flash-sandbox and its development tools into $(VENV) ..."
	$(SAY)
	@$(PIP) --editable '.[dev]'
	@touch $@
