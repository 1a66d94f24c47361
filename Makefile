# Everything starts from Python >= 3.11, make and a package index: each goal sets up what it needs
# in .venv, and is quick where that is done.

PYTHON ?= python3
UV_VERSION := 0.13.9
CHECKOV_VERSION := 3.3.30
ARCHITECTURE ?= arm64

# An interpreter or an environment that the caller has active must not be taken for .venv.
unexport VIRTUAL_ENV UV_PYTHON
export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0

# Compiled modules are kept, also where the caller keeps none: a day starts three processes.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache

BIN := .venv/bin
UV := $(BIN)/uv

# alpaca-py asks for these; of it only alpaca.common ships in use, which imports none of them:
#   numpy, pandas   the `.df` of answers and dates of corporate announcements; 110 MB, and the
#                   better part of a cold start
#   pytz            alpaca.data's requests
#   msgpack         alpaca.data's stream
#   sseclient-py    the broker API
# `make build` imports everything that is used from what is left.
PRUNED := numpy pandas pytz msgpack sseclient-py

EXPORT := $(UV) export --quiet --frozen --no-default-groups --no-emit-project --no-annotate \
	$(addprefix --prune ,$(PRUNED))

# What stands in the output file already stays, as in uv.lock.
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-annotate --no-header workbench/cloud/emulator.in

# Each test is in exactly one of these, which `make test-count` checks.
QUICK := not soak and not cloud
SOAK := soak and not cloud
CLOUD := cloud

# Small portions keep the order of tests/conftest.py: unit tests first.
PYTEST = -m pytest -n auto --maxschedchunk 8 --durations 10

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run cloud e2e rie artefacts bench costs mutants fuzz test test-newest soak test-count \
	check lint types imports template security docs locks build lock clean

help:
	@echo 'make run      one whole trading day on this machine; its report goes to out/run/'
	@echo '              BARS="a.csv b.parquet" LOT=2000 SEED=7 OUT=folder, each optional'
	@echo 'make cloud    the stack on an AWS emulator here, trading; MINUTES=10 START=10:30 SEED=5'
	@echo '              PORT=4566 OUT=folder, each optional'
	@echo 'make e2e      the test of that: the end of a session, a relay killed, all torn down'
	@echo 'make rie      the built functions under the runtime interface emulator of the SAM CLI'
	@echo 'make test     the quick tests, in about five minutes; ARGS="-k liquidation" to choose'
	@echo 'make test-3.13  the quick tests on that Python, which is on PATH or one of pyenv'
	@echo 'make test-newest  the same on the newest Python that is supported'
	@echo 'make soak     the slow tests: whole days, restarts, chaos days, every planted mistake'
	@echo 'make test-count  how many tests each goal runs; fails if a test belongs to none'
	@echo 'make bench    how long a local day and the help take; docs/performance.md is made of what it writes'
	@echo 'make costs    counts what days of 10, 100 and 1,000 symbols ask of AWS, for docs/costs.md'
	@echo 'make artefacts  size and init time of the built functions, for docs/performance.md'
	@echo 'make mutants  plants mistakes, one at a time, and simulates days until one shows it'
	@echo 'make fuzz     a million requests to the webhook, unsigned and signed nonsense; ten minutes'
	@echo 'make check    lint, types, imports, template, security, docs, lock files'
	@echo 'make build    what sam deploy uploads; ARCHITECTURE=x86_64 to run it on such a machine'
	@echo 'make lock     uv.lock and functions/requirements.txt after a change of pyproject.toml'
	@echo 'make clean    remove everything made here, .venv included'

run: .venv/.run
	@$(BIN)/scalper run $(if $(LOT),--lot '$(LOT)') $(if $(SEED),--seed '$(SEED)') \
		$(if $(OUT),--out '$(OUT)') -- $(BARS)

cloud: .venv/.cloud
	@$(BIN)/scalper cloud $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(START),--start '$(START)') \
		$(if $(SEED),--seed '$(SEED)') $(if $(PORT),--port '$(PORT)') $(if $(OUT),--out '$(OUT)')

e2e: .venv/.cloud
	CLOUD_PYTHON='$(CURDIR)/.venv/cloud/bin/python' \
		$(BIN)/python -m pytest -m '$(CLOUD)' tests/e2e $(ARGS)

rie: .venv/.cloud
	CLOUD_PYTHON='$(CURDIR)/.venv/cloud/bin/python' \
		$(BIN)/python -m pytest -m '$(CLOUD)' tests/packaging $(ARGS)

artefacts: .venv/.cloud
	$(BIN)/python bench/artefacts.py

bench: .venv/.run
	$(BIN)/python bench/local_day.py
	$(BIN)/python -m bench.cli_help

costs: .venv/.run
	$(BIN)/python bench/costs.py

mutants: .venv/.run
	$(BIN)/python -m bench.mutants

fuzz: .venv/.dev
	$(BIN)/python -m bench.webhook_fuzz

