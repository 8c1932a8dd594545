# Three commands matter: `make demo`, `make test` and `make docs`. Each sets up everything it needs in .venv.
# `make quick` is for in between (the fast majority of the tests), `make nightly` leaves nothing out.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
TEST_STAMP := .venv/.installed-test
DOCS_STAMP := .venv/.installed-docs
BENCH_STAMP := .venv/.installed-bench

# A file's tests share what it sets up, so that a file stays with one worker; in the order of names,
# because those that take long are in the middle.
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick nightly docs install lint bench clean

demo: $(STAMP)
	$(BIN)/accelqsm demo demo

test: lint
	$(PYTEST)

quick: $(TEST_STAMP)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(PYTEST) -m "not slow and not nightly"

nightly: test
	$(PYTEST) -m nightly

lint: $(TEST_STAMP)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS_STAMP)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html
	@echo docs/_build/html/index.html

# BART, where it is to stand beside: apt-get install bart.
bench: $(BENCH_STAMP)
	$(BIN)/python benchmarks/bench.py

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(TEST_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	touch $@

clean:
	rm -rf .venv demo build dist docs/_build
