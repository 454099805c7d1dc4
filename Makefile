# What it takes: Python 3.11 or later, make, and access to a package index.
#   make run     a hub with sample data on http://127.0.0.1:8080
#   make test    all tests, on SQLite and PostgreSQL (which comes with the test packages)

# Which Python the virtual environment is made of; the fastest fit one on PATH when not said.
PYTHON ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Tests use half a minute of processor time: more processes than this only start more databases.
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: run test lint format bench soak lock wheel clean help

help:
	@sed -n '2,4p' Makefile; echo "#   make lint | format | bench | soak | lock | wheel | clean"

run: $(VENV)/run.stamp
	@exec $(BIN)/yilian demo $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --quiet $(PYTEST_ARGS) $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m bench.devices
	$(BIN)/python -m bench.terminology

# For hours: all tests with other random examples, 500 killed hubs on each database, 20,000 broken
# messages.
soak: $(VENV)/dev.stamp
	YILIAN_EXPLORE=1 $(BIN)/python -m pytest --quiet $(PYTEST_ARGS) $(ARGS)
	YILIAN_KILL_ROUNDS=500 YILIAN_KILL_MESSAGES=2000 YILIAN_MUTATIONS=20000 \
	  $(BIN)/python -m pytest --quiet tests/feeds/test_kill.py tests/feeds/test_hostile.py $(ARGS)

wheel: $(VENV)/dev.stamp
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# The lock files: the exact packages, with the digests of their files, for every Python from 3.11.
UV      := uv==0.13.9
COMPILE := $(VENV)/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
           --generate-hashes --no-header --no-annotate --quiet
lock: $(VENV)/bin/python
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install '$(UV)'
	$(COMPILE) --extra build --output-file requirements.lock
	$(COMPILE) --extra dev --output-file requirements-dev.lock --constraint requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/bin/python:
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(python3 tools/find_python.py) || exit 1; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say which with make PYTHON=python3.12"; exit 1; }; \
	echo "$$python -m venv $(VENV)"; "$$python" -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml setup.py | $(VENV)/bin/python
	@echo "Installing the pinned packages (the first time takes about a minute) ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml setup.py | $(VENV)/bin/python
	@echo "Installing the pinned packages for development ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/run.stamp
