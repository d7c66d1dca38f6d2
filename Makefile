# Every target first sets up what it needs, so `make demo` and `make test` work in a fresh checkout. They need Python 3.11 or newer
# (with venv and headers), gcc and make. Everything else comes from the locked requirements.

.NOTPARALLEL:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq
LOCKED := --require-hashes --only-binary :all:

# The pages of the documentation, and the environment of their generator, which is the same under each version of Python.
PAGES := src/batchseal/api/pages/index.html
GENERATOR := .venv-docs

NATIVE := setup.py $(shell find ext src/batchseal/_native -name '*.[ch]' -o -name '*.py[xd]' 2>/dev/null)
# Cython writes C files beside the .pyx files. They are results and not sources, so they are left out.
NATIVE := $(filter-out src/batchseal/_native/%.c,$(NATIVE))
SOURCES := $(shell find src -name '*.py' 2>/dev/null)

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

.PHONY: demo
demo: $(VENV)/.native  ## seal generated invoices end to end, in PDF and XML, a few at level LT; DOCS=/some/folder takes your own PDFs
	@$(BIN)/python -m benchmarks.demo $(if $(DOCS),--docs "$$DOCS")

.PHONY: demo-hot-folder
demo-hot-folder: $(VENV)/.native  ## put files into a hot folder and watch where each of them is
	@$(BIN)/python -m benchmarks.hot_folder_demo

INSTANCE_DRILLS := tests/adversity/test_instance_drills.py
# These watch the time, and nothing runs beside them. (pytest ends with 5 where ARGS chooses none of them.)
DRILLS := tests/adversity/test_drills.py
# All other tests run in two processes (tests/conftest.py says which in which), the tests of one tier in one.
BESIDE := -n 2 --no-loadscope-reorder
APART := $(addprefix --ignore=,$(INSTANCE_DRILLS) $(DRILLS) tests/browser)

.PHONY: test
test: $(VENV)/.dev $(VENV)/.native $(PAGES)  ## run the tests; TESTS=tests/unit for some, ARGS=-x for pytest; SANITIZE=1 the native ones with ASan and UBSan
ifdef SANITIZE
	@$(BIN)/python -m tests.sanitized $(ARGS)
else ifdef TESTS
	@$(BIN)/python -m pytest $(TESTS) $(ARGS)
else
	@status=0; \
	$(BIN)/python -m pytest $(BESIDE) $(APART) $(ARGS) || status=$$?; \
	$(BIN)/python -m pytest $(DRILLS) $(ARGS) || { code=$$?; [ $$code = 5 ] || status=$$code; }; \
	exit $$status
endif

.PHONY: test-instances
test-instances: $(VENV)/.dev $(VENV)/.native  ## run a few trials of each drill about several instances and what they share; ARGS=-x for pytest
	@$(BIN)/python -m pytest $(INSTANCE_DRILLS) $(ARGS)

.PHONY: test-products
test-products: $(VENV)/.dev $(VENV)/.native  ## run the tests of which `make test` tries some combinations of their parameters with all of them
	@$(BIN)/python -m pytest --products -m product tests $(ARGS)

# What the browser tests load into a page to judge it (axe-core, MPL-2.0). It is not part of the sources: npm fetches it, and checks
# the digest in package-lock.json.
AXE := tests/browser/node_modules/.ready
$(AXE): tests/browser/package-lock.json
	@cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: test-browser
test-browser: $(VENV)/.dev $(VENV)/.native $(AXE)  ## try the operator's page in Chromium (Debian's; CHROMIUM=/path names another); ARGS=--all for all themes and widths
	@$(if $(CHROMIUM),CHROMIUM=$(CHROMIUM) )$(BIN)/python -m pytest tests/browser $(ARGS)

# The tests that every version of Python must pass: all that need no running service, and about two minutes of integration tests.
# The tests that kill processes, cut connections or fill disks are left out: those depend on the operating system and on Postgres
# more than on Python.
CORE := tests/unit tests/conformance tests/property tests/golden tests/native $(wildcard $(addprefix tests/integration/test_, \
    api_modes.py api_openapi.py api_wire.py idle_modules.py pipeline.py sandbox_service.py service_*.py store_*.py \
    synchronous.py upstream_algorithms.py upstream_csc2.py upstream_local.py upstream_operations.py upstream_sandbox.py \
    upstream_timestamps.py))