test: .venv/.dev
	$(BIN)/python $(PYTEST) -m '$(QUICK)' $(ARGS)

# The newest Python that the project supports.
test-newest: test-3.13

test-3.%: .venv/3.%/.dev
	.venv/3.$*/bin/python $(PYTEST) -m '$(QUICK)' $(ARGS)

soak: .venv/.dev
	$(BIN)/python $(PYTEST) -m '$(SOAK)' $(ARGS)

test-count: .venv/.dev
	@.ci/count-tests $(BIN)/python '$(QUICK)' '$(SOAK)' '$(CLOUD)'

check: lint types imports template security docs locks

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.dev
	$(BIN)/mypy

imports: .venv/.dev
	$(BIN)/lint-imports

template: .venv/.dev
	$(BIN)/cfn-lint template.yaml infrastructure/*.yaml

# Bandit's tests that are left out, and why. What ships:
#   B311  random numbers that are no secret: how long the relay waits before it connects again
# The workbench too, which runs on a person's machine alone:
#   B101  assertions of what a simulated day must hold; nobody strips them
#   B105, B106  the "secret" of the AWS on loopback, which opens nothing
#   B404, B603, B607  it starts its own programs, without a shell, and git by the PATH
security: .venv/.dev .venv/.checkov
	$(BIN)/bandit --quiet --recursive functions --skip B311
	$(BIN)/bandit --quiet --recursive workbench bench --skip B311,B101,B105,B106,B404,B603,B607
	.venv/checkov/bin/checkov --config-file .checkov.yaml

docs: .venv/.dev
	$(BIN)/python -m workbench.docs --check

locks: .venv/.dev
	@$(UV) lock --quiet --check || { echo 'uv.lock is stale: make lock' >&2; exit 1; }
	@$(EXPORT) | diff - functions/requirements.txt >/dev/null \
		|| { echo 'functions/requirements.txt is stale: make lock' >&2; exit 1; }
	@cp workbench/cloud/emulator.txt .venv/emulator.txt
	@$(COMPILE) -o .venv/emulator.txt
	@diff .venv/emulator.txt workbench/cloud/emulator.txt >/dev/null \
		|| { echo 'workbench/cloud/emulator.txt is stale: make lock' >&2; exit 1; }

lock: $(UV)
	$(UV) lock
	$(EXPORT) > functions/requirements.txt
	echo checkov==$(CHECKOV_VERSION) | $(UV) pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header - --output-file .ci/checkov.txt
	$(COMPILE) -o workbench/cloud/emulator.txt

build: .venv/.dev
	$(BIN)/sam validate --lint
	PIP='$(CURDIR)/$(BIN)/python -m pip' ARCHITECTURE=$(ARCHITECTURE) $(BIN)/sam build
	@echo "each function: $$(du -sm .aws-sam/build/TickFunction | cut -f1) MB unzipped, of Lambda's 250"

clean:
	rm -rf .venv .aws-sam .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Setting up

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "scalper needs Python 3.11 or newer, and $(PYTHON) is missing or older:" \
			"make PYTHON=python3.12, for example" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || { \
		echo "$(PYTHON) -m venv does not work: install Python's venv (Debian: python3-venv)" >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet uv==$(UV_VERSION) || { \
		echo "no package index: pip could not install uv $(UV_VERSION)" >&2; rm -rf .venv; exit 1; }

# To run a day takes no linter and no SAM. What `make test` set up before stays (--inexact).
.venv/.run: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --inexact --no-default-groups --extra workbench --python $(BIN)/python
	@touch $@

.venv/.dev: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --all-extras --python $(BIN)/python
	@touch $@ .venv/.run

# An environment of another Python version, for `make test-3.13`. A test builds a function with pip.
.PRECIOUS: .venv/3.%/.dev
.venv/3.%/.dev: pyproject.toml uv.lock .venv/.dev
	@found="$$($(BIN)/python -m workbench.cloud.interpreter 3.$*)" || exit 1; \
		$(UV) venv --quiet --clear --seed --python "$$found" .venv/3.$*
	UV_PROJECT_ENVIRONMENT=.venv/3.$* $(UV) sync --quiet --frozen --inexact --all-extras \
		--python .venv/3.$*/bin/python
	@touch $@

# checkov asks for an old boto3, which the project cannot share: it has an environment of its own.
.venv/.checkov: .ci/checkov.txt | $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python .venv/checkov
	$(UV) pip install --quiet --python .venv/checkov/bin/python --require-hashes -r .ci/checkov.txt
	@touch $@

# The functions run under this environment's Python: the template's, where this machine has it.
.venv/.cloud: workbench/cloud/emulator.txt .venv/.dev
	$(UV) venv --quiet --clear --python "$$($(BIN)/python -m workbench.cloud.interpreter)" .venv/cloud
	$(UV) pip install --quiet --require-hashes --python .venv/cloud/bin/python \
		--requirement workbench/cloud/emulator.txt
	@touch $@
