# `make` lists the targets. Needs python3 (3.11 or newer), make and git; uv is fetched through pip when it is not there.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The uv on the PATH when it is new enough, else one of our own.
UV ?= $(shell uv --version 2>/dev/null | awk -v uv="$$(command -v uv)" '{ split($$2, v, "."); if (v[1] > 0 || v[2] >= 13) print uv }')
UV := $(or $(UV),$(CURDIR)/.uv/bin/uv)
RUN := $(UV) run --no-sync
export UV

PORT ?= 8000
DEMO_ENV := UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-demo
DEMO := cd examples/quickstart && exec $(CURDIR)/.venv-demo/bin/python -m quickstart

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(CURDIR)/.uv/bin/uv:
	@python3 -m pip --version >/dev/null 2>&1 || { echo 'uv is needed: install uv, or python3-pip so that make can fetch it' >&2; exit 1; }
	python3 -m pip install --quiet --disable-pip-version-check --target .uv 'uv>=0.13'

# `git add` only tells git that the new size is not a change; nothing is staged when the content did change.
.PHONY: sync
sync: $(UV)
	@$(UV) sync --quiet
	@if git config --get filter.lock.clean >/dev/null && git diff --quiet -- uv.lock; then git add uv.lock; fi

.PHONY: setup
setup: $(UV) ## prepare a clone for development: environment, git filter, commit hooks
	git config filter.lock.clean 'python3 tools/lock.py clean'
	git config filter.lock.smudge cat
	@$(MAKE) --no-print-directory sync
	$(RUN) pre-commit install

.PHONY: demo-sync
demo-sync: $(UV)
	@test -d .venv-demo || echo 'Preparing the environment (first run only) ...'
	@$(DEMO_ENV) $(UV) sync --quiet --no-default-groups --group demo

.PHONY: demo
demo: demo-sync ## run the quick start on embedded SQLite (SQL_URL=... for another database, PORT=8000)
	@$(DEMO) --port '$(PORT)' $(if $(DATA),--data '$(DATA)')

.PHONY: demo-reset
demo-reset: demo-sync ## empty the quick start's database, so that `make demo` starts over
	@$(DEMO) --reset

.PHONY: test
test: sync ## run every test that this machine can run, and say which databases were covered
	$(RUN) pytest -n 2 --dist worksteal -m 'not soak and not fault'

.PHONY: test-integration
test-integration: sync ## run the tests of all packages together
	$(RUN) pytest -n 2 --dist worksteal -m 'not soak and not fault' tests-integration

.PHONY: test-isolated
test-isolated: sync ## run each library's tests with its declared dependencies alone (PACKAGE=svc-infra-sql for one)
	$(RUN) python tools/test_isolated.py $(PACKAGE)

.PHONY: test-soak
test-soak: sync ## run the long randomised and large runs once
	$(RUN) pytest -n 2 --dist worksteal -m soak --timeout 1200

.PHONY: test-fault
test-fault: sync ## kill, cut and freeze servers under load
	$(RUN) pytest -m fault --timeout 1200

.PHONY: test-services
test-services: ## install the servers that have no wheel (Debian: MariaDB, Redis, PgBouncer, PostgreSQL with TLS)
	tools/install-services

.PHONY: lint
lint: sync ## pins, formatting, lint rules, import directions, lock file
	@$(RUN) $(UV) pip check
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) lint-imports --no-logo
	python3 tools/lock.py check

.PHONY: types
types: sync ## mypy, pyright, and whether the public types are complete
	$(RUN) mypy packages/*/src packages/*/typing_tests tools examples/quickstart/quickstart
	$(RUN) pyright
	$(RUN) python tools/verify_types.py

.PHONY: bench
bench: sync ## measure against hand-written code and the driver, in one run (NAME=weight for one)
	$(RUN) python -m benchmarks $(NAME)

.PHONY: docs
docs: $(UV) ## build the documentation site into site/
	python3 tools/reference.py
	$(UV) run --isolated --only-group docs zensical build --clean --strict

.PHONY: build
build: sync ## build the seven wheels and prove that each installs and imports alone
	rm -rf dist
	$(UV) build --quiet --all-packages --out-dir dist
	$(RUN) python tools/check_wheels.py dist

.PHONY: lock
lock: $(UV) ## update uv.lock and take the index addresses out of it
	$(UV) lock
	python3 tools/lock.py rewrite