.PHONY: test-newer
test-newer: $(VENV)/.created  ## run the core of the tests under a newer Python, in an environment of its own; PYTHON= names one
	@python=$(or $(PYTHON),$$(.ci/newer-python $(BIN)/python)) || { \
	    echo 'No Python is installed that is newer than that of $(VENV) and named in pyproject.toml.'; exit 1; }; \
	$(MAKE) --no-print-directory test VENV=".venv-$$(basename "$$python")" PYTHON="$$python" TESTS="$(or $(TESTS),$(CORE))" \
	    ARGS="$(if $(TESTS),,$(BESIDE)) $(ARGS)"

.PHONY: coverage
coverage: $(VENV)/.dev $(VENV)/.native  ## run the tests and measure which lines and branches of src/batchseal they reach
	@mkdir -p build/coverage
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html $(TESTS) $(ARGS)

.PHONY: drill-tools
drill-tools: $(VENV)/.dev $(VENV)/.native
	@$(BIN)/python -m pip install -qq atheris==3.0.0 schemathesis==4.32.5 || echo 'some drills lack their tools'

.PHONY: drills
drills: drill-tools  ## break things on purpose, many times; DRILL=name for one (results in benchmarks/results)
	@$(BIN)/python -m tests.adversity.drills $(DRILL)

.PHONY: drills-long
drills-long: drill-tools  ## the long form of DRILL=name
	@$(BIN)/python -m tests.adversity.drills $(or $(DRILL),$(error DRILL=name is needed)) --long

.PHONY: fuzz
fuzz: $(VENV)/.dev $(VENV)/.native  ## fuzz the native core, the multipart reader and the DER writer; FUZZ_SECONDS=180 each, HARNESS=name for one
	@$(BIN)/python -m pip install -qq atheris==3.0.0 || echo 'without atheris: multipart and cms are not fuzzed'
	@$(BIN)/python -m tests.fuzz.harnesses --seconds $(or $(FUZZ_SECONDS),180) $(HARNESS)

.PHONY: lint
lint: $(VENV)/.dev $(VENV)/.native  ## check style, types, layers and the native module's stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint --max-line-length=130 src/batchseal/_native
	MYPYPATH=src $(BIN)/stubtest batchseal._native

.PHONY: format
format: $(VENV)/.dev  ## rewrite the Python sources in the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.bench $(VENV)/.native  ## measure everything into benchmarks/results; SMOKE=1 in tiny sizes, elsewhere
	$(BIN)/python -m pytest benchmarks -o testpaths=benchmarks --benchmark-only --benchmark-columns=median,ops,rounds \
	    --benchmark-max-time=0.2 -q
	$(BIN)/python -m benchmarks.everything $(if $(SMOKE),--smoke --results build/bench --readme build/bench/README.md)

.PHONY: xades-product
xades-product: $(VENV)/.dev $(VENV)/.native  ## judge every combination of what XAdES offers (xmlsec1 and the JDK); DOCS=/some/folder adds its XML files
	@$(BIN)/python -m tests.support.xades_product $(if $(DOCS),--documents "$$DOCS") $(ARGS)

.PHONY: appearance-product
appearance-product: $(VENV)/.dev $(VENV)/.native  ## draw and judge every combination of what visible signatures offer (768); ARGS="--every 50" for some
	@$(BIN)/python -m tests.support.appearance_product $(ARGS)

.PHONY: container-test
container-test: $(VENV)/.container $(VENV)/.native  ## build the image and run it under its memory limits (root; buildah, podman)
	$(BIN)/python -m tests.container $(ARGS)

.PHONY: dist
dist: $(VENV)/.dist $(PAGES)  ## build a release into dist/: the source distribution, and wheels for Python 3.11 and 3.13; ARGS="--python 3.11" for some
	@$(BIN)/python -m harness.distribution $(ARGS)

.PHONY: dist-test
dist-test: $(VENV)/.dev $(VENV)/.native  ## install the wheels of dist/ in bare Debian 12 and 13 and seal with them (root; debootstrap, buildah, podman); ARGS="--releases bookworm" for one, ARGS="--arch arm64" for the source distribution under qemu
	@$(BIN)/python -m tests.distribution $(ARGS)

.PHONY: openapi
openapi: $(VENV)/.dev $(VENV)/.native  ## write openapi.json, the committed copy of the OpenAPI document; BREAKING=1 if clients may break
	@$(BIN)/python -m harness.openapi_copy $(if $(BREAKING),--breaking)

.PHONY: clients
clients: $(VENV)-clients/.ready $(VENV)/.dev $(VENV)/.native  ## generate clients from openapi.json and let them sign; ARGS=--short for those that sign alone
	@$(BIN)/python -m tests.clients --tools $(VENV)-clients/bin $(ARGS)

