# Two commands are all a new clone needs: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-all lint lock audit docs notebooks bench clean

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

# The packages of the container with the hashes of their files, after a change of constraints.txt or pyproject.toml.
lock: .venv/tools/.installed
	.venv/tools/bin/uv pip compile pyproject.toml --extra serve -c constraints.txt --generate-hashes \
		--python-version 3.11 --python-platform linux --no-header --quiet -o serve.lock.new
	(sed -n '/^#/!q;p' serve.lock; cat serve.lock.new) > serve.lock.both
	mv serve.lock.both serve.lock
	rm serve.lock.new

# Known vulnerabilities of the packages in serve.lock and constraints.txt.
audit: .venv/tools/.installed
	.ci/audit .venv/tools/bin/pip-audit

.venv/tools/.installed: | install
	$(BIN)/python -m venv .venv/tools
	.venv/tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1
	touch $@

# The documentation as a site in build/docs, to be opened in a browser; warnings are errors.
docs: install
	$(BIN)/python site/stage.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The notebooks with what their cells show, after a change of their code.
notebooks: install
	$(BIN)/python docs/notebooks/run.py

bench: install
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/runtime.py
	$(BIN)/python benchmarks/mnist.py

clean:
	rm -rf .venv demo build dist src/*.egg-info
