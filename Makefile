# Everything from a fresh clone, with Python 3.11 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := test,lint,docs
# Neighbouring tests share what they were given: each process takes a whole part of the files.
PYTEST_ARGS ?= -n auto --dist worksteal

.PHONY: demo check test test-oldest interchange sanitize wheel-check release-check lint docs cli-page checks-page \
    screenshots validate flight bench metrics fuzz mutants audit clean help

help:
	@echo "make demo    a first run: simulate, calibrate, compare with the truth, write a page"
	@echo "make check   while you work: unit tests, ruff, mypy (seconds)"
	@echo "make test    install into .venv and run all tests: unit, integration, system (minutes)"
	@echo "make test-oldest  the tests with the oldest dependencies that are supported"
	@echo "make interchange  what passes between emdarks and corgidrp, with the real package (minutes)"
	@echo "make sanitize  the tests of the compiled core, with checks of every access to memory"
	@echo "make wheel-check  build a wheel and use it where there is no compiler"
	@echo "make release-check  all of a release that can be made without publishing it"
	@echo "make lint    style, types, safety (ruff, mypy strict, bandit, clang-format)"
	@echo "make validate  compare the estimators with a known truth, write docs/validation*.md (minutes)"
	@echo "make flight  480 raw frames to maps, compared with the truth, write docs/validation_flight.md (2.6 GB)"
	@echo "make bench   measure speed and memory, write docs/benchmarks.md (a quarter of an hour)"
	@echo "make metrics  lengths, circles and public names of the code, write docs/metrics.md"
	@echo "make docs    build the documentation; warnings are errors"
	@echo "make cli-page  run every command and write docs/command_line.md"
	@echo "make checks-page  read every check off the source and write docs/checks.md"
	@echo "make screenshots  pictures of reports for the documentation (needs Chromium)"
	@echo "make fuzz    look for crashes of the FITS reading, write docs/validation_fuzz.md (10 minutes)"
	@echo "make mutants  change lines, tests must notice; writes docs/validation_mutants.md (half an hour)"
	@echo "make audit   known weaknesses of the dependencies (asks pypi.org)"
	@echo "make clean   remove what the other targets made"

# What the core is built from: an editable install is made anew when any of it changes.
CORE := pyproject.toml CMakeLists.txt tools/install.py src/core $(wildcard src/core/*)
# Warnings of the compiler stop those who work on emdarks, not those who use it.
INSTALL := tools/install.py $(if $(filter-out demo,$(MAKECMDGOALS)),--strict)

# Both ask for versions of botocore. With everything else to choose at the same time, pip tries
# combinations for more than ten minutes; first, these take one.
HARD_TO_RESOLVE := "moto[server]>=5.0" "s3fs>=2024.5"

# The product alone, which is all that the demo needs; what tests, lint and documentation need
# comes on top of it.
$(VENV)/.product: $(CORE)
	@$(PYTHON) -c 'import sys; sys.exit("emdarks needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -e $(BIN)/python || echo "making a Python environment in $(VENV)"
	@test -e $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "compiling emdarks, installing it and the packages that it needs into $(VENV)"
	@$(BIN)/python $(INSTALL) .
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.product
	@echo "installing what tests, lint and documentation need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(HARD_TO_RESOLVE)
	@$(BIN)/python $(INSTALL) '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.product
	@echo "starting the demo"
	@$(BIN)/python examples/demo.py $(DEMO_ARGS)
	@echo "for emdarks in this shell: source $(VENV)/bin/activate"

check: $(VENV)/.installed
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r src
	$(BIN)/clang-format --dry-run -Werror src/core/*

OLDEST := .venv-oldest

$(OLDEST)/.installed: $(CORE) tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint tests/oldest.txt $(HARD_TO_RESOLVE)
	$(OLDEST)/bin/python $(INSTALL) --constraint tests/oldest.txt '.[test]'
	@touch $@

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest $(PYTEST_ARGS) tests

INTERCHANGE := .venv-interchange

interchange: $(VENV)/.installed
	$(BIN)/python tools/interchange.py $(INTERCHANGE_ARGS)

# The packages of .venv, and a core of its own.
SANITIZE := .venv-sanitize
PACKAGES := 'import sys; print(*(path for path in sys.path if path.endswith("site-packages")), sep="\n")'
SANITIZE_TESTS ?= $(addprefix tests/unit/test_, core.py kernels.py small_stream.py small_kernels.py \
    small_fits.py fitsio.py raw_stream.py levels_streamed.py counting_sums.py) \
    $(addprefix tests/integration/test_, pooled.py bad_input.py raw_search.py) \
    $(addprefix tests/system/test_, hostile_packed.py instruction_levels.py)

$(SANITIZE)/.installed: $(CORE) | $(VENV)/.installed
	$(PYTHON) -m venv $(SANITIZE)
	$(BIN)/python -c $(PACKAGES) > $$(echo $(SANITIZE)/lib/python*/site-packages)/of-venv.pth
	$(SANITIZE)/bin/python $(INSTALL) --no-deps -C cmake.define.EMDARKS_CHECKED=ON \
	    -C cmake.define.EMDARKS_SANITIZE=address,undefined -C install.strip=false .
	@touch $@

# The runtimes of the sanitizers must be there before Python, which leaks by itself; they write to
# its standard error output past Python.
sanitize: $(SANITIZE)/.installed
	LD_PRELOAD=$$(ldd $$(find $(SANITIZE)/lib -name '_core.*.so') | \
	        awk '/asan|ubsan|stdc/ { print $$3 }' | paste -sd:) \
	    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(SANITIZE)/bin/python -m pytest --capture=sys $(PYTEST_ARGS) $(SANITIZE_TESTS)

wheel-check: $(VENV)/.installed
	$(BIN)/python tools/wheel_check.py

release-check: $(VENV)/.installed
	$(BIN)/python $(INSTALL) '.[release]'
	$(BIN)/python -m tools.release_check

audit: $(VENV)/.installed
	$(BIN)/python $(INSTALL) '.[audit]'
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/frozen.txt
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps -r $(VENV)/frozen.txt

FUZZ_ARGS ?= --seconds 600 --page

fuzz: $(VENV)/.installed
	$(BIN)/python $(INSTALL) '.[fuzz]'
	nice -n 19 $(BIN)/python -m validation.fuzz $(FUZZ_ARGS)

MUTANTS_ARGS ?= --seed 1 --mutants 400 --workers 2

mutants: $(VENV)/.installed
	$(BIN)/python $(INSTALL) '.[mutation]'
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
	$(BIN)/python -m validation.counting
	$(BIN)/python -m validation.emccd_detect_rays
	$(BIN)/python -m validation.search_sets
	$(BIN)/python -m validation.subtract
	$(BIN)/python -m validation.photon_counting
	$(BIN)/python -m validation.badpixels
	$(BIN)/python -m validation.level
	$(BIN)/python -m validation.hostile
	$(BIN)/python -m validation.validate $(VALIDATE_ARGS)

# The frames are made once and stay in build/flight.
flight: $(VENV)/.installed
	$(BIN)/python -m validation.flight $(FLIGHT_ARGS)

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python $(INSTALL) '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

# Nothing is imported: no environment is needed.
metrics:
	@$(PYTHON) benchmarks/metrics.py $(METRICS_ARGS)

clean:
	rm -rf $(VENV) $(OLDEST) $(SANITIZE) $(INTERCHANGE) docs/_build docs/api docs/generated dist build
	if [ -e demo/.made-by-emdarks-demo ]; then rm -rf demo; fi