# What the pages are made of. More of the code is in them than is named here: `make docs` always builds.
BUILD_PAGES = PYTHONPATH=.:src $(GENERATOR)/bin/properdocs build --strict --quiet --config-file docs/properdocs.yml
$(PAGES): $(GENERATOR)/.ready $(shell find docs -type f ! -name '*.pyc') README.md CHANGELOG.md
	@$(BUILD_PAGES)

.PHONY: docs
docs: $(GENERATOR)/.ready  ## build the documentation into src/batchseal/api/pages, from where the service serves it at <base>/docs
	@$(BUILD_PAGES)
	@echo 'The documentation is in src/batchseal/api/pages; begin with index.html.'

.PHONY: deployment-tools
deployment-tools: $(VENV)-deployment/.ready  ## install what renders the chart and judges it and compose.yaml, for tests/unit/test_chart*.py

.PHONY: chart-readme
chart-readme: $(VENV)/.dev  ## write the list of values in chart/README.md from the comments of chart/values.yaml
	@$(BIN)/python -m harness.chart_readme

.PHONY: main-job
main-job: $(VENV)/.dev $(VENV)/.native  ## sign and judge 2,500 invoices of 200 KB (pdfsig and iText judge where they are installed); ARGS=--visible-lt for visible signatures of level LT
	$(BIN)/python -m benchmarks.main_job $(ARGS)

.PHONY: operator-scale
operator-scale: $(VENV)/.dev $(VENV)/.native  ## time the lists of operators on large tables made by SQL (an hour; 15 GB in FOLDER=); ARGS="--operations 20000 --documents 1000000" for smaller ones
	@$(BIN)/python -m tests.support.operator_scale $(if $(FOLDER),--folder "$(FOLDER)") $(ARGS)

.PHONY: bench-upstream
bench-upstream: $(VENV)/.dev $(VENV)/.native  ## measure the upstream: faults, coalescing, an independent server, time stamps, a token
	$(BIN)/python -m benchmarks.upstream $(ARGS)

.PHONY: bench-instances
bench-instances: $(VENV)/.dev $(VENV)/.native  ## measure all about several instances and their stores into benchmarks/results/instances.json; ARGS=stores for a part
	$(BIN)/python -m benchmarks.instances $(ARGS)

.PHONY: bench-hot-folder
bench-hot-folder: $(VENV)/.dev $(VENV)/.native  ## measure files a second through a hot folder, into benchmarks/results/hot-folder.json
	$(BIN)/python -m benchmarks.hot_folder $(ARGS)

.PHONY: bench-compare
bench-compare: $(VENV)/.dev $(VENV)/.native  ## measure BASE=revision and this checkout in turns; FIGURES="a b" for some, PAIRS=n for more
	@$(BIN)/python -m benchmarks.compare $(or $(BASE),$(error BASE=revision is needed)) \
	    --figures $(or $(FIGURES),all) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(RESULTS),--results $(RESULTS))

.PHONY: setup
setup: $(VENV)/.dev $(VENV)/.native  ## only set up: environment, locked dependencies, native build

.PHONY: lock
lock: $(VENV)/.created  ## resolve the requirements anew; UPGRADE=-U takes newer releases
	@$(PIP) uv==0.13.9
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) requirements-build.in -o requirements-build.lock
	$(COMPILE) requirements-image.in -o requirements-image.lock
	$(COMPILE) pyproject.toml requirements-build.in requirements-dev.in \
	    -c requirements.lock -c requirements-build.lock -o requirements-dev.lock
	$(COMPILE) requirements-bench.in -c requirements-dev.lock -o requirements-bench.lock
	$(COMPILE) requirements-container.in -c requirements-dev.lock -c requirements-image.lock -o requirements-container.lock
	$(COMPILE) requirements-clients.in -c requirements-dev.lock -o requirements-clients.lock
	$(COMPILE) requirements-deployment.in -c requirements-dev.lock -o requirements-deployment.lock
	$(COMPILE) requirements-docs.in -c requirements-dev.lock -o requirements-docs.lock
	$(COMPILE) requirements-dist.in -c requirements-dev.lock -o requirements-dist.lock
COMPILE = $(BIN)/uv pip compile $(UPGRADE) --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make lock'

