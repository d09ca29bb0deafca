# `make search` and `make test` each set up a virtual environment, then do their job.
#   make search PYTHON=python3.12 BUDGET=500MFLOP OUT=results/small
PYTHON ?= python3
VENV   ?= .venv
BUDGET ?= 1GFLOP
OUT    ?= results/mine
FILES  ?= 20000

BIN     := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# One stamp a Python version: another PYTHON, or a change of what is installed, makes the environment anew.
READY   := $(VENV)/.ready-$(VERSION)

.PHONY: search test docs docs-check dist fuzz lint format clean

search: $(READY)
	$(BIN)/nasbench search --budget $(BUDGET) --out $(OUT)

# Each process takes a run of tests that follow one another, so that what they share is made once; bytecode is kept,
# since dozens of processes import the same files.
test: $(READY)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal

# The documentation site, in build/site; a link that leads nowhere fails it.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/site.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Every command and block of Python of the documentation, as the tests run them, and what each took.
docs-check: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python docs/run_commands.py

# What is released: wheel and sdist in dist/, checked, and the wheel tried in a fresh environment and an empty folder.
dist: $(READY)
	rm -rf dist build/lib build/bdist* nasbench.egg-info
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python benchmarks/install.py dist/nasbench-*.whl

# Damages files of every kind that the program reads, at the lowest priority, and prints what came of them.
fuzz: $(READY)
	cd tests && OMP_NUM_THREADS=1 PYTHONPATH=.. ../$(BIN)/python fuzz.py --files $(FILES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else "nasbench needs Python 3.10 to 3.13, and $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist nasbench.egg-info
