# Every target makes what it needs: one virtual environment, kept until pyproject.toml changes.
#
#   make demo    a four-validator network on this machine, shown scene by scene (about a minute)
#   make test    every test, the real processes included
#   make check   lint, types, layers and the fast tests
#   make bench   measure; one JSON line a figure
#   make interop the JavaScript packages for the test with a peer of stock libp2p (needs Node 20 and npm)
#   make native  the compiled kernel for signatures and zero-knowledge proofs (needs cargo; without it libsodium and PQClean do the work)
#   make postgres the PostgreSQL server for the test of the indexer (Debian, Ubuntu, as root; else how to install it)
#   make sim     whole networks of production nodes, simulated from seeds (SEED, RUNS, NODES, HEIGHTS, FAULTS)
#   make lab     the networks of testnet/manifests, with faults, as real processes (about eight minutes)
#   make clean   remove everything that was made here

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check bench sim native interop postgres lab clean venv lint types layers

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name) 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-$(shell cksum < pyproject.toml | tr -s ' ' '-')
SEED ?= 1
RUNS ?= 20
NODES ?= 4
HEIGHTS ?= 100
FAULTS ?= all
NATIVE_LOG := $(VENV)/native-build.log
JS := tests/interop/js
JS_STAMP := $(JS)/node_modules/.made-$(shell cksum < $(JS)/package-lock.json | tr -s ' ' '-')
NATIVE_STAMP := $(VENV)/.native-$(shell cat crypto/native/*.toml crypto/native/Cargo.lock crypto/native/src/* | cksum | tr -s ' ' '-')

help:
	@sed -n 's/^#   //p' Makefile

$(STAMP):
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: Python 3.11 or newer is needed (Debian, Ubuntu: apt-get install python3.11 python3.11-venv)"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) \
	  || { echo "make: the venv module is needed (Debian, Ubuntu: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }
	@echo "make: installing into $(VENV) (once, then only when pyproject.toml changes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[indexer]' --group dev \
	  || { echo "make: a dependency could not be installed; all have wheels for Linux (x86-64, arm64) and macOS." \
	            "Elsewhere: apt-get install build-essential python3-dev libleveldb-dev libsodium-dev"; exit 1; }
	@# The libp2p extra compiles fastecdsa. Its trio-stubs describe an old trio, and mypy would prefer them to trio itself.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[libp2p]' >/dev/null 2>&1 \
	  || echo "make: libp2p is left out, and its tests are skipped: it needs gmp (Debian, Ubuntu: apt-get install" \
	          "build-essential python3-dev libgmp-dev; then make clean and again)"
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	@rm -f $(VENV)/.made-*
	@touch $@

venv: $(STAMP)

demo: venv
	@$(BIN)/python -m testnet.demo

test: venv native interop postgres
	@$(BIN)/python -m pytest

check: lint types layers
	@$(BIN)/python -m pytest -q -m "not slow and not network"

lint: venv
	@$(BIN)/ruff check .

types: venv
	@$(BIN)/mypy

layers: venv
	@$(BIN)/lint-imports

bench: venv native
	@$(BIN)/nexus bench all

# Never a reason to stop: where crates cannot be fetched or compiled, one line says so and libsodium does the work, until
# the sources change. NATIVE_REQUIRED=1 (continuous integration) makes it one; NEXUS_NO_NATIVE=1 leaves the kernel alone.
$(NATIVE_STAMP): $(STAMP)
	@if [ "$${NEXUS_NO_NATIVE:-0}" != 0 ]; then echo "make: NEXUS_NO_NATIVE is set: no native kernel is built"; exit 0; fi; \
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check ./crypto/native >$(NATIVE_LOG) 2>&1; \
	then echo "make: the native kernel for zero-knowledge proofs is built"; \
	else echo "make: the native kernel could not be built (see $(NATIVE_LOG)); libsodium does the work"; \
	  [ "$${NATIVE_REQUIRED:-0}" = 0 ] || exit 1; fi; \
	rm -f $(VENV)/.native-*; touch $@

native: $(NATIVE_STAMP)

# Exact versions with their digests, from the lock file. Without npm the test skips, which continuous integration refuses.
$(JS_STAMP): $(JS)/package-lock.json
	@if ! command -v npm >/dev/null 2>&1; then echo "make: no npm: the test with a JavaScript peer is skipped"; \
	elif (cd $(JS) && npm ci --no-audit --no-fund --loglevel=error >.npm-ci.log 2>&1); then rm -f $(JS)/node_modules/.made-*; touch $@; \
	else echo "make: the JavaScript packages could not be installed (see $(JS)/.npm-ci.log): the test with a JavaScript peer is skipped"; fi

interop: $(JS_STAMP)

# Nothing is asked of a package manager where a server is installed already. Never a reason to stop: without one the test
# skips, which continuous integration refuses. Debian's package would start a server of its own: it is told not to.
postgres: venv
	@if command -v initdb >/dev/null 2>&1 || ls -d /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi; \
	if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	  echo "make: installing PostgreSQL for the test of the indexer"; \
	  mkdir -p /etc/postgresql-common/createcluster.d && \
	  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/nexus-tests.conf && \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } \
	    >$(VENV)/postgres-install.log 2>&1 \
	  || echo "make: PostgreSQL could not be installed (see $(VENV)/postgres-install.log): the test of the indexer on it is skipped"; \
	else echo "make: no PostgreSQL server: the test of the indexer on it is skipped (Debian, Ubuntu: apt-get install postgresql)"; fi

sim: venv
	@$(BIN)/nexus sim --seed $(SEED) --seeds $(RUNS) --nodes $(NODES) --heights $(HEIGHTS) --faults $(FAULTS)

lab: venv
	@$(BIN)/nexus testnet run testnet/manifests/*.toml

clean:
	@rm -rf $(VENV) $(JS)/node_modules crypto/native/target crypto/native/reference/target build dist .make bench-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