.PHONY: clean
clean:  ## remove the environment and everything that was built; the folder work stays, which may hold client services of yours
	rm -rf $(VENV) $(VENV)-clients $(VENV)-deployment $(GENERATOR) .venv-python3* build dist demo-out src/*.egg-info .benchmarks .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f src/batchseal/_native/*.so src/batchseal/_native/*.c
	find src/batchseal/api/pages -mindepth 1 ! -name .gitignore -delete

# --- set-up: each step that is done leaves a file in the environment --------------------------------------------------

# Takes the first suitable Python that is not linked to a shared libpython, else the first suitable one. With a shared libpython the
# service is about 6 % slower.
PYTHONS := python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11
WILL_DO := import ensurepip, os, sys, sysconfig; header = sysconfig.get_path("include") + "/Python.h"; \
    sys.exit(sys.version_info < (3, 11) or not os.path.exists(header))
STANDS_ALONE := import sys; sys.exit("libpython" in open("/proc/self/maps").read())

$(VENV)/.created:
	@for python in $(or $(PYTHON),$(PYTHONS)); do if $$python -c '$(WILL_DO)' 2>/dev/null; then \
	    if $$python -c '$(STANDS_ALONE)' 2>/dev/null; then found=$$python; break; fi; found=$${found:-$$python}; fi; done; \
	[ -n "$$found" ] || { echo 'Python 3.11 or newer with its headers and venv is needed (Debian: python3-dev and' \
	    'python3-venv; PYTHON=/path/to/python3 names one)'; exit 1; }; \
	command -v gcc >/dev/null || { echo 'gcc is needed (Debian: gcc and libc6-dev)'; exit 1; }; \
	echo "Setting up $(VENV) with $$($$found -c 'import sys; print("Python", sys.version.split()[0], sys.executable)') ..."; \
	$$found -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created requirements.lock requirements-build.lock
	@echo 'Installing the locked dependencies ...'
	@$(PIP) $(LOCKED) -r requirements.lock -r requirements-build.lock
	@touch $@

# The lock file for development contains everything in the other two.
$(VENV)/.dev: $(VENV)/.created requirements.lock requirements-build.lock requirements-dev.lock
	@echo 'Installing the locked development dependencies ...'
	@$(PIP) $(LOCKED) -r requirements-dev.lock
	@touch $(VENV)/.runtime $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo 'Installing the locked requirements of the benchmarks ...'
	@$(PIP) $(LOCKED) -r requirements-bench.lock
	@touch $@

$(VENV)/.container: $(VENV)/.dev requirements-container.lock
	@echo 'Installing the locked requirements of the container test ...'
	@$(PIP) $(LOCKED) -r requirements-container.lock
	@touch $@

$(VENV)/.dist: $(VENV)/.dev requirements-dist.lock
	@echo 'Installing the locked tools that build a release ...'
	@$(PIP) $(LOCKED) -r requirements-dist.lock
	@touch $@

# An environment of their own: libraries of the service import what the generators bring where they find it.
$(VENV)-clients/.ready: $(VENV)/.created requirements-clients.lock
	@echo 'Installing the locked generators of clients ...'
	@$(BIN)/python -m venv --clear $(VENV)-clients
	@$(PIP:$(BIN)/%=$(VENV)-clients/bin/%) $(LOCKED) -r requirements-clients.lock
	@touch $@

# An environment of their own: Helm and the schemas of Kubernetes take 350 MB.
$(VENV)-deployment/.ready: $(VENV)/.created requirements-deployment.lock
	@echo 'Installing the locked tools of the deployment ...'
	@$(BIN)/python -m venv --clear $(VENV)-deployment
	@$(PIP:$(BIN)/%=$(VENV)-deployment/bin/%) $(LOCKED) -r requirements-deployment.lock
	@touch $@

$(GENERATOR)/.ready: requirements-docs.lock | $(VENV)/.created
	@echo 'Installing the locked builder of the documentation ...'
	@$(BIN)/python -m venv --clear $(GENERATOR)
	@$(PIP:$(BIN)/%=$(GENERATOR)/bin/%) $(LOCKED) -r requirements-docs.lock
	@touch $@

# Python does this by itself, unless PYTHONDONTWRITEBYTECODE is set, as it is in many containers. Then each process of the service
# would compile its modules in each start: 0.25 s of processor time, and 1 MB of memory that stays in the holes of the heap.
$(VENV)/.compiled: $(VENV)/.created $(SOURCES)
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.native: $(VENV)/.runtime pyproject.toml $(NATIVE) | $(VENV)/.compiled
	@echo 'Building the native core ...'
	@rm -rf build/lib* build/temp* build/bdist*
	@$(PIP) --no-deps --no-index --no-build-isolation --editable .
	@touch $@
