# Two commands are all a new clone needs: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-all lint bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Podium needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/podium compare digits --epochs 6 -o demo

# One of each kind, in some minutes; `test-all` has every network, every pair of settings and the long runs too.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/runtime.py
	$(BIN)/python benchmarks/mnist.py

clean:
	rm -rf .venv demo build dist src/*.egg-info
