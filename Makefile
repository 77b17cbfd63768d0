# make demo   sets everything up and runs the method in the offline lab
# make test   sets everything up and runs the tests
# make check  formatting, lint, types, import contracts, and the numbers and links of the pages
# make docs   the documentation as a site in build/site; every link is checked
# make notebook   run the notebook of the quick start
# make dist   wheel and source archive in dist, with a check of their content; make dist-check installs the wheel
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUM := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CORE := $(VENV)/.core-$(SUM)
STAMP := $(VENV)/.installed-$(SUM)

.PHONY: demo test check docs notebook dist dist-check clean

demo: $(CORE)
	$(BIN)/labelfree demo --out runs/demo

# One thread in each of two processes: small operations on two threads each take 2.6 times the CPU time.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m benchmarks.check_numbers
	$(BIN)/python -m benchmarks.check_links

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --site-dir build/site
	$(BIN)/python -m benchmarks.check_links --site build/site

notebook: $(STAMP)
	$(BIN)/python -m benchmarks.run_notebook examples/quickstart.ipynb --out build/quickstart.ipynb

dist: $(STAMP)
	rm -rf dist
	$(BIN)/pyproject-build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m benchmarks.check_dist dist

# An empty environment and the demo in it: minutes.
dist-check: dist
	$(BIN)/python -m benchmarks.install_check dist/*.whl

# torch first and pinned: an open requirement would pull gigabytes of CUDA onto a machine without a GPU.
$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@rm -f $(VENV)/.core-* $(VENV)/.installed-* && touch $@

$(STAMP): $(CORE)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@rm -f $(VENV)/.installed-* && touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache
