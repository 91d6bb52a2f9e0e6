PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Apart from the rest: transformers imports them, slowly and with warnings, wherever they are found.
QUANTIZE := $(VENV)/quantize

.PHONY: setup demo test test-slow lint docs

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps --upgrade --target $(QUANTIZE) torchao bitsandbytes
	touch $@

demo: $(STAMP)
	$(BIN)/prune demo --out runs/demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow and not gpu'
	PYTHONPATH=$(QUANTIZE) $(BIN)/pytest tests/unit/test_models_composed.py tests/e2e/test_docs_python.py

test-slow: $(STAMP)
	$(BIN)/pytest -m 'slow and not gpu'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
