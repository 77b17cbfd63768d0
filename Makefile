# make demo   sets everything up and runs the method in the offline lab
# make test   sets everything up and runs the tests
# make check  formatting, lint, types, import contracts, and the numbers of the pages
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUM := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CORE := $(VENV)/.core-$(SUM)
STAMP := $(VENV)/.installed-$(SUM)

.PHONY: demo test check clean

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
