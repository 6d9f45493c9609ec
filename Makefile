# Every command of the project. `make launch` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help launch test test-full mutate check check-releases oracle lint types site lighthouse generate bench lock clean

help:            ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

launch: $(VENV)/.run  ## print the default launch: one command per rank
	@$(BIN)/python scripts/gen_launch.py

test: check      ## everything that needs no PyTorch
	$(BIN)/python -m pytest -n auto

# Tests that share a run of SGLang stay on one worker: loadgroup.
test-full: check .upstream/.ready  ## everything that CI runs: SGLang's own code too, with PyTorch on the CPU
	$(BIN)/python -m pytest -n auto --dist loadgroup -m ""

mutate: $(VENV)/.dev .upstream/.ready  ## break the patches piece by piece, fail where no test notices
	$(BIN)/python tests/upstream/mutate.py

check: lint types  ## lint, types, generated files, site
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python scripts/check_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python scripts/check_docs.py --site site

lint: $(VENV)/.dev
	$(BIN)/ruff format --check scripts tests
	$(BIN)/ruff check scripts tests
	$(BIN)/typos README.md CONTRIBUTING.md CHANGELOG.md mkdocs.yml docs scripts configs patches
	$(BIN)/rumdl check --quiet --no-cache README.md CONTRIBUTING.md CHANGELOG.md docs

types: $(VENV)/.dev
	$(BIN)/mypy

generate: $(VENV)/.dev  ## remake every generated file
	$(BIN)/python scripts/generate.py

site: $(VENV)/.dev  ## serve the site on this machine
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

lighthouse: $(VENV)/.dev  ## Lighthouse over four pages of the site, as on a phone; reports in lighthouse/
	PYTHONPATH=scripts $(BIN)/python -m tests.site.lighthouse.run

check-releases: $(VENV)/.dev  ## extract every catalog anew from its wheel, the router's too; fail on a difference
	$(BIN)/python scripts/generate.py releases --check
	$(BIN)/python scripts/generate.py router --check

# The real parser needs CPU torch and some twenty packages: an environment of its own, in .oracle.
oracle: $(VENV)/.dev  ## compare the catalogs with SGLang's own parser, flag by flag
	test -x .oracle/bin/python || $(PYTHON) -m venv .oracle
	.oracle/bin/python -m pip install --quiet -r tests/oracle/requirements.txt
	$(BIN)/python tests/oracle/compare.py --env .oracle
	$(BIN)/python tests/oracle/check_commands.py --env .oracle

bench: $(VENV)/.run  ## time the commands
	@$(BIN)/python tests/bench.py

lock: $(VENV)/.dev  ## resolve the dependencies anew into requirements/
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements/run.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements/dev.txt --extra dev pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements/upstream.txt \
		--excludes requirements/upstream.exclude requirements/upstream.in

clean:           ## remove what make made
	rm -rf $(VENV) .oracle .upstream site lighthouse .hypothesis .mypy_cache .pytest_cache .ruff_cache

# dev.txt holds all of run.txt, so installing it serves both.
$(VENV)/.run: requirements/run.txt
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $(VENV)/.run $@

# PyTorch first and by itself: which build pip takes is the machine's choice. --no-deps: the lock is complete but for it.
.upstream/.ready: requirements/upstream.txt
	$(PYTHON) -m venv --clear .upstream
	.upstream/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.upstream/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@
