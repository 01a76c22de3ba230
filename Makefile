# Everything from a fresh clone, with Python 3.11 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := test,lint,docs
PYTEST_ARGS ?= -n auto

.PHONY: demo test lint types docs cli-page screenshots validate bench clean help

help:
	@echo "make demo    a first run: simulate, calibrate, compare with the truth, write a page"
	@echo "make test    install into .venv and run the tests"
	@echo "make lint    style and types (ruff, mypy strict)"
	@echo "make validate  compare the estimators with a known truth, write docs/validation*.md (minutes)"
	@echo "make bench   measure speed and memory, write docs/benchmarks.md (a quarter of an hour)"
	@echo "make docs    build the documentation; warnings are errors"
	@echo "make cli-page  run every command and write docs/command_line.md"
	@echo "make screenshots  pictures of reports for the documentation (needs Chromium)"
	@echo "make clean   remove what the other targets made"

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("emdarks needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "installing emdarks and what it needs into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py $(DEMO_ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

cli-page: $(VENV)/.installed
	$(BIN)/python docs/make_cli_page.py

screenshots: $(VENV)/.installed
	$(BIN)/python docs/screenshots.py

validate: $(VENV)/.installed
	$(BIN)/python -m validation.screening
	$(BIN)/python -m validation.subtract
	$(BIN)/python -m validation.badpixels
	$(BIN)/python -m validation.validate $(VALIDATE_ARGS)

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) docs/_build docs/api docs/generated dist build
	if [ -e demo/.made-by-emdarks-demo ]; then rm -rf demo; fi
