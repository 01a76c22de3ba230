# Everything from a fresh clone, with Python 3.11 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := test,lint,docs
PYTEST_ARGS ?= -n auto

.PHONY: demo test test-oldest lint types docs cli-page checks-page screenshots validate bench fuzz \
    mutants audit clean help

help:
	@echo "make demo    a first run: simulate, calibrate, compare with the truth, write a page"
	@echo "make test    install into .venv and run the tests"
	@echo "make test-oldest  the tests with the oldest dependencies that are supported"
	@echo "make lint    style, types, safety (ruff, mypy strict, bandit)"
	@echo "make validate  compare the estimators with a known truth, write docs/validation*.md (minutes)"
	@echo "make bench   measure speed and memory, write docs/benchmarks.md (a quarter of an hour)"
	@echo "make docs    build the documentation; warnings are errors"
	@echo "make cli-page  run every command and write docs/command_line.md"
	@echo "make checks-page  read every check off the source and write docs/checks.md"
	@echo "make screenshots  pictures of reports for the documentation (needs Chromium)"
	@echo "make fuzz    look for crashes of the FITS reading, write docs/validation_fuzz.md (10 minutes)"
	@echo "make mutants  change lines, tests must notice; writes docs/validation_mutants.md (half an hour)"
	@echo "make audit   known weaknesses of the dependencies (asks pypi.org)"
	@echo "make clean   remove what the other targets made"

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --editable

# The product alone, which is all that the demo needs; what tests, lint and documentation need
# comes on top of it.
$(VENV)/.product: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("emdarks needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making a Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "installing emdarks and the packages that it needs into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) .
	@touch $@

$(VENV)/.installed: $(VENV)/.product
	@echo "installing what tests, lint and documentation need into $(VENV)"
	@$(BIN)/python $(PIP_INSTALL) '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.product
	@echo "starting the demo; kernels are compiled at the first run, a minute or two"
	@$(BIN)/python examples/demo.py $(DEMO_ARGS)
	@echo "for emdarks in this shell: source $(VENV)/bin/activate"

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r src

OLDEST := .venv-oldest

$(OLDEST)/.installed: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint tests/oldest.txt --editable '.[test]'
	@touch $@

# Compiled kernels of two versions of Numba do not share a folder.
test-oldest: $(OLDEST)/.installed
	NUMBA_CACHE_DIR=$(CURDIR)/$(OLDEST)/numba $(OLDEST)/bin/python -m pytest $(PYTEST_ARGS)

audit: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[audit]'
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/frozen.txt
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps -r $(VENV)/frozen.txt

FUZZ_ARGS ?= --seconds 600 --page

fuzz: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	nice -n 19 $(BIN)/python -m validation.fuzz $(FUZZ_ARGS)

MUTANTS_ARGS ?= --seed 1 --mutants 400 --workers 2

mutants: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mutation]'
	nice -n 10 $(BIN)/python -m validation.mutants $(MUTANTS_ARGS)

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

cli-page: $(VENV)/.installed
	$(BIN)/python docs/make_cli_page.py

checks-page: $(VENV)/.installed
	$(BIN)/python docs/make_checks_page.py

screenshots: $(VENV)/.installed
	$(BIN)/python docs/screenshots.py

validate: $(VENV)/.installed
	$(BIN)/python -m validation.screening
	$(BIN)/python -m validation.subtract
	$(BIN)/python -m validation.badpixels
	$(BIN)/python -m validation.level
	$(BIN)/python -m validation.hostile
	$(BIN)/python -m validation.validate $(VALIDATE_ARGS)

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(OLDEST) docs/_build docs/api docs/generated dist build
	if [ -e demo/.made-by-emdarks-demo ]; then rm -rf demo; fi
