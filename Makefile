PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
DEMO_STUDY := sqlite:///$(DEMO)/study.db
TEST_WORKERS ?= 2

.PHONY: demo test lint types readme clean

# The main job, end to end: proxies choose a warm start, candidates are trained, BANANAS goes on,
# the winner is reported and exported. Run again, it goes on where it stopped.
demo: $(VENV)/.installed
	$(BIN)/predictnas search --space nasbench201 --task digits --trials 40 --study $(DEMO_STUDY)
	$(BIN)/predictnas report --study $(DEMO_STUDY) --out $(DEMO)/report.html
	$(BIN)/predictnas export --study $(DEMO_STUDY) --out $(DEMO)/winner

test: lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(TEST_WORKERS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The tables of spaces and encodings in README, from the code.
readme: $(VENV)/.installed
	$(BIN)/python -m predictnas.catalogue README.md

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(DEMO) build dist
