.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
ROWS ?= 200000
HISTORIES ?= 1000
# Everything that make fetches or starts stays in these two folders.
LOCAL := .local
VENV := .venv
UV := $(LOCAL)/uv/bin/uv
RUN := $(VENV)/bin/
INSTALLED := $(VENV)/.installed
# What pytest, the type checkers and the reference find, and no process that a test starts: pyproject.toml says why.
BESIDE := $(LOCAL)/beside
# What only the benchmarks need: other libraries to compare with, and one that draws.
PEERS := $(LOCAL)/benchmarks/venv/.installed
# The task queues of the throughput benchmark do not go together: each has a lock file and an environment of its own.
QUEUES := $(patsubst benchmarks/throughput/peers/%/requirements.in,%,$(wildcard benchmarks/throughput/peers/*/requirements.in))
QUEUES_INSTALLED := $(QUEUES:%=$(LOCAL)/benchmarks/%/.installed)
export UV_CACHE_DIR ?= $(CURDIR)/$(LOCAL)/uv-cache
# A process that must compile all it imports takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
# By file, in the order of tests/conftest.py: what takes long comes first. Half of the time tests wait for processes and
# servers: so many at once keep two cores busy.
PYTEST_AT_ONCE := -m pytest -n 4 --dist loadfile --no-loadscope-reorder

##@ Start here

.PHONY: demo
demo: $(INSTALLED) ## Show it: real rows, a real worker, a real scheduler (ROWS=200000 DASHBOARD=1)
	@$(RUN)python -m todo_service.demo --rows $(ROWS) $(if $(DASHBOARD),--dashboard)

.PHONY: test
test: $(INSTALLED) ## Run every test (PYTEST="-k name" narrows it)
	@$(RUN)python $(PYTEST_AT_ONCE) $(PYTEST)

.PHONY: test-fast
test-fast: $(INSTALLED) ## Run the unit tests alone, which need no server (PYTEST="-k name" narrows it)
	@$(RUN)python -m pytest -n 2 tests/kiqstart/unit tests/todo_service/unit $(PYTEST)

.PHONY: coverage
coverage: $(INSTALLED) ## Run every test and print the branches that none of them takes; half as slow again
	@$(RUN)python $(PYTEST_AT_ONCE) --cov --cov-report=term $(PYTEST)

.PHONY: test-faults
test-faults: $(INSTALLED) ## Kill, freeze and cut all that can be, and count the tasks (MINUTES=30 for a long run, SEED=1)
	@$(RUN)python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(FAULTS)

.PHONY: simulate
simulate: $(INSTALLED) ## Play histories of the broker and the scheduler in virtual time, with faults between any two steps (HISTORIES=1000)
	@$(RUN)python -m tests.simulation --histories $(HISTORIES) $(SIMULATION)

.PHONY: fuzz
fuzz: $(INSTALLED) ## Send odd inputs to each surface, and look that they harm only themselves (MINUTES=10 SURFACE=messages SEED=1)
	@$(RUN)python -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SURFACE),--surface $(SURFACE)) $(if $(SEED),--seed $(SEED))

##@ Develop

.PHONY: install
install: $(INSTALLED) ## Install what is missing (every other target does it too)

.PHONY: up
up: $(INSTALLED) ## Run PostgreSQL, Redis, a worker and a scheduler until Ctrl-C
	@$(RUN)kiqstart up

# What ends by itself, as a mistake in an edit makes it, stays down until the next save.
RELOADING = $(RUN)kiqstart local -- $(RUN)watchmedo auto-restart --directory src --pattern '**/*.py' --recursive \
	--signal SIGTERM --debounce-interval 0.2 --no-restart-on-command-exit --

.PHONY: worker-dev
worker-dev: $(INSTALLED) ## Run a worker that reloads when a file changes
	@$(RELOADING) $(RUN)kiqstart worker --no-configure-logging

.PHONY: scheduler-dev
scheduler-dev: $(INSTALLED) ## Run a scheduler that reloads when a file changes
	@$(RELOADING) $(RUN)kiqstart scheduler --no-configure-logging

.PHONY: shell
shell: $(INSTALLED) ## Open an async Python prompt with `container` and `registry` ready
	@$(RUN)kiqstart local -- $(RUN)kiqstart shell

.PHONY: migrate
migrate: $(INSTALLED) ## Bring the database's schema up to date
	@$(RUN)kiqstart local -- $(RUN)kiqstart migrate

.PHONY: migration
migration: $(INSTALLED) ## Write a migration from the models' changes (name="add a table")
	@test -n "$(name)" || { echo 'make migration: name is missing: make migration name="add a table"' >&2; exit 2; }
	@$(RUN)kiqstart local -- $(RUN)kiqstart migration "$(name)"

##@ Measure

.PHONY: benchmark-delivery
benchmark-delivery: $(INSTALLED) ## Measure what finished tasks leave in Redis, beside plain taskiq
	@$(RUN)python -m benchmarks.delivery $(BENCHMARK)

.PHONY: benchmark-dashboard
benchmark-dashboard: $(INSTALLED) ## Measure how long each page of the dashboard takes with 100,000 kept runs
	@$(RUN)python -m benchmarks.dashboard $(BENCHMARK)

.PHONY: benchmark-scheduling
benchmark-scheduling: $(INSTALLED) ## Measure how late schedules are sent, and what idling costs, beside plain taskiq
	@$(RUN)python -m benchmarks.scheduling $(BENCHMARK)

.PHONY: benchmark-retention
benchmark-retention: ROWS = 1000000
benchmark-retention: $(INSTALLED) $(PEERS) ## Measure the clean-ups against limits and peers (BENCHMARK="--only speed")
	@$(RUN)python -m benchmarks.retention --rows $(ROWS) $(BENCHMARK)

.PHONY: benchmark-throughput
benchmark-throughput: $(INSTALLED) $(PEERS) $(QUEUES_INSTALLED) ## Measure tasks/s, round trips and workers beside other task queues (BENCHMARK=--short)
	@$(RUN)python -m benchmarks.throughput $(BENCHMARK)

##@ Check

.PHONY: lint
lint: $(INSTALLED) ## Check style, types and who imports whom
	@$(RUN)ruff format --check .
	@$(RUN)ruff check .
	@$(RUN)lint-imports
	@$(RUN)mypy
	@$(RUN)basedpyright

.PHONY: format
format: $(INSTALLED) ## Format the code and mend what can be mended by itself
	@$(RUN)ruff check --fix .
	@$(RUN)ruff format .

PIP_INSTALL := --quiet --disable-pip-version-check --require-hashes --no-deps --requirement build.lock
LOCKING := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet
# All extras but `opentelemetry`, which is beside the environment.
LOCK := pip compile pyproject.toml --extra local --extra dashboard --extra encryption --extra testing --group dev $(LOCKING)
BESIDE_LOCK := pip compile --group pyproject.toml:beside --no-deps --constraints requirements.lock $(LOCKING)
# uv itself, and what builds the package: the first that is installed, so by hash too.
BUILD_LOCK := pip compile --group pyproject.toml:build $(LOCKING)
PEERS_LOCK := pip compile --group pyproject.toml:benchmarks $(LOCKING)
QUEUES_IN := benchmarks/throughput/peers
QUEUE_LOCK := pip compile $(LOCKING) $(QUEUES_IN)

.PHONY: lock
lock: $(UV) ## Write requirements.lock from pyproject.toml
	@$(UV) $(BUILD_LOCK) --upgrade --output-file build.lock
	@$(UV) $(LOCK) --upgrade --output-file requirements.lock
	@$(UV) $(BESIDE_LOCK) --upgrade --output-file tests/beside.lock
	@$(UV) $(PEERS_LOCK) --upgrade --output-file benchmarks/requirements.lock
	@for queue in $(QUEUES); do \
		$(UV) $(QUEUE_LOCK)/$$queue/requirements.in --upgrade --output-file $(QUEUES_IN)/$$queue/requirements.lock || exit 1; done

.PHONY: lock-check
lock-check: $(UV) ## Fail where requirements.lock does not fit pyproject.toml
	@cp build.lock $(LOCAL)/build.lock
	@$(UV) $(BUILD_LOCK) --output-file $(LOCAL)/build.lock
	@cmp -s build.lock $(LOCAL)/build.lock || { echo 'build.lock does not fit pyproject.toml: run `make lock`' >&2; exit 1; }
	@cp requirements.lock $(LOCAL)/requirements.lock
	@$(UV) $(LOCK) --output-file $(LOCAL)/requirements.lock
	@cp benchmarks/requirements.lock $(LOCAL)/peers.lock
	@$(UV) $(PEERS_LOCK) --output-file $(LOCAL)/peers.lock
	@cp tests/beside.lock $(LOCAL)/beside.lock
	@$(UV) $(BESIDE_LOCK) --output-file $(LOCAL)/beside.lock
	@cmp -s tests/beside.lock $(LOCAL)/beside.lock || { echo 'tests/beside.lock does not fit pyproject.toml: run `make lock`' >&2; exit 1; }
	@cmp -s requirements.lock $(LOCAL)/requirements.lock && cmp -s benchmarks/requirements.lock $(LOCAL)/peers.lock || { \
		echo 'requirements.lock does not fit pyproject.toml: run `make lock`' >&2; exit 1; }
	@for queue in $(QUEUES); do \
		cp $(QUEUES_IN)/$$queue/requirements.lock $(LOCAL)/queue.lock; \
		$(UV) $(QUEUE_LOCK)/$$queue/requirements.in --output-file $(LOCAL)/queue.lock || exit 1; \
		cmp -s $(QUEUES_IN)/$$queue/requirements.lock $(LOCAL)/queue.lock || { \
			echo "$(QUEUES_IN)/$$queue: requirements.lock does not fit requirements.in: run \`make lock\`" >&2; exit 1; }; done

# The packages that a release runs with, at the versions of the lock, as a script that says what it depends on: what uv
# audits and describes.
RELEASE := $(LOCAL)/release/kiqstart.py
BOM := dist/kiqstart.cdx.json

.PHONY: audit
audit: $(RELEASE) ## Look for known vulnerabilities in what a release runs with; without a network it says so and passes
	@$(UV) audit --preview-features audit-command $(AUDIT) --script $(RELEASE) 2>$(RELEASE).problem || { \
		cat $(RELEASE).problem >&2; \
		grep -q 'Request failed\|error sending request' $(RELEASE).problem \
			&& echo 'not audited: the database of vulnerabilities is out of reach' >&2; }

.PHONY: reference
reference: $(INSTALLED) ## Write the reference of all public names from their docstrings to dist/reference
	@PYTHONPATH=$(BESIDE) $(RUN)pdoc --docformat google --no-show-source --output-directory dist/reference kiqstart '!kiqstart.' kiqstart.broker '!kiqstart.broker.' \
		kiqstart.scheduler '!kiqstart.scheduler.' kiqstart.retention '!kiqstart.retention.' kiqstart.dashboard '!kiqstart.dashboard.' kiqstart.testing '!kiqstart.testing.'

.PHONY: sbom
sbom: $(RELEASE) $(INSTALLED) ## Write dist/kiqstart.cdx.json: what a release is made of, with hashes (CycloneDX)
	@mkdir -p $(dir $(BOM))
	@$(UV) export --quiet --preview-features sbom-export --script $(RELEASE) --format cyclonedx1.5 --output-file $(LOCAL)/release/bom.json
	@$(RUN)python release/bom.py $(LOCAL)/release/bom.json $(BOM)

.PHONY: clean
clean: ## Remove what make installed, and the local databases
	@rm -rf $(VENV) $(LOCAL)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(UV): build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'kiqstart needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@mkdir -p $(LOCAL)
	@rm -rf $(LOCAL)/uv
	@if $(PYTHON) -m venv $(LOCAL)/uv >/dev/null 2>&1; then \
		$(LOCAL)/uv/bin/python -m pip install $(PIP_INSTALL); \
	else \
		rm -rf $(LOCAL)/uv; \
		$(PYTHON) -m pip install $(PIP_INSTALL) --target $(LOCAL)/uv; \
	fi || { echo 'kiqstart gets uv with pip, and $(PYTHON) has neither venv nor pip: install python3-venv' >&2; exit 1; }
	@touch $(UV)

$(RELEASE): $(UV) requirements.lock pyproject.toml
	@mkdir -p $(@D)
	@rm -f $@.lock
	@$(UV) pip compile pyproject.toml --constraints requirements.lock --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --quiet \
		| awk 'BEGIN { print "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [" } { print "#   \"" $$0 "\"," } END { print "# ]\n# ///" }' >$@

$(INSTALLED): $(UV) requirements.lock tests/beside.lock pyproject.toml
	@test -x $(VENV)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) pip sync --quiet --python $(VENV) --require-hashes requirements.lock
	@rm -rf $(BESIDE)
	@$(UV) pip install --quiet --python $(VENV) --target $(BESIDE) --no-deps --require-hashes --requirement tests/beside.lock
	@$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

$(PEERS): $(UV) benchmarks/requirements.lock
	@test -x $(@D)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(@D)
	@$(UV) pip sync --quiet --python $(@D) --require-hashes benchmarks/requirements.lock
	@touch $(PEERS)

$(QUEUES_INSTALLED): $(LOCAL)/benchmarks/%/.installed: benchmarks/throughput/peers/%/requirements.lock $(UV)
	@test -x $(@D)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(@D)
	@$(UV) pip sync --quiet --python $(@D) --require-hashes $<
	@touch $@
