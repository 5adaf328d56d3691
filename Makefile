# `make` lists the targets. Everything is made inside this directory; scripts/ says how.

# The first of these Pythons that starts and is recent enough: a version manager's shim may be found and still
# not run. Looked up only by the targets that need it.
find_python = $(firstword $(foreach python,$(2),$(shell $(python) -c \
	'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, $(1)))' >/dev/null 2>&1 && echo $(python))))

ifeq ($(origin PYTHON),undefined)
PYTHON = $(or $(call find_python,15,python3.11 python3.12 python3.13 python3),$(error \
	found no Python from 3.11 to 3.14; name one: make PYTHON=/path/to/python3))
endif

# Airflow 2.11 ends with Python 3.12.
ifeq ($(origin PYTHON_2_11),undefined)
PYTHON_2_11 = $(or $(call find_python,13,$(PYTHON) python3.11 python3.12),$(error \
	found no Python 3.11 or 3.12 for the Airflow 2.11 check; name one: make PYTHON_2_11=/path/to/python3.12))
endif

BIN := .venv/bin

# Of `make simulate`: the first world, how many, and with which kind of ledger.
CODEC ?= task_state
FIRST ?= 0
SEEDS ?= 1000000

# Of `make test-distributed`.
MESSAGES ?= 20000

# An Airflow that is merely imported writes its configuration there, not into the home directory.
pytest := AIRFLOW_HOME=$(CURDIR)/.venv/airflow CIRRUS_TEST_AIRFLOW_2_11_PYTHON=$(CURDIR)/.venv-2.11/bin/python \
	CIRRUS_TEST_AIRFLOW_3_4_PYTHON=$(CURDIR)/.venv-3.4/bin/python \
	$(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help venv venv-2.11 demo up test test-distributed test-matrix test-unit coverage check interface docs screenshot build try-wheel audit soak bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: venv ## run the example DAG in a real Airflow against the sandbox; shows who got what
	@$(BIN)/python -m scripts.demo

up: venv ## leave Airflow and the sandbox running until Ctrl-C; AIRFLOW_PORT=8080 SANDBOX_PORT=8787
	@$(BIN)/python -m scripts.up

test: venv venv-2.11 venv-3.4 ## run all tests: unit, integration, system, and the checks on Airflow 2.11 and 3.4
	@$(pytest) -n 4 --dist loadgroup --ignore=tests/distributed $(PYTEST_ARGS)

test-distributed: venv ## send MESSAGES=20000 by Celery workers, Redis and PostgreSQL while all of them are killed
	@CIRRUS_TEST_MESSAGES=$(MESSAGES) $(pytest) tests/distributed -s $(PYTEST_ARGS)

# Those of 2.11 and of the oldest versions end with Python 3.12.
test-matrix: ## run unit tests, integration tests and examples on every line of Airflow; LINES="2.11 lowest" names some
	@$(PYTHON_2_11) -m scripts.test_matrix $(LINES)

test-unit: venv ## run the unit tests only
	@$(pytest) tests/unit $(PYTEST_ARGS)

# Apart from `make test`: counting lines takes two fifths more of a processor's time. What only integration tests run is
# one line in a hundred.
coverage: venv ## run the unit tests, and fail below the coverage that pyproject.toml asks for
	@$(pytest) tests/unit -n 3 --dist loadgroup --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

check: venv ## lint, check the format, check the types
	@$(BIN)/ruff check --extend-exclude .venv-2.11,.venv-3.4 .
	@$(BIN)/ruff format --check --extend-exclude .venv-2.11,.venv-3.4 .
	@$(BIN)/mypy

interface: ## show what changed of the public interface since the last release
	@$(PYTHON) -m scripts.public_interface --changes

docs: venv ## build the documentation into site/; a warning is an error
	@AIRFLOW_HOME=$(CURDIR)/.venv/airflow $(BIN)/python -m sphinx -q -E -W --keep-going -d .venv/doctrees docs site
	@echo "site/index.html"

screenshot: venv ## take the pictures in docs/images anew; needs chromium
	@$(BIN)/python -m scripts.screenshot docs/images/inbox.png docs/images/delivery.png

build: venv ## build wheel and source distribution into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation

try-wheel: build ## install the wheel where only Airflow is, 2.11 and the newest, send with it, and write dist/sbom.cdx.json
	@$(BIN)/python -m scripts.try_wheel --sbom dist/sbom.cdx.json

# Needs the network: it asks which versions have known weaknesses.
audit: ## look the versions of constraints/ up in the database of known weaknesses
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/pip -q --disable-pip-version-check install "pip-audit>=2.7"
	@for file in constraints/airflow-2.11.txt constraints/airflow-3.3.txt; do \
		echo "== $$file"; .venv-audit/bin/pip-audit --disable-pip --no-deps --requirement $$file || exit 1; \
	done

.PHONY: simulate
simulate: venv ## run SEEDS=1000000 simulated worlds from FIRST=0 on; CODEC=task_state
	@$(BIN)/python -m tests.simulation --first $(FIRST) --worlds $(SEEDS) --codec $(CODEC)

soak: venv ## send 500,000 messages in half an hour among faults: nobody twice, nobody lost, nothing grows
	@$(BIN)/python -m scripts.soak $(SOAK_ARGS)

bench: venv ## run every benchmark, or BENCHMARKS="rules resume", and write docs/performance.md
	@AIRFLOW_HOME=$(CURDIR)/.venv/airflow $(BIN)/python -m scripts.bench $(BENCHMARKS)

venv: ## make or refresh .venv, as constraints/airflow-3.3.txt says; PYTHON=... chooses the interpreter
	@$(PYTHON) -m scripts.make_venv .venv constraints/airflow-3.3.txt dev

venv-2.11: ## the same for Airflow 2.11; venv-3.0, 3.1, 3.2, 3.4 and venv-lowest are others
	@$(PYTHON_2_11) -m scripts.make_venv .venv-2.11 constraints/airflow-2.11.txt test

venv-%:
	@$(PYTHON) -m scripts.make_venv .venv-$* constraints/airflow-$*.txt test

lock: ## resolve the constraints files anew; needs Python 3.11
	@$(PYTHON) -m scripts.lock

clean: ## remove everything that these targets make
	@rm -rf .venv .venv-2.11 .venv-3.4 .venv-audit .demo .up .coverage build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
